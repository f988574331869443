// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IDRAgreement} from "../IDRAgreement.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {Parties} from "./Parties.sol";

/// @notice Which events can be booked: once each, and none against a clause.
contract DRAgreementBookingTest is Parties {
    /// @dev When the usual event starts; it is over when a test begins.
    uint48 private constant START = NOON + 2 hours;

    function setUp() external {
        deploy();
        agree(ID, usualTerms());
        vm.warp(START + 1 hours);
    }

    // --- once

    function test_anEventIsBookedWithItsHashes() external {
        vm.expectEmit(address(dr));
        emit IDRAgreement.Booked(
            ID, EVENT, keccak256("signal"), keccak256("response"), keccak256("measurement")
        );
        book(EVENT, booking(START));
        (IDRAgreement.Settled memory settled, int256 incentive, int256 penalty, uint256 finalAt, uint256 dueAt) =
            dr.settlementOf(ID, EVENT);
        vm.assertEq(settled.bookingHash, keccak256(abi.encode(booking(START))));
        vm.assertEq(settled.changeHash, bytes32(0));
        vm.assertEq(uint256(settled.bookedAt), block.timestamp);
        vm.assertEq(uint256(settled.changedAt), block.timestamp);
        vm.assertEq(uint256(settled.requestedWh), 10_000);
        vm.assertEq(int256(settled.deliveredWh), 10_000);
        vm.assertEq(uint256(settled.revision), 1);
        vm.assertEq(uint256(settled.outcome), uint256(IDRAgreement.Outcome.Measured));
        vm.assertEq(incentive, int256(EARNED));
        vm.assertEq(penalty, 0);
        vm.assertEq(finalAt, block.timestamp + WINDOW);
        vm.assertEq(dueAt, block.timestamp + TERM);
        vm.assertEq(dr.callsOn(ID, dr.dayOf(ID, START)), 1);
        assertStatus(EVENT, IDRAgreement.Status.Open);
    }

    function test_theSameBookingAgainSaysThatItIsDone() external {
        book(EVENT, booking(START));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyBooked.selector, ID, EVENT));
        book(EVENT, booking(START));
        revise(EVENT, 2, IDRAgreement.Outcome.Measured, 9_000);
        vm.warp(START + 400 days);
        pay(EVENT);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyBooked.selector, ID, EVENT));
        book(EVENT, booking(START));
    }

    function testFuzz_anotherBookingOfTheEventIsRefused(uint256 field, uint256 change) external {
        IDRAgreement.Booking memory first = booking(START);
        book(EVENT, first);
        IDRAgreement.Booking memory other = booking(START);
        field = bound(field, 0, 8);
        uint48 more = uint48(bound(change, 1, 1_000));
        if (field == 0) other.signalHash = keccak256(abi.encode(change));
        if (field == 1) other.responseHash = keccak256(abi.encode(change));
        if (field == 2) other.measurementHash = keccak256(abi.encode(change));
        if (field == 3) other.notifiedAt -= more;
        if (field == 4) other.startsAt -= more;
        if (field == 5) other.durationS -= uint32(more);
        if (field == 6) other.requestedWh -= more;
        if (field == 7) other.deliveredWh -= int48(more);
        if (field == 8) other.outcome = IDRAgreement.Outcome.Test;
        bytes32 booked = keccak256(abi.encode(first));
        bytes32 given = keccak256(abi.encode(other));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.BookedDifferently.selector, booked, given));
        book(EVENT, other);
    }

    function testFuzz_onlyTheAggregatorBooks(address caller) external {
        vm.assume(caller != AGGREGATOR);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, AGGREGATOR));
        vm.prank(caller);
        dr.book(ID, EVENT, booking(START));
    }

    function test_whatIsNotKnownIsRefused() external {
        bytes32 other = keccak256("another");
        bytes memory why = abi.encodeWithSelector(IDRAgreement.UnknownAgreement.selector, other);
        vm.expectRevert(why);
        vm.prank(AGGREGATOR);
        dr.book(other, EVENT, booking(START));
        vm.expectRevert(why);
        dr.agreementOf(other);
        vm.expectRevert(why);
        dr.standingOf(other);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NotBooked.selector, ID, EVENT));
        dr.settlementOf(ID, EVENT);
    }

    // --- when

    function test_anEventIsBookedWhenItIsOver() external {
        vm.warp(START + 1 hours - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.EventNotOver.selector, uint256(START) + 1 hours, uint256(START) + 1 hours - 1
            )
        );
        book(EVENT, booking(START));
        vm.warp(START + 1 hours);
        book(EVENT, booking(START));
    }

    function test_anEventHasADuration() external {
        IDRAgreement.Booking memory empty = booking(START);
        empty.durationS = 0;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.PeriodEmpty.selector, START));
        book(EVENT, empty);
    }

    function test_anEventBeforeTheAgreementIsRefused() external {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.BeforeStart.selector, NOON - 1, NOON));
        book(EVENT, booking(NOON - 1));
        book(EVENT, booking(NOON));
    }

    function test_anAgreementThatStartsLaterAllowsNothingBefore() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.startsAt = START + 1 days;
        bytes32 id = keccak256("starts later");
        agree(id, terms);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.BeforeStart.selector, terms.startsAt - 1, terms.startsAt)
        );
        dr.checkCall(id, terms.startsAt - 1, 1 hours, START, 10);
        dr.checkCall(id, terms.startsAt, 1 hours, START, 10);
    }

    function test_anEventBeforeTheAcceptanceIsRefused() external {
        bytes32 late = keccak256("accepted late");
        propose(late, usualTerms());
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.StateForbids.selector, IDRAgreement.State.Proposed, IDRAgreement.State.Active
            )
        );
        vm.prank(AGGREGATOR);
        dr.book(late, EVENT, booking(START));
        vm.prank(NODE);
        dr.accept(late, keccak256(abi.encode(usualTerms())));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.BeforeStart.selector, START, START + 1 hours));
        vm.prank(AGGREGATOR);
        dr.book(late, EVENT, booking(START));
    }

    function test_anEventMustBeOverAtTheExpiryButMayBeBookedLater() external {
        uint48 last = NOON + 30 days - 1 hours;
        vm.warp(last + 60 days);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.AfterExpiry.selector, NOON + 30 days + 1, NOON + 30 days)
        );
        book(EVENT, booking(last + 1));
        book(EVENT, booking(last));
        assertState(IDRAgreement.State.Expired);
    }

    function test_anEventMustStartBeforeTheCloseButMayBeBookedLater() external {
        vm.prank(NODE);
        dr.close(ID);
        uint48 closesAt = START + 1 hours + NOTICE;
        vm.warp(closesAt + 3 days);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AfterClose.selector, closesAt, closesAt));
        book(EVENT, booking(closesAt));
        book(EVENT, booking(closesAt - 1));
        assertState(IDRAgreement.State.Closed);
    }

    function test_aSuspensionByHandForbidsTheCallsThatAreNotifiedInIt() external {
        uint48 from = uint48(block.timestamp);
        suspend(AGGREGATOR);
        vm.warp(from + 100);
        suspend(ARBITER);
        vm.warp(from + 200);
        lift();
        vm.warp(from + 10 hours);
        refusedInSuspension(from + 1, IDRAgreement.Suspender.Aggregator);
        refusedInSuspension(from + 99, IDRAgreement.Suspender.Aggregator);
        refusedInSuspension(from + 100, IDRAgreement.Suspender.Arbiter);
        refusedInSuspension(from + 199, IDRAgreement.Suspender.Arbiter);
        book(EVENT, booking(from + NOTICE)); // in that second it was still allowed
        book(keccak256("after"), booking(from + 200 + NOTICE));
    }

    function refusedInSuspension(uint48 notifiedAt, IDRAgreement.Suspender suspender) private {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.InSuspension.selector, notifiedAt, suspender));
        book(EVENT, booking(notifiedAt + NOTICE));
    }

    function test_aCallIsJudgedByItsStartIfItsNotificationIsSaidToBeLater() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.noticeS = 0;
        bytes32 id = keccak256("no notice");
        agree(id, terms);
        uint48 from = uint48(block.timestamp);
        vm.prank(ARBITER);
        dr.suspend(id, 1);
        from += 50;
        vm.warp(from + 100);
        vm.prank(ARBITER);
        dr.lift(id);
        vm.warp(from + 3 hours);
        IDRAgreement.Booking memory late = booking(from);
        late.notifiedAt = from + 100;
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.InSuspension.selector, from, IDRAgreement.Suspender.Arbiter)
        );
        vm.prank(AGGREGATOR);
        dr.book(id, EVENT, late);
    }

    function test_onlyWhatIsToComeNeedsBothPartiesAndABookingTheAggregator() external {
        suspendParticipant(NODE, true);
        bytes memory why = abi.encodeWithSelector(
            IDRAgreement.PartyNotActive.selector, NODE, IParticipantRegistry.Role.VirtualNode
        );
        vm.expectRevert(why);
        dr.checkCall(ID, START + 1 days, 1 hours, START, 10);
        book(EVENT, booking(START)); // no node gets out of a call by giving its certificate back
        suspendParticipant(NODE, false);
        suspendParticipant(AGGREGATOR, true);
        why = abi.encodeWithSelector(
            IDRAgreement.PartyNotActive.selector, AGGREGATOR, IParticipantRegistry.Role.Aggregator
        );
        vm.expectRevert(why);
        dr.checkCall(ID, START + 1 days, 1 hours, START, 10);
        vm.expectRevert(why);
        book(keccak256("later"), booking(START));
        suspendParticipant(AGGREGATOR, false);
        book(keccak256("later"), booking(START));
    }

    function suspend(address caller) private {
        vm.prank(caller);
        dr.suspend(ID, 1);
    }

    function lift() private {
        vm.prank(ARBITER);
        dr.lift(ID);
    }

    // --- how much, how soon, how often

    function testFuzz_theCapacityBindsToHalfAWattHour(uint32 durationS, uint32 capacityW) external {
        durationS = uint32(bound(durationS, 1, 1 days));
        IDRAgreement.Terms memory terms = usualTerms();
        terms.capacityW = uint32(bound(capacityW, 1, 1e8));
        bytes32 id = keccak256("another capacity");
        agree(id, terms);
        uint48 start = uint48(block.timestamp);
        // the largest whole number that rounds to at most what the capacity gives, half a Wh included
        uint256 most = (uint256(terms.capacityW) * durationS + 1800) / 3600;
        dr.checkCall(id, start, durationS, start - NOTICE, uint48(most));
        uint256 capacityWh = uint256(terms.capacityW) * durationS / 3600;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CapacityExceeded.selector, most + 1, capacityWh));
        dr.checkCall(id, start, durationS, start - NOTICE, uint48(most + 1));
    }

    function test_moreThanTheCapacityIsNotBooked() external {
        IDRAgreement.Booking memory large = booking(START);
        large.requestedWh = 20_001;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CapacityExceeded.selector, 20_001, 20_000));
        book(EVENT, large);
        large.requestedWh = 20_000;
        book(EVENT, large);
    }

    function test_theNoticeBindsToTheSecond() external {
        IDRAgreement.Booking memory hasty = booking(START);
        hasty.notifiedAt = START - NOTICE + 1;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NoticeTooShort.selector, NOTICE - 1, NOTICE));
        book(EVENT, hasty);
        hasty.notifiedAt = START + 1;
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NoticeTooShort.selector, 0, NOTICE));
        book(EVENT, hasty);
        hasty.notifiedAt = START - NOTICE;
        book(EVENT, hasty);
    }

    function test_callsCountForTheLocalDayOnWhichTheyStart() external {
        vm.warp(NOON + 5 days);
        uint48 midnight = NOON + 11 hours; // local, an hour before that of UTC
        book(keccak256("1"), booking(midnight - 1));
        book(keccak256("2"), booking(midnight - 2 hours));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallsExceeded.selector, 3, 2));
        book(EVENT, booking(midnight - 3 hours));
        book(keccak256("3"), booking(midnight));
        book(keccak256("4"), booking(midnight + 1 days - 1));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallsExceeded.selector, 3, 2));
        book(EVENT, booking(midnight + 3 hours));
        book(EVENT, booking(midnight + 1 days));
        vm.assertEq(dr.callsOn(ID, dr.dayOf(ID, midnight)), 2);
        vm.assertEq(dr.dayOf(ID, midnight), dr.dayOf(ID, midnight - 1) + 1);
    }

    function testFuzz_theDayIsThatOfTheOffset(uint48 at, int32 offset) external {
        offset = int32(int256(bound(uint256(int256(offset) + 2 ** 31), 0, 28 hours)) - 14 hours);
        IDRAgreement.Terms memory terms = usualTerms();
        terms.utcOffsetS = offset;
        bytes32 id = keccak256("elsewhere");
        propose(id, terms);
        int256 local = int256(uint256(at)) + offset;
        int256 day = dr.dayOf(id, at);
        vm.assertTrue(day * 1 days <= local && local < (day + 1) * 1 days);
    }

    function test_noCallsADayMeansNone() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.maxCallsPerDay = 0;
        bytes32 id = keccak256("no calls");
        agree(id, terms);
        uint48 start = uint48(block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallsExceeded.selector, 1, 0));
        dr.checkCall(id, start, 1 hours, start - NOTICE, 10);
    }

    // --- what was measured

    function test_onlyWhatWasMeasuredWasDelivered() external {
        IDRAgreement.Booking memory booked = booking(START);
        for (uint256 outcome = 0; outcome <= uint256(type(IDRAgreement.Outcome).max); ++outcome) {
            booked.outcome = IDRAgreement.Outcome(outcome);
            if (booked.outcome == IDRAgreement.Outcome.Measured || booked.outcome == IDRAgreement.Outcome.Test) {
                continue;
            }
            vm.expectRevert(
                abi.encodeWithSelector(IDRAgreement.NothingMeasured.selector, booked.outcome, 10_000)
            );
            book(EVENT, booked);
        }
        booked.outcome = IDRAgreement.Outcome.Test;
        book(EVENT, booked);
    }

    function test_onlyMeasuredAndLateOptOutCarryMoney() external view {
        assertAmounts(IDRAgreement.Outcome.Measured, 10_000, 350, 0);
        assertAmounts(IDRAgreement.Outcome.LateOptOut, 0, 0, 160);
        assertAmounts(IDRAgreement.Outcome.Test, 10_000, 0, 0);
        assertAmounts(IDRAgreement.Outcome.NotDelivered, 0, 0, 0);
        assertAmounts(IDRAgreement.Outcome.OptedOut, 0, 0, 0);
        assertAmounts(IDRAgreement.Outcome.Unmeasured, 0, 0, 0);
    }

    function assertAmounts(IDRAgreement.Outcome outcome, int48 delivered, int256 earns, int256 owes) private view {
        (int256 incentive, int256 penalty) = dr.amountsOf(ID, outcome, 10_000, delivered);
        vm.assertEq(incentive, earns);
        vm.assertEq(penalty, owes);
    }

    // --- calls to come

    function test_aCallToComeIsJudgedByWhatStandsWhenTheNodeIsNotified() external {
        uint48 tomorrow = START + 1 days;
        dr.checkCall(ID, tomorrow, 1 hours, START, 20_000);
        uint48 now_ = uint48(block.timestamp);
        suspend(ARBITER);
        dr.checkCall(ID, tomorrow, 1 hours, now_, 20_000);
        refusedCall(tomorrow, now_ + 1);
        refusedCall(tomorrow, now_ + 1 hours); // nobody knows what will stand then
    }

    function refusedCall(uint48 startsAt, uint48 notifiedAt) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.InSuspension.selector, notifiedAt, IDRAgreement.Suspender.Arbiter
            )
        );
        dr.checkCall(ID, startsAt, 1 hours, notifiedAt, 20_000);
    }
}
