// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DRAgreement} from "../DRAgreement.sol";
import {IDRAgreement} from "../IDRAgreement.sol";
import {IEnergyToken} from "../IEnergyToken.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {Parties} from "./Parties.sol";

/// @notice Offering, accepting, suspending, lifting, closing, expiring.
contract DRAgreementStateTest is Parties {
    bytes32 private constant OTHER = keccak256("another agreement");

    function setUp() external {
        deploy();
    }

    function test_itNeedsARegistryAndAToken() external {
        vm.expectRevert(IDRAgreement.ZeroAddress.selector);
        new DRAgreement(IParticipantRegistry(address(0)), token);
        vm.expectRevert(IDRAgreement.ZeroAddress.selector);
        new DRAgreement(registry, IEnergyToken(address(0)));
        vm.assertEq(address(dr.registry()), address(registry));
        vm.assertEq(address(dr.token()), address(token));
    }

    // --- offering

    function test_anOfferIsMadeOnce() external {
        IDRAgreement.Terms memory terms = usualTerms();
        assertState(IDRAgreement.State.None);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Proposed(ID, keccak256(abi.encode(terms)));
        propose(ID, terms);
        assertState(IDRAgreement.State.Proposed);
        vm.assertEq(keccak256(abi.encode(dr.agreementOf(ID).terms)), keccak256(abi.encode(terms)));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyProposed.selector, ID));
        propose(ID, terms);
        bytes32 proposed = dr.termsHashOf(ID);
        terms.priceMicro += 1;
        bytes32 given = keccak256(abi.encode(terms));
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.ProposedDifferently.selector, proposed, given));
        propose(ID, terms);
    }

    function testFuzz_onlyTheAggregatorOffers(address caller) external {
        vm.assume(caller != AGGREGATOR);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, AGGREGATOR));
        vm.prank(caller);
        dr.propose(ID, usualTerms());
    }

    function test_everyPartyMustBeActiveInItsRole() external {
        refusedParty(AGGREGATOR, IParticipantRegistry.Role.Aggregator);
        refusedParty(NODE, IParticipantRegistry.Role.VirtualNode);
        refusedParty(ARBITER, IParticipantRegistry.Role.Dso);
        propose(ID, usualTerms());
    }

    function refusedParty(address account, IParticipantRegistry.Role role) private {
        suspendParticipant(account, true);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.PartyNotActive.selector, account, role));
        propose(ID, usualTerms());
        suspendParticipant(account, false);
    }

    function test_thePartiesAreThree() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.node = AGGREGATOR;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.PartiesNotDistinct.selector, AGGREGATOR));
        terms = usualTerms();
        terms.arbiter = AGGREGATOR;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.PartiesNotDistinct.selector, AGGREGATOR));
        terms.arbiter = NODE;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.PartiesNotDistinct.selector, NODE));
    }

    function test_termsThatCannotBeKeptAreRefused() external {
        IDRAgreement.Terms memory terms = usualTerms();
        terms.expiresAt = NOON;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.ExpiryNotAfterStart.selector, NOON, NOON));
        terms.startsAt = NOON - 1;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.ExpiryPassed.selector, NOON, NOON));
        terms = usualTerms();
        terms.thresholdPpm = 1e6 + 1;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.ThresholdAboveOne.selector, 1e6 + 1, 1e6));
        terms = usualTerms();
        terms.paymentTermS = WINDOW;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.TermNotAfterWindow.selector, WINDOW, WINDOW));
        terms = usualTerms();
        terms.utcOffsetS = 14 hours + 1;
        int256 limit = 14 hours;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.UtcOffsetTooLarge.selector, limit + 1, limit));
        terms.utcOffsetS = -14 hours - 1;
        refusedTerms(terms, abi.encodeWithSelector(IDRAgreement.UtcOffsetTooLarge.selector, -limit - 1, limit));
    }

    function refusedTerms(IDRAgreement.Terms memory terms, bytes memory why) private {
        vm.expectRevert(why);
        propose(ID, terms);
    }

    function test_termsAtTheirLimitsAreTaken() external {
        IDRAgreement.Terms memory terms = usualTerms();
        (terms.startsAt, terms.expiresAt) = (NOON, NOON + 1);
        (terms.disputeWindowS, terms.paymentTermS) = (0, 1);
        (terms.thresholdPpm, terms.utcOffsetS) = (1e6, 14 hours);
        propose(ID, terms);
        terms.utcOffsetS = -14 hours;
        propose(OTHER, terms);
    }

    // --- accepting

    function test_theNodeAcceptsWhatItHasRead() external {
        propose(ID, usualTerms());
        bytes32 read = dr.termsHashOf(ID);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.ProposedDifferently.selector, read, keccak256("other terms"))
        );
        vm.prank(NODE);
        dr.accept(ID, keccak256("other terms"));
        vm.expectEmit(address(dr));
        emit IDRAgreement.Accepted(ID);
        vm.prank(NODE);
        dr.accept(ID, read);
        assertState(IDRAgreement.State.Active);
        vm.assertEq(uint256(dr.agreementOf(ID).acceptedAt), NOON);
        refusedAcceptance(IDRAgreement.State.Active);
    }

    function test_onlyTheNodeAccepts() external {
        propose(ID, usualTerms());
        bytes32 read = dr.termsHashOf(ID);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, AGGREGATOR, NODE));
        vm.prank(AGGREGATOR);
        dr.accept(ID, read);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.UnknownAgreement.selector, OTHER));
        vm.prank(NODE);
        dr.accept(OTHER, read);
    }

    function test_aPartyThatWasSuspendedSinceDoesNotAgree() external {
        propose(ID, usualTerms());
        suspendParticipant(AGGREGATOR, true);
        bytes32 read = dr.termsHashOf(ID);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.PartyNotActive.selector, AGGREGATOR, IParticipantRegistry.Role.Aggregator
            )
        );
        vm.prank(NODE);
        dr.accept(ID, read);
    }

    function test_anOfferThatExpiredOrWasClosedIsGone() external {
        propose(ID, usualTerms());
        vm.warp(NOON + 30 days);
        assertState(IDRAgreement.State.Expired);
        refusedAcceptance(IDRAgreement.State.Expired);
        vm.warp(NOON);
        vm.prank(NODE);
        dr.close(ID);
        assertState(IDRAgreement.State.Closed);
        refusedAcceptance(IDRAgreement.State.Closed);
    }

    function refusedAcceptance(IDRAgreement.State state) private {
        bytes32 read = dr.termsHashOf(ID);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.StateForbids.selector, state, IDRAgreement.State.Proposed)
        );
        vm.prank(NODE);
        dr.accept(ID, read);
    }

    // --- ending

    function test_itExpiresByTime() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 30 days - 1);
        assertState(IDRAgreement.State.Active);
        vm.warp(NOON + 30 days);
        assertState(IDRAgreement.State.Expired);
        refusedClosing(IDRAgreement.State.Expired);
    }

    function test_eitherPartyClosesAfterTheNotice() external {
        agree(ID, usualTerms());
        vm.expectEmit(address(dr));
        emit IDRAgreement.Closed(ID);
        vm.prank(NODE);
        dr.close(ID);
        vm.assertEq(uint256(dr.agreementOf(ID).closesAt), NOON + NOTICE);
        vm.warp(NOON + NOTICE - 1);
        assertState(IDRAgreement.State.Active);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadyClosing.selector, NOON + NOTICE));
        vm.prank(AGGREGATOR);
        dr.close(ID);
        vm.warp(NOON + NOTICE);
        assertState(IDRAgreement.State.Closed);
        refusedClosing(IDRAgreement.State.Closed);
    }

    function test_closingDoesNotOutliveTheExpiry() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 30 days - 1);
        vm.prank(AGGREGATOR);
        dr.close(ID);
        vm.assertEq(uint256(dr.agreementOf(ID).closesAt), NOON + 30 days);
        vm.warp(NOON + 30 days);
        assertState(IDRAgreement.State.Closed);
    }

    function testFuzz_onlyAPartyCloses(address caller) external {
        vm.assume(caller != AGGREGATOR && caller != NODE);
        agree(ID, usualTerms());
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, NODE));
        vm.prank(caller);
        dr.close(ID);
    }

    function refusedClosing(IDRAgreement.State state) private {
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.StateForbids.selector, state, IDRAgreement.State.Active)
        );
        vm.prank(AGGREGATOR);
        dr.close(ID);
    }

    // --- suspending

    function test_theAggregatorSuspendsAndLifts() external {
        agree(ID, usualTerms());
        vm.expectEmit(address(dr));
        emit IDRAgreement.Suspended(ID, 7);
        suspend(AGGREGATOR, 7);
        assertState(IDRAgreement.State.Suspended);
        vm.assertEq(uint256(dr.standingOf(ID).suspender), uint256(IDRAgreement.Suspender.Aggregator));
        refusedSuspension(AGGREGATOR, IDRAgreement.Suspender.Aggregator, IDRAgreement.Suspender.Aggregator);
        vm.expectEmit(address(dr));
        emit IDRAgreement.Lifted(ID);
        lift(AGGREGATOR);
        assertState(IDRAgreement.State.Active);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.NotSuspended.selector, ID));
        lift(AGGREGATOR);
    }

    function test_theArbiterSuspensionOutranksTheAggregators() external {
        agree(ID, usualTerms());
        suspend(AGGREGATOR, 1);
        vm.warp(NOON + 5);
        suspend(ARBITER, 2);
        refusedSuspension(AGGREGATOR, IDRAgreement.Suspender.Arbiter, IDRAgreement.Suspender.Aggregator);
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, AGGREGATOR, ARBITER));
        lift(AGGREGATOR);
        assertState(IDRAgreement.State.Suspended);
        lift(ARBITER);
        assertState(IDRAgreement.State.Active);
    }

    function test_theArbiterLiftsTheAggregatorsSuspension() external {
        agree(ID, usualTerms());
        suspend(AGGREGATOR, 1);
        lift(ARBITER);
        assertState(IDRAgreement.State.Active);
    }

    function test_aSuspensionOfNoSecondLeavesNothing() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 5 hours);
        suspend(AGGREGATOR, 1);
        lift(AGGREGATOR);
        vm.warp(NOON + 9 hours);
        IDRAgreement.Booking memory missed = booking(NOON + 6 hours);
        missed.notifiedAt = NOON + 4 hours;
        missed.deliveredWh = 0;
        book(EVENT, missed);
        (,, int256 penalty,,) = dr.settlementOf(ID, EVENT);
        vm.assertEq(penalty, 160);
    }

    function testFuzz_othersNeitherSuspendNorLift(address caller) external {
        vm.assume(caller != AGGREGATOR && caller != ARBITER);
        agree(ID, usualTerms());
        bytes memory why = abi.encodeWithSelector(IDRAgreement.CallerMayNot.selector, caller, ARBITER);
        vm.expectRevert(why);
        suspend(caller, 1);
        suspend(AGGREGATOR, 1);
        vm.expectRevert(why);
        lift(caller);
    }

    function test_anArbiterWhoLostTheRoleDoesNotSuspend() external {
        agree(ID, usualTerms());
        suspendParticipant(ARBITER, true);
        vm.expectRevert(
            abi.encodeWithSelector(IDRAgreement.PartyNotActive.selector, ARBITER, IParticipantRegistry.Role.Dso)
        );
        suspend(ARBITER, 1);
    }

    function test_onlyWhatRunsIsSuspended() external {
        propose(ID, usualTerms());
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.StateForbids.selector, IDRAgreement.State.Proposed, IDRAgreement.State.Active
            )
        );
        suspend(AGGREGATOR, 1);
        vm.warp(NOON + 30 days);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDRAgreement.StateForbids.selector, IDRAgreement.State.Expired, IDRAgreement.State.Active
            )
        );
        lift(AGGREGATOR);
    }

    function test_whomTheRegistrySuspendsIsNotCalled() external {
        agree(ID, usualTerms());
        suspendParticipant(NODE, true);
        assertState(IDRAgreement.State.Suspended);
        vm.assertFalse(dr.standingOf(ID).partiesActive);
        suspendParticipant(NODE, false);
        assertState(IDRAgreement.State.Active);
        suspendParticipant(AGGREGATOR, true);
        assertState(IDRAgreement.State.Suspended);
        vm.assertFalse(dr.standingOf(ID).partiesActive);
    }

    function suspend(address caller, uint16 reason) private {
        vm.prank(caller);
        dr.suspend(ID, reason);
    }

    function lift(address caller) private {
        vm.prank(caller);
        dr.lift(ID);
    }

    function refusedSuspension(address caller, IDRAgreement.Suspender by, IDRAgreement.Suspender as_) private {
        vm.expectRevert(abi.encodeWithSelector(IDRAgreement.AlreadySuspended.selector, by, as_));
        suspend(caller, 1);
    }
}
