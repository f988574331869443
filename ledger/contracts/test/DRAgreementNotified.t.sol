// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IDRAgreement} from "../IDRAgreement.sol";
import {Parties} from "./Parties.sol";

/// @notice A call that was notified in time stands whatever comes after, and an invented notification costs the
/// node nothing.
contract DRAgreementNotifiedTest is Parties {
    bytes32 private constant OTHER = keccak256("other event");
    uint48 private constant NOTIFIED = NOON + 2 hours;
    uint48 private constant START = NOON + 6 hours;
    IDRAgreement.Outcome private constant MEASURED = IDRAgreement.Outcome.Measured;

    function setUp() external {
        deploy();
        agree(ID, usualTerms());
    }

    // --- what was notified stands

    function test_aCallThatWasNotifiedBeforeASuspensionIsBookedAndPaid() external {
        vm.warp(NOTIFIED + 1);
        suspend(ARBITER);
        vm.warp(START + 1 hours);
        book(EVENT, call(10_000));
        vm.warp(START + 1 hours + WINDOW);
        pay(EVENT);
        assertPurse(EARNED, 0);
        assertState(IDRAgreement.State.Suspended);
    }

    function test_aCallThatWasNotifiedBeforeAPaymentFellDueIsBookedAndPaid() external {
        uint48 due = payable_();
        vm.warp(due + 3 hours);
        assertState(IDRAgreement.State.Suspended);
        book(EVENT, around(due, due + 2 hours, 10_000));
        pay(OTHER);
        vm.warp(due + 3 hours + WINDOW);
        pay(EVENT);
        assertPurse(2 * EARNED, 0);
    }

    function test_itIsTheSameWhetherTheBookingComesBeforeThePaymentOrAfterIt() external {
        uint48 due = payable_();
        vm.warp(due + 3 hours);
        book(EVENT, around(due, due + 2 hours, 0));
        pay(OTHER);
        book(keccak256("after"), around(due, due + 2 hours, 0));
        assertWaived(EVENT, true);
        assertWaived(keccak256("after"), true);
    }

    function test_inTheSecondOfASuspensionACallIsAllowedAndOwesNothing() external {
        vm.warp(NOTIFIED);
        suspend(ARBITER);
        vm.warp(START + 1 hours);
        book(EVENT, call(0));
        assertWaived(EVENT, true);
        IDRAgreement.Booking memory later = call(0);
        later.notifiedAt = NOTIFIED + 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.InSuspension.selector, NOTIFIED + 1, IDRAgreement.Suspender.Arbiter
            )
        );
        book(OTHER, later);
    }

    function test_inTheSecondInWhichAPaymentFallsDueACallIsAllowedAndOwesNothing() external {
        uint48 due = payable_();
        vm.warp(due + 3 hours);
        IDRAgreement.Booking memory missed = around(due, due + 2 hours, 0);
        missed.notifiedAt = due;
        book(EVENT, missed);
        assertWaived(EVENT, true);
        missed.notifiedAt = due + 1;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.InArrears.selector, due + 1, due));
        book(keccak256("third"), missed);
    }

    // --- a notification that the chain cannot tell from an invented one costs the node nothing

    function test_thePenaltyIsWaivedIfASuspensionBeganBeforeTheStart() external {
        vm.warp(START);
        suspend(AGGREGATOR);
        vm.warp(START + 1 hours);
        book(EVENT, call(0));
        assertWaived(EVENT, true);
        vm.warp(START + 1 hours + WINDOW);
        pay(EVENT);
        assertPurse(0, 0);
    }

    function test_thePenaltyStandsIfItBeganLater() external {
        vm.warp(START + 1);
        suspend(AGGREGATOR);
        vm.warp(START + 1 hours);
        book(EVENT, call(0));
        assertWaived(EVENT, false);
        vm.warp(START + 1 hours + WINDOW);
        pay(EVENT);
        assertPurse(0, 160);
    }

    function test_whatIsDeliveredInPartEarnsWithoutPenalty() external {
        vm.warp(START);
        suspend(AGGREGATOR);
        vm.warp(START + 1 hours);
        book(EVENT, call(1_000)); // 35, and 20 x (8 - 1) kWh is waived
        vm.assertEq(uint256(dr.standingOf(ID).earliestDueAt), block.timestamp + TERM);
        vm.warp(START + 1 hours + WINDOW);
        pay(EVENT);
        assertPurse(35, 0);
    }

    function test_aRevisionBringsNoPenaltyBackButTheArbiterDoes() external {
        vm.warp(START);
        suspend(ARBITER);
        vm.warp(START + 1 hours);
        book(EVENT, call(10_000));
        revise(EVENT, 2, MEASURED, 0);
        assertWaived(EVENT, true);
        dispute(AGGREGATOR, EVENT);
        assertWaived(EVENT, true);
        resolve(EVENT, MEASURED, 0);
        assertWaived(EVENT, false);
        pay(EVENT);
        assertPurse(0, 160);
    }

    function test_twoSuspensionsInOneLeaveTheirBeginning() external {
        vm.warp(NOTIFIED + 1);
        suspend(AGGREGATOR);
        vm.warp(NOTIFIED + 2);
        suspend(ARBITER);
        vm.prank(ARBITER);
        dr.lift(ID); // the arbiter's lasted no second, the aggregator's one
        vm.warp(START + 1 hours);
        book(EVENT, call(0));
        assertWaived(EVENT, true);
        IDRAgreement.Booking memory later = call(0);
        later.notifiedAt = NOTIFIED + 3;
        book(OTHER, later);
        assertWaived(OTHER, false);
    }

    /// @dev The true notification lies in a suspension, so the call is none. Whatever time the aggregator gives
    /// instead, the booking is refused, owes nothing, or gives the node the whole notice after the suspension.
    function testFuzz_noInventedNotificationCostsTheNodeAnything(
        uint32 from,
        uint32 length,
        uint32 given,
        uint32 start,
        bool byArbiter
    ) external {
        uint48 suspendedAt = NOON + uint48(bound(from, 1, 10 hours));
        uint48 liftedAt = suspendedAt + uint48(bound(length, 1, 10 hours));
        vm.warp(suspendedAt);
        suspend(byArbiter ? ARBITER : AGGREGATOR);
        vm.warp(liftedAt);
        vm.prank(ARBITER);
        dr.lift(ID);
        vm.warp(NOON + 10 days);
        IDRAgreement.Booking memory invented = call(0);
        invented.startsAt = suspendedAt + uint48(bound(start, 0, 1 days));
        invented.notifiedAt = NOON - 1 hours + uint48(bound(given, 0, 3 days));
        vm.prank(AGGREGATOR);
        (bool booked,) = address(dr).call(abi.encodeCall(dr.book, (ID, EVENT, invented)));
        if (!booked) return;
        bool fairly = invented.notifiedAt >= liftedAt && invented.startsAt - invented.notifiedAt >= NOTICE;
        (,, int256 penalty,,) = dr.settlementOf(ID, EVENT);
        vm.assertEq(penalty, fairly ? int256(160) : int256(0));
    }

    function testFuzz_noInventedNotificationHidesArrears(uint32 length, uint32 given, uint32 start, bool late)
        external
    {
        uint48 due = payable_();
        uint48 paidAt = due + uint48(bound(length, 1, 10 hours));
        IDRAgreement.Booking memory invented = call(0);
        invented.startsAt = due + uint48(bound(start, 0, 1 days));
        invented.notifiedAt = due - 1 days + uint48(bound(given, 0, 3 days));
        bytes memory data = abi.encodeCall(dr.book, (ID, EVENT, invented));
        vm.warp(paidAt);
        if (late) pay(OTHER);
        vm.warp(due + 2 days);
        vm.prank(AGGREGATOR);
        (bool booked,) = address(dr).call(data);
        if (!booked) return;
        bool fairly = late && invented.notifiedAt >= paidAt && invented.startsAt - invented.notifiedAt >= NOTICE;
        (,, int256 penalty,,) = dr.settlementOf(ID, EVENT);
        vm.assertEq(penalty, fairly ? int256(160) : int256(0));
    }

    /// @dev One hour from START on, 10 kWh asked for.
    function call(int48 deliveredWh) private pure returns (IDRAgreement.Booking memory made) {
        made = booking(START);
        made.notifiedAt = NOTIFIED;
        made.deliveredWh = deliveredWh;
    }

    /// @dev Notified in the second before `due`, and over an hour after its start.
    function around(uint48 due, uint48 start, int48 deliveredWh)
        private
        pure
        returns (IDRAgreement.Booking memory made)
    {
        made = booking(start);
        made.notifiedAt = due - 1;
        made.deliveredWh = deliveredWh;
    }

    /// @dev Book an event that earns, and say when its payment is due.
    function payable_() private returns (uint48) {
        vm.warp(NOON + 1 hours);
        book(OTHER, booking(NOON));
        return NOON + 1 hours + TERM;
    }

    function suspend(address caller) private {
        vm.prank(caller);
        dr.suspend(ID, 1);
    }

    function assertWaived(bytes32 key, bool expected) private view {
        (IDRAgreement.Settled memory settled,,,,) = dr.settlementOf(ID, key);
        vm.assertEq(settled.penaltyWaived, expected);
    }
}
