// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Agreements} from "./Agreements.sol";
import {DueQueue} from "./DueQueue.sol";
import {IEnergyToken} from "./IEnergyToken.sol";
import {IParticipantRegistry} from "./IParticipantRegistry.sol";
import {Settlement} from "./Settlement.sol";

/// @title DRAgreement: agreements between aggregators and nodes, their calls and their money
/// @notice Each event is booked once, after it is over, if no clause stood against it when the node was notified.
/// Its settlement can be disputed for a window from its last change on, is then paid, and is due a payment term
/// after the last change; the term is longer than the window. A dispute is such a change: the arbiter decides in
/// its window, or what was booked stands. What is due and unpaid suspends the agreement.
/// @dev Every sum is computed from what is stored, none is given. What was done before is refused with an error of
/// its own (`Already...`), what contradicts it with another (`...Differently`), so that a sender that lost count
/// can tell them apart.
contract DRAgreement is Agreements, ReentrancyGuard {
    using DueQueue for DueQueue.Queue;
    using SafeCast for int256;
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    /// @notice In what incentives are paid.
    IEnergyToken public immutable token;

    mapping(bytes32 id => mapping(bytes32 eventKey => Settled)) private _settlements;

    /// @param registry_ Who may act.
    /// @param token_ In what incentives are paid; this contract must be a minter of it.
    constructor(IParticipantRegistry registry_, IEnergyToken token_) Agreements(registry_) {
        if (address(token_) == address(0)) revert ZeroAddress();
        token = token_;
    }

    /// @notice Book an event that is over; by the aggregator, once for each key.
    /// @param id The agreement.
    /// @param eventKey Salted hash of the event, made off chain.
    /// @param booking What happened.
    function book(bytes32 id, bytes32 eventKey, Booking calldata booking) external {
        address aggregator = _known(id).terms.aggregator;
        _onlyBy(aggregator);
        Settled storage settled = _settlements[id][eventKey];
        bytes32 given = keccak256(abi.encode(booking));
        if (settled.status != Status.None) {
            if (settled.bookingHash == given) revert AlreadyBooked(id, eventKey);
            revert BookedDifferently(settled.bookingHash, given);
        }
        uint256 endsAt = uint256(booking.startsAt) + booking.durationS;
        if (endsAt > block.timestamp) revert EventNotOver(endsAt, block.timestamp);
        _requireActive(aggregator, IParticipantRegistry.Role.Aggregator);
        _checkClauses(id, booking.startsAt, booking.durationS, booking.notifiedAt, booking.requestedWh);
        ++_calls[id][dayOf(id, booking.startsAt)];
        settled.bookingHash = given;
        settled.bookedAt = _now();
        settled.requestedWh = booking.requestedWh;
        settled.revision = 1;
        settled.penaltyWaived = _wasInterrupted(id, booking.notifiedAt, booking.startsAt);
        _settle(id, settled, Status.Open, booking.outcome, booking.deliveredWh);
        emit Booked(id, eventKey, booking.signalHash, booking.responseHash, booking.measurementHash);
    }

    /// @notice Correct a settlement by late data; by the aggregator, while the window that opened with the
    /// booking is open. The window for disputes and the payment term begin anew.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param revision One more than the settlement's.
    /// @param outcome Which rule decides now.
    /// @param deliveredWh What was delivered by the late data.
    /// @param measurementHash Of the statement with its measurement.
    function revise(
        bytes32 id,
        bytes32 eventKey,
        uint16 revision,
        Outcome outcome,
        int48 deliveredWh,
        bytes32 measurementHash
    ) external {
        Terms storage terms = _known(id).terms;
        _onlyBy(terms.aggregator);
        Settled storage settled = _booked(id, eventKey);
        bytes32 given = keccak256(abi.encode(revision, outcome, deliveredWh, measurementHash));
        if (revision == settled.revision && settled.changeHash != 0) {
            if (settled.changeHash == given) revert AlreadyRevised(revision);
            revert RevisedDifferently(settled.changeHash, given);
        }
        uint256 expected = uint256(settled.revision) + 1;
        if (revision != expected) revert RevisionNotNext(revision, expected);
        _requireStatus(settled, Status.Open);
        _requireOpenWindow(terms, settled.bookedAt);
        settled.changeHash = given;
        settled.revision = revision;
        _unqueue(id, settled);
        _settle(id, settled, Status.Open, outcome, deliveredWh);
        emit Revised(id, eventKey, measurementHash);
    }

    /// @notice Contest a settlement once; by either party inside the window. Window and payment term begin anew:
    /// until the window ends the arbiter can decide, then what was booked stands and is paid.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param reasonHash Of what the party says.
    function dispute(bytes32 id, bytes32 eventKey, bytes32 reasonHash) external {
        Terms storage terms = _known(id).terms;
        _onlyByParty(terms);
        Settled storage settled = _booked(id, eventKey);
        _requireStatus(settled, Status.Open);
        _requireOpenWindow(terms, settled.changedAt);
        _unqueue(id, settled);
        _settle(id, settled, Status.Disputed, settled.outcome, settled.deliveredWh);
        emit Disputed(id, eventKey, reasonHash);
    }

    /// @notice Decide a dispute for ever; by the arbiter, inside the window that the dispute has opened. The
    /// payment term begins anew. The arbiter has the evidence before him: a penalty that was waived counts again.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param outcome Which rule decides.
    /// @param deliveredWh What was delivered.
    /// @param findingHash Of what the arbiter says.
    function resolve(bytes32 id, bytes32 eventKey, Outcome outcome, int48 deliveredWh, bytes32 findingHash)
        external
    {
        Terms storage terms = _known(id).terms;
        _onlyBy(terms.arbiter);
        _requireActive(terms.arbiter, IParticipantRegistry.Role.Dso);
        Settled storage settled = _booked(id, eventKey);
        _requireStatus(settled, Status.Disputed);
        _requireOpenWindow(terms, settled.changedAt);
        settled.penaltyWaived = false;
        _unqueue(id, settled);
        _settle(id, settled, Status.Resolved, outcome, deliveredWh);
        emit Resolved(id, eventKey, findingHash);
    }

    /// @notice Pay a settlement that can no longer be disputed or decided otherwise; by the aggregator. What the node earned is
    /// minted for it less its debt, what it owes becomes debt.
    /// @param id The agreement.
    /// @param eventKey The event.
    function pay(bytes32 id, bytes32 eventKey) external nonReentrant {
        Agreement storage agreement = _known(id);
        _onlyBy(agreement.terms.aggregator);
        Settled storage settled = _booked(id, eventKey);
        if (settled.status == Status.Paid) revert AlreadyPaid(id, eventKey);
        if (settled.status != Status.Resolved) {
            uint256 finalAt = uint256(settled.changedAt) + agreement.terms.disputeWindowS;
            if (block.timestamp < finalAt) revert WindowOpen(finalAt, block.timestamp);
        }
        settled.status = Status.Paid;
        if (settled.ticket != 0) {
            _takeFromDue(id, settled.ticket);
            settled.ticket = 0;
        }
        (int256 incentive, int256 penalty) = _amounts(id, settled);
        uint256 minted = _credit(agreement, incentive - penalty);
        emit Paid(id, eventKey);
        if (minted != 0) token.mint(address(this), minted);
    }

    /// @notice Move what lies here for the node to it; by the node.
    /// @param id The agreement.
    function withdraw(bytes32 id) external nonReentrant {
        Agreement storage agreement = _known(id);
        address node = agreement.terms.node;
        _onlyBy(node);
        uint256 amount = agreement.withdrawable;
        if (amount == 0) revert NothingToWithdraw(id);
        agreement.withdrawable = 0;
        emit Withdrawn(id);
        IERC20(address(token)).safeTransfer(node, amount);
    }

    /// @param id The agreement.
    /// @param eventKey The event.
    /// @return settled What was booked.
    /// @return incentive What the node earns by it, in minor units.
    /// @return penalty What it owes by it.
    /// @return finalAt From when on it can be paid; 0 if it is paid. Disputed: if nobody decides.
    /// @return dueAt Until when it must be paid; 0 if nothing is to be paid, or it is paid.
    function settlementOf(bytes32 id, bytes32 eventKey)
        external
        view
        returns (Settled memory settled, int256 incentive, int256 penalty, uint256 finalAt, uint256 dueAt)
    {
        Terms storage terms = _known(id).terms;
        Settled storage kept = _booked(id, eventKey);
        settled = kept;
        (incentive, penalty) = _amounts(id, kept);
        if (settled.status == Status.Resolved) finalAt = settled.changedAt;
        else if (settled.status != Status.Paid) finalAt = uint256(settled.changedAt) + terms.disputeWindowS;
        if (settled.ticket != 0) dueAt = uint256(settled.changedAt) + terms.paymentTermS;
    }

    /// @param id The agreement.
    /// @param outcome Which rule decides.
    /// @param requestedWh Energy asked for.
    /// @param deliveredWh Energy delivered.
    /// @return incentive What that earns, not negative.
    /// @return penalty What that owes, not negative.
    function amountsOf(bytes32 id, Outcome outcome, uint48 requestedWh, int48 deliveredWh)
        public
        view
        returns (int256 incentive, int256 penalty)
    {
        Terms storage terms = _known(id).terms;
        if (outcome > Outcome.LateOptOut) return (0, 0);
        return Settlement.amounts(
            terms.priceMicro, terms.penaltyMicro, terms.thresholdPpm, requestedWh, deliveredWh
        );
    }

    /// @dev Write what a settlement says now; if it is to be paid one day, from now on in a payment term.
    function _settle(bytes32 id, Settled storage settled, Status status, Outcome outcome, int48 deliveredWh)
        private
    {
        bool measured = outcome == Outcome.Measured || outcome == Outcome.Test;
        if (!measured && deliveredWh != 0) revert NothingMeasured(outcome, deliveredWh);
        settled.status = status;
        settled.outcome = outcome;
        settled.deliveredWh = deliveredWh;
        settled.changedAt = _now();
        (int256 incentive, int256 penalty) = _amounts(id, settled);
        if (incentive > penalty) {
            uint256 dueAt = block.timestamp + _agreements[id].terms.paymentTermS;
            settled.ticket = _due[id].append(dueAt.toUint48());
        }
    }

    /// @dev Inside the window nothing is due yet, so no arrears can end by this.
    function _unqueue(bytes32 id, Settled storage settled) private {
        if (settled.ticket != 0) {
            _due[id].remove(settled.ticket);
            settled.ticket = 0;
        }
    }

    /// @dev Book an amount for the node and say how much of it is to be minted.
    function _credit(Agreement storage agreement, int256 amount) private returns (uint256) {
        if (amount <= 0) {
            agreement.debt += (-amount).toUint256().toUint128();
            return 0;
        }
        uint128 earned = amount.toUint256().toUint128();
        uint128 offset = earned < agreement.debt ? earned : agreement.debt;
        agreement.debt -= offset;
        agreement.withdrawable += earned - offset;
        return earned - offset;
    }

    /// @dev What a settlement says now in money.
    function _amounts(bytes32 id, Settled storage settled)
        private
        view
        returns (int256 incentive, int256 penalty)
    {
        (incentive, penalty) = amountsOf(id, settled.outcome, settled.requestedWh, settled.deliveredWh);
        if (settled.penaltyWaived) penalty = 0;
    }

    function _booked(bytes32 id, bytes32 eventKey) private view returns (Settled storage settled) {
        settled = _settlements[id][eventKey];
        if (settled.status == Status.None) revert NotBooked(id, eventKey);
    }

    function _requireStatus(Settled storage settled, Status required) private view {
        if (settled.status != required) revert StatusForbids(settled.status, required);
    }

    function _requireOpenWindow(Terms storage terms, uint256 since) private view {
        uint256 closedAt = since + terms.disputeWindowS;
        if (block.timestamp >= closedAt) revert WindowClosed(closedAt, block.timestamp);
    }
}
