// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IDRAgreement} from "../IDRAgreement.sol";
import {Parties} from "./Parties.sol";

/// @notice Paying, arrears, withdrawing.
contract DRAgreementMoneyTest is Parties {
    bytes32 private constant SECOND = keccak256("second event");
    bytes32 private constant THIRD = keccak256("third event");

    uint48 private booked;

    function setUp() external {
        deploy();
        agree(ID, usualTerms());
        booked = NOON + 3 hours;
        vm.warp(booked);
    }

    // --- paying and withdrawing

    function test_aFinalSettlementIsPaidAndWithdrawn() external {
        bookUsual(EVENT);
        vm.warp(booked + WINDOW - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.WindowOpen.selector, booked + WINDOW, booked + WINDOW - 1)
        );
        pay(EVENT);
        vm.warp(booked + WINDOW);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Paid(ID, EVENT);
        pay(EVENT);
        assertPurse(EARNED, 0);
        assertStatus(EVENT, IDRAgreement.Status.Paid);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), 0);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Withdrawn(ID);
        vm.prank(NODE);
        dr.withdraw(ID);
        assertPurse(0, 0);
        vm.assertEq(token.balanceOf(NODE), EARNED);
        vm.assertEq(token.totalSupply(), EARNED);
    }

    function test_nothingIsPaidTwice() external {
        bookUsual(EVENT);
        vm.warp(booked + WINDOW);
        pay(EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyPaid.selector, ID, EVENT));
        pay(EVENT);
        vm.prank(NODE);
        dr.withdraw(ID);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NothingToWithdraw.selector, ID));
        vm.prank(NODE);
        dr.withdraw(ID);
    }

    function testFuzz_onlyTheAggregatorPaysAndOnlyTheNodeWithdraws(address caller) external {
        bookUsual(EVENT);
        vm.warp(booked + WINDOW);
        if (caller != AGGREGATOR) {
            vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, AGGREGATOR));
            vm.prank(caller);
            dr.pay(ID, EVENT);
        }
        pay(EVENT);
        if (caller != NODE) {
            vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, NODE));
            vm.prank(caller);
            dr.withdraw(ID);
        }
    }

    function test_whatWasNotBookedIsNotPaid() external {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NotBooked.selector, ID, EVENT));
        pay(EVENT);
    }

    function test_aPenaltyBecomesADebtThatLaterIncentivesPay() external {
        bookDelivered(EVENT, -5_000); // owes 20 x (8 + 5) kWh
        vm.warp(booked + 1 days);
        bookUsual(SECOND);
        bookDelivered(THIRD, 10_000);
        vm.warp(booked + 1 days + WINDOW);
        pay(EVENT);
        assertPurse(0, 260);
        pay(SECOND);
        assertPurse(350 - 260, 0);
        pay(THIRD);
        assertPurse(350 - 260 + 350, 0);
        vm.assertEq(token.totalSupply(), 440);
    }

    function test_aDebtLargerThanAnIncentiveStays() external {
        bookDelivered(EVENT, -50_000); // owes 20 x (8 + 50) kWh
        bookUsual(SECOND);
        vm.warp(booked + WINDOW);
        pay(EVENT);
        pay(SECOND);
        assertPurse(0, 1_160 - 350);
        vm.assertEq(token.totalSupply(), 0);
    }

    function test_whatIsNotToBePaidIsNeverDue() external {
        bookDelivered(EVENT, 1_000); // earns 35 and owes 20 x (8 - 1) kWh
        IDRAgreement.Booking memory test = booking(uint48(block.timestamp) - 1 hours);
        test.outcome = IDRAgreement.Outcome.Test;
        book(SECOND, test);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), 0);
        vm.warp(NOON + 29 days);
        assertState(IDRAgreement.State.Active);
        pay(SECOND);
        assertPurse(0, 0);
        assertStatus(SECOND, IDRAgreement.Status.Paid);
    }

    function test_aSettlementIsPaidAfterTheAgreementHasEnded() external {
        bookUsual(EVENT);
        vm.prank(NODE);
        dr.close(ID);
        suspendParticipant(AGGREGATOR, true);
        vm.warp(NOON + 90 days);
        pay(EVENT);
        suspendParticipant(NODE, true);
        vm.prank(NODE);
        dr.withdraw(ID);
        vm.assertEq(token.balanceOf(NODE), EARNED);
    }

    function bookDelivered(bytes32 key, int48 deliveredWh) private {
        IDRAgreement.Booking memory delivered = booking(uint48(block.timestamp) - 1 hours);
        delivered.deliveredWh = deliveredWh;
        book(key, delivered);
    }

    // --- arrears

    function test_aDuePaymentThatIsMissingSuspendsByTimeAlone() external {
        bookUsual(EVENT);
        vm.warp(booked + TERM - 1);
        assertState(IDRAgreement.State.Active);
        vm.warp(booked + TERM);
        assertState(IDRAgreement.State.Suspended);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), booked + TERM);
        vm.assertEq(uint256(dr.standingOf(ID).suspender), uint256(IDRAgreement.Suspender.Nobody));
        vm.warp(booked + TERM + 5 hours);
        vm.expectEmit(address(dr));
        emit IDRAgreement.ArrearsCleared(ID);
        pay(EVENT);
        assertState(IDRAgreement.State.Active);
    }

    function test_allThatIsDueMustBePaid() external {
        bookUsual(EVENT);
        vm.warp(booked + 10);
        bookUsual(SECOND);
        vm.warp(booked + 1 days);
        bookUsual(THIRD);
        vm.warp(booked + TERM + 10);
        pay(SECOND);
        assertState(IDRAgreement.State.Suspended);
        pay(EVENT);
        assertState(IDRAgreement.State.Active);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), booked + 1 days + TERM);
        vm.warp(booked + 1 days + TERM);
        assertState(IDRAgreement.State.Suspended);
    }

    function test_aCallThatWasNotifiedInArrearsIsNeverBooked() external {
        bookUsual(EVENT);
        vm.warp(booked + 10);
        bookUsual(SECOND);
        uint48 due = booked + TERM;
        uint48 paid = due + 5 hours;
        vm.warp(paid - 10);
        refusedInArrears(due + 1, due);
        refusedInArrears(due + 1 hours, due);
        pay(EVENT); // the second is still missing
        refusedInArrears(due + 1, due);
        vm.warp(paid);
        pay(SECOND);
        vm.warp(paid + 3 days);
        refusedInArrears(due + 1, due);
        refusedInArrears(paid - 1, due);
        book(THIRD, booking(due + NOTICE)); // in that second nothing was missing yet
        book(keccak256("when paid"), booking(paid + NOTICE));
    }

    function refusedInArrears(uint48 notifiedAt, uint48 since) private {
        uint256 overAt = uint256(notifiedAt) + NOTICE + 1 hours;
        uint256 now_ = block.timestamp;
        if (overAt > now_) vm.warp(overAt);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.InArrears.selector, notifiedAt, since));
        book(THIRD, booking(notifiedAt + NOTICE));
        vm.warp(now_);
    }

    function test_aCallAfterADueDateToComeIsAllowed() external {
        bookUsual(EVENT);
        uint48 later = booked + TERM + 1 days;
        dr.checkCall(ID, later, 1 hours, booked, 10);
        vm.warp(booked + TERM);
        dr.checkCall(ID, later, 1 hours, booked, 10); // the node knows of it
        uint48 due = booked + TERM;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.InArrears.selector, due + 1, due));
        dr.checkCall(ID, later, 1 hours, due + 1, 10);
    }

    function test_aNotificationToComeIsJudgedByWhatStandsNow() external {
        bookUsual(EVENT);
        uint48 due = booked + TERM;
        uint48 notifiedAt = due + 1 hours;
        dr.checkCall(ID, due + 1 days, 1 hours, notifiedAt, 10); // it may be paid until then
        vm.warp(due + 1);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.InArrears.selector, notifiedAt, due));
        dr.checkCall(ID, due + 1 days, 1 hours, notifiedAt, 10);
        pay(EVENT);
        dr.checkCall(ID, due + 1 days, 1 hours, notifiedAt, 10);
    }

    function test_arrearsThatEndedInTheSecondTheyBeganLeaveNothing() external {
        bookUsual(EVENT);
        vm.warp(booked + TERM);
        pay(EVENT);
        vm.warp(booked + TERM + 2 hours);
        IDRAgreement.Booking memory missed = booking(booked + TERM + NOTICE);
        missed.deliveredWh = 0;
        book(SECOND, missed);
        missed.notifiedAt -= 1;
        book(THIRD, missed);
        (, , int256 penalty,,) = dr.settlementOf(ID, THIRD);
        vm.assertEq(penalty, 160);
    }

    // --- agreements do not touch one another

    function test_anotherAgreementIsNotTouched() external {
        bytes32 other = keccak256("another agreement");
        agree(other, usualTerms());
        bookUsual(EVENT);
        vm.warp(booked + TERM);
        assertState(IDRAgreement.State.Suspended);
        vm.assertEq(uint256(dr.stateOf(other)), uint256(IDRAgreement.State.Active));
        pay(EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NothingToWithdraw.selector, other));
        vm.prank(NODE);
        dr.withdraw(other);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NotBooked.selector, other, EVENT));
        dr.settlementOf(other, EVENT);
    }
}
