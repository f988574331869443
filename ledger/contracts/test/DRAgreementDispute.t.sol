// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IDRAgreement} from "../IDRAgreement.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {Parties} from "./Parties.sol";

/// @notice Revising by late data, disputing and resolving.
contract DRAgreementDisputeTest is Parties {
    bytes32 private constant SECOND = keccak256("second event");
    bytes32 private constant THIRD = keccak256("third event");

    IDRAgreement.Outcome private constant MEASURED = IDRAgreement.Outcome.Measured;

    uint48 private booked;

    function setUp() external {
        deploy();
        agree(ID, usualTerms());
        booked = NOON + 3 hours;
        vm.warp(booked);
    }

    // --- revising

    function test_lateDataReviseInsideTheWindow() external {
        bookUsual(EVENT);
        vm.warp(booked + WINDOW - 1);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Revised(ID, EVENT, keccak256("late measurement"));
        revise(EVENT, 2, MEASURED, 9_000);
        (IDRAgreement.Settled memory settled, int256 incentive,, uint256 finalAt, uint256 dueAt) =
            dr.settlementOf(ID, EVENT);
        vm.assertEq(uint256(settled.revision), 2);
        vm.assertEq(int256(settled.deliveredWh), 9_000);
        vm.assertEq(incentive, 315);
        vm.assertEq(finalAt, block.timestamp + WINDOW);
        vm.assertEq(dueAt, block.timestamp + TERM);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), block.timestamp + TERM);
        vm.warp(booked + WINDOW);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.WindowClosed.selector, booked + WINDOW, booked + WINDOW)
        );
        revise(EVENT, 3, MEASURED, 9_100);
        dispute(NODE, EVENT); // the node had no time before
    }

    function test_revisionsFollowOneAnother() external {
        bookUsual(EVENT);
        refusedRevision(1, 2);
        refusedRevision(3, 2);
        revise(EVENT, 2, MEASURED, 9_000);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyRevised.selector, 2));
        revise(EVENT, 2, MEASURED, 9_000);
        bytes32 hash = keccak256("late measurement");
        bytes32 revised = keccak256(abi.encode(uint16(2), MEASURED, int48(9_000), hash));
        bytes32 given = keccak256(abi.encode(uint16(2), MEASURED, int48(9_001), hash));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.RevisedDifferently.selector, revised, given));
        revise(EVENT, 2, MEASURED, 9_001);
        revise(EVENT, 3, IDRAgreement.Outcome.Unmeasured, 0);
        refusedRevision(2, 4);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), 0);
        revise(EVENT, 4, MEASURED, 10_000);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), block.timestamp + TERM);
    }

    function refusedRevision(uint16 revision, uint256 expected) private {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.RevisionNotNext.selector, revision, expected));
        revise(EVENT, revision, MEASURED, 9_000);
    }

    function test_onlyTheAggregatorRevisesAndOnlyWhatIsOpen() external {
        bookUsual(EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, NODE, AGGREGATOR));
        vm.prank(NODE);
        dr.revise(ID, EVENT, 2, MEASURED, 20_000, keccak256("x"));
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.NothingMeasured.selector, IDRAgreement.Outcome.LateOptOut, int256(5)
            )
        );
        revise(EVENT, 2, IDRAgreement.Outcome.LateOptOut, 5);
        dispute(NODE, EVENT);
        refusedStatus(IDRAgreement.Status.Disputed, IDRAgreement.Status.Open);
        revise(EVENT, 2, MEASURED, 9_000);
    }

    function test_aRevisedSettlementIsDueAfterTheOthers() external {
        bookUsual(EVENT);
        vm.warp(booked + 10);
        bookUsual(SECOND);
        vm.warp(booked + 20);
        revise(EVENT, 2, MEASURED, 9_000);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), booked + 10 + TERM);
        vm.warp(booked + 10 + TERM);
        pay(SECOND);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), booked + 20 + TERM);
    }

    // --- disputing

    function test_eitherPartyDisputesInsideTheWindow() external {
        bookUsual(EVENT);
        bookUsual(SECOND);
        vm.warp(booked + WINDOW - 1);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Disputed(ID, EVENT, keccak256("reason"));
        dispute(NODE, EVENT);
        dispute(AGGREGATOR, SECOND);
        (,,, uint256 finalAt, uint256 dueAt) = dr.settlementOf(ID, EVENT);
        vm.assertEq(finalAt, booked + WINDOW - 1 + WINDOW);
        vm.assertEq(dueAt, booked + WINDOW - 1 + TERM);
        refusedStatus(IDRAgreement.Status.Disputed, IDRAgreement.Status.Open);
        dispute(AGGREGATOR, EVENT);
    }

    function test_afterTheWindowNothingIsDisputed() external {
        bookUsual(EVENT);
        vm.warp(booked + WINDOW);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.WindowClosed.selector, booked + WINDOW, booked + WINDOW)
        );
        dispute(NODE, EVENT);
    }

    function testFuzz_othersDoNotDispute(address caller) external {
        vm.assume(caller != NODE && caller != AGGREGATOR);
        bookUsual(EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, NODE));
        dispute(caller, EVENT);
    }

    function test_aDisputeThatNobodyDecidesFallsBackToWhatWasBooked() external {
        bookUsual(EVENT);
        bookUsual(SECOND);
        uint48 disputed = booked + 1 days;
        vm.warp(disputed);
        dispute(NODE, EVENT);
        dispute(AGGREGATOR, SECOND);
        vm.warp(disputed + WINDOW - 1);
        refusedPayment(EVENT, disputed + WINDOW);
        refusedPayment(SECOND, disputed + WINDOW);
        vm.warp(disputed + WINDOW);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.WindowClosed.selector, disputed + WINDOW, disputed + WINDOW)
        );
        resolve(EVENT, MEASURED, 1);
        refusedStatus(IDRAgreement.Status.Disputed, IDRAgreement.Status.Open);
        dispute(NODE, EVENT);
        vm.warp(disputed + TERM - 1);
        assertState(IDRAgreement.State.Active);
        vm.warp(disputed + TERM);
        assertState(IDRAgreement.State.Suspended);
        pay(EVENT);
        pay(SECOND);
        assertState(IDRAgreement.State.Active);
        assertPurse(2 * EARNED, 0);
    }

    function test_aDisputedPenaltyThatNobodyDecidesBecomesADebt() external {
        IDRAgreement.Booking memory missed = booking(uint48(block.timestamp) - 1 hours);
        missed.deliveredWh = 0;
        book(EVENT, missed);
        dispute(NODE, EVENT);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), 0);
        vm.warp(booked + WINDOW);
        pay(EVENT);
        assertPurse(0, 160);
    }

    function testFuzz_noDisputeDelaysAPaymentByMoreThanAWindow(uint32 disputedAfter, bool byNode) external {
        disputedAfter = uint32(bound(disputedAfter, 0, WINDOW - 1));
        bookUsual(EVENT);
        (,,, uint256 finalBefore, uint256 dueBefore) = dr.settlementOf(ID, EVENT);
        vm.warp(booked + disputedAfter);
        dispute(byNode ? NODE : AGGREGATOR, EVENT);
        (,,, uint256 finalAt, uint256 dueAt) = dr.settlementOf(ID, EVENT);
        vm.assertEq(finalAt, finalBefore + disputedAfter);
        vm.assertEq(dueAt, dueBefore + disputedAfter);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), dueAt);
        vm.warp(finalAt);
        pay(EVENT);
        assertPurse(EARNED, 0);
    }

    function test_whereThereIsNoWindowThereIsNoDispute() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.disputeWindowS = 0;
        bytes32 id = keccak256("no window");
        vm.warp(NOON);
        agree(id, terms);
        vm.warp(booked);
        vm.startPrank(AGGREGATOR);
        dr.book(id, EVENT, booking(booked - 1 hours));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.WindowClosed.selector, booked, booked));
        dr.dispute(id, EVENT, keccak256("reason"));
        dr.pay(id, EVENT);
        vm.stopPrank();
    }

    function refusedPayment(bytes32 key, uint256 finalAt) private {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.WindowOpen.selector, finalAt, block.timestamp));
        pay(key);
    }

    function test_theArbiterResolvesForEver() external {
        bookUsual(EVENT);
        dispute(NODE, EVENT);
        vm.warp(booked + WINDOW - 1);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Resolved(ID, EVENT, keccak256("finding"));
        resolve(EVENT, MEASURED, 8_000);
        assertStatus(EVENT, IDRAgreement.Status.Resolved);
        (,,, uint256 finalAt, uint256 dueAt) = dr.settlementOf(ID, EVENT);
        vm.assertEq(finalAt, block.timestamp);
        vm.assertEq(dueAt, block.timestamp + TERM);
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), dueAt);
        refusedStatus(IDRAgreement.Status.Resolved, IDRAgreement.Status.Open);
        dispute(NODE, EVENT);
        refusedStatus(IDRAgreement.Status.Resolved, IDRAgreement.Status.Open);
        revise(EVENT, 2, MEASURED, 1);
        refusedStatus(IDRAgreement.Status.Resolved, IDRAgreement.Status.Disputed);
        resolve(EVENT, MEASURED, 1);
        pay(EVENT);
        assertPurse(280, 0);
    }

    function test_aResolutionThatPaysNothingIsNotDue() external {
        bookUsual(EVENT);
        dispute(AGGREGATOR, EVENT);
        resolve(EVENT, IDRAgreement.Outcome.OptedOut, 0);
        vm.warp(NOON + 29 days);
        assertState(IDRAgreement.State.Active);
        pay(EVENT);
        assertPurse(0, 0);
    }

    function test_aResolutionIsPaidInItsTerm() external {
        bookUsual(EVENT);
        dispute(NODE, EVENT);
        vm.warp(booked + 1 days);
        resolve(EVENT, MEASURED, 10_000);
        vm.warp(booked + 1 days + TERM - 1);
        assertState(IDRAgreement.State.Active);
        vm.warp(booked + 1 days + TERM);
        assertState(IDRAgreement.State.Suspended);
        pay(EVENT);
        assertState(IDRAgreement.State.Active);
    }

    function test_onlyAnActiveArbiterResolvesAndOnlyDisputes() external {
        bookUsual(EVENT);
        refusedStatus(IDRAgreement.Status.Open, IDRAgreement.Status.Disputed);
        resolve(EVENT, MEASURED, 1);
        dispute(NODE, EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, NODE, ARBITER));
        vm.prank(NODE);
        dr.resolve(ID, EVENT, MEASURED, 1, keccak256("finding"));
        suspendParticipant(ARBITER, true);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.PartyNotActive.selector, ARBITER, IParticipantRegistry.Role.Dso)
        );
        resolve(EVENT, MEASURED, 1);
    }

    function refusedStatus(IDRAgreement.Status status, IDRAgreement.Status required) private {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.StatusForbids.selector, status, required));
    }
}
