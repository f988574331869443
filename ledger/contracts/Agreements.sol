// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {DueQueue} from "./DueQueue.sol";
import {IDRAgreement} from "./IDRAgreement.sol";
import {IParticipantRegistry} from "./IParticipantRegistry.sol";

/// @title Agreements: who has agreed on what, where it stands, and which calls it allows
/// @notice The aggregator proposes, the node accepts. An agreement is suspended by hand (aggregator or arbiter),
/// while the registry suspends a party, and by time alone while a due payment is missing.
/// @dev A clause is judged by what stood when the node was notified, never by when a transaction arrived: past
/// suspensions are kept with their times, and looked up in the logarithm of their number. The notification's time
/// is the aggregator's word; `_wasInterrupted` says where that word alone must not cost the node anything.
abstract contract Agreements is IDRAgreement {
    using Checkpoints for Checkpoints.Trace208;
    using DueQueue for DueQueue.Queue;
    using SafeCast for uint256;

    uint256 private constant WHOLE_PPM = 1e6;
    int256 private constant UTC_OFFSET_LIMIT_S = 14 hours;
    /// @dev Energy asked for is rounded to whole Wh: half a Wh, in watt seconds.
    uint256 private constant HALF_WH = 1800;
    /// @dev A trace keeps when a spell began above these bits, and in them what it is: 0 once it is over.
    uint256 private constant KIND_BITS = 8;
    uint8 private constant UNPAID = 1;

    /// @notice Who may act.
    IParticipantRegistry public immutable registry;

    mapping(bytes32 id => Agreement) internal _agreements;
    /// @dev Calls booked for a local day.
    mapping(bytes32 id => mapping(int256 day => uint256)) internal _calls;
    /// @dev What is to be paid and when.
    mapping(bytes32 id => DueQueue.Queue) internal _due;
    /// @dev Spells of suspension by hand; the kind is who suspended it.
    mapping(bytes32 id => Checkpoints.Trace208) private _suspensions;
    /// @dev Spells in which a payment was missing; written by the payment that was missing.
    mapping(bytes32 id => Checkpoints.Trace208) private _arrears;

    /// @param registry_ Who may act.
    constructor(IParticipantRegistry registry_) {
        if (address(registry_) == address(0)) revert ZeroAddress();
        registry = registry_;
    }

    /// @notice Offer an agreement; by its aggregator.
    /// @param id Salted hash, made off chain.
    /// @param terms What is offered.
    function propose(bytes32 id, Terms calldata terms) external {
        _onlyBy(terms.aggregator);
        bytes32 given = keccak256(abi.encode(terms));
        if (_agreements[id].terms.aggregator != address(0)) {
            bytes32 proposed = termsHashOf(id);
            if (proposed == given) revert AlreadyProposed(id);
            revert ProposedDifferently(proposed, given);
        }
        _checkTerms(terms);
        _agreements[id].terms = terms;
        emit Proposed(id, given);
    }

    /// @notice Take an offer; by its node.
    /// @param id The agreement.
    /// @param termsHash keccak256(abi.encode(terms)) of what the node has read.
    function accept(bytes32 id, bytes32 termsHash) external {
        Agreement storage agreement = _known(id);
        _onlyBy(agreement.terms.node);
        State state = stateOf(id);
        if (state != State.Proposed) revert StateForbids(state, State.Proposed);
        bytes32 proposed = termsHashOf(id);
        if (proposed != termsHash) revert ProposedDifferently(proposed, termsHash);
        _requireParties(agreement.terms);
        agreement.acceptedAt = _now();
        emit Accepted(id);
    }

    /// @notice End an agreement after its notice period, so that calls already notified stand; an offer ends
    /// at once. By either party. What was earned until then is still booked and paid.
    /// @param id The agreement.
    function close(bytes32 id) external {
        Agreement storage agreement = _known(id);
        _onlyByParty(agreement.terms);
        State state = stateOf(id);
        if (state >= State.Expired) revert StateForbids(state, State.Active);
        if (agreement.closesAt != 0) revert AlreadyClosing(agreement.closesAt);
        uint256 closesAt = block.timestamp + (state == State.Proposed ? 0 : agreement.terms.noticeS);
        uint256 expiresAt = agreement.terms.expiresAt;
        agreement.closesAt = (closesAt < expiresAt ? closesAt : expiresAt).toUint48();
        emit Closed(id);
    }

    /// @notice Stop calls from now on; by the arbiter or the aggregator. The arbiter's suspension replaces the
    /// aggregator's.
    /// @param id The agreement.
    /// @param reason A code that the parties understand.
    function suspend(bytes32 id, uint16 reason) external {
        Suspender caller = _suspender(id);
        Suspender suspender = _suspendedBy(id);
        if (suspender >= caller) revert AlreadySuspended(suspender, caller);
        _suspensions[id].push(_now(), _spell(block.timestamp, uint8(caller)));
        emit Suspended(id, reason);
    }

    /// @notice Allow calls again; by who suspended them, or the arbiter.
    /// @param id The agreement.
    function lift(bytes32 id) external {
        Suspender caller = _suspender(id);
        Suspender suspender = _suspendedBy(id);
        if (suspender == Suspender.Nobody) revert NotSuspended(id);
        if (suspender > caller) revert CallerMayNot(msg.sender, _agreements[id].terms.arbiter);
        uint208 spell = _suspensions[id].latest();
        // What was suspended for no second leaves nothing.
        if (_beganAt(spell) == block.timestamp) spell = _suspensions[id].upperLookup(_now() - 1);
        _suspensions[id].push(_now(), _spell(_beganAt(spell), uint8(Suspender.Nobody)));
        emit Lifted(id);
    }

    /// @param id The agreement.
    /// @return Where it stands now, and why.
    function standingOf(bytes32 id) external view returns (Standing memory) {
        bool partiesActive = _partiesActive(_known(id).terms);
        return Standing(stateOf(id), _suspendedBy(id), partiesActive, _due[id].earliest());
    }

    /// @param id The agreement.
    /// @return The agreement with its balance and debt.
    function agreementOf(bytes32 id) external view returns (Agreement memory) {
        return _known(id);
    }

    /// @param id The agreement.
    /// @param day A local day, as `dayOf` says.
    /// @return The calls that were booked for it.
    function callsOn(bytes32 id, int256 day) external view returns (uint256) {
        return _calls[id][day];
    }

    /// @notice Nothing if the agreement allows a call; else the error of the first clause against it. What stands
    /// now decides about a notification that is still to come.
    /// @param id The agreement.
    /// @param startsAt When the call starts.
    /// @param durationS How long it is.
    /// @param notifiedAt When the node is notified.
    /// @param requestedWh Energy asked for.
    function checkCall(bytes32 id, uint48 startsAt, uint32 durationS, uint48 notifiedAt, uint48 requestedWh)
        external
        view
    {
        _checkClauses(id, startsAt, durationS, notifiedAt, requestedWh);
        _requireParties(_agreements[id].terms);
    }

    /// @param id The agreement.
    /// @return Where it stands now; None if it is not known.
    function stateOf(bytes32 id) public view returns (State) {
        Agreement storage agreement = _agreements[id];
        Terms storage terms = agreement.terms;
        if (terms.aggregator == address(0)) return State.None;
        if (agreement.closesAt != 0 && block.timestamp >= agreement.closesAt) return State.Closed;
        if (block.timestamp >= terms.expiresAt) return State.Expired;
        if (agreement.acceptedAt == 0) return State.Proposed;
        bool allowed = _suspendedBy(id) == Suspender.Nobody && _arrearsSince(id, block.timestamp) == 0;
        return allowed && _partiesActive(terms) ? State.Active : State.Suspended;
    }

    /// @param id The agreement.
    /// @return What `accept` wants.
    function termsHashOf(bytes32 id) public view returns (bytes32) {
        return keccak256(abi.encode(_known(id).terms));
    }

    /// @param id The agreement.
    /// @param at An instant.
    /// @return The local day on which a call that starts then counts, in days since 1970.
    function dayOf(bytes32 id, uint48 at) public view returns (int256) {
        int256 local = int256(uint256(at)) + _known(id).terms.utcOffsetS;
        // Division rounds towards zero; one day more keeps it from there.
        return (local + 1 days) / 1 days - 1;
    }

    /// @dev Take an entry out of what is due; if that ends the arrears, keep how long they lasted. Arrears that
    /// lasted no second leave nothing.
    function _takeFromDue(bytes32 id, uint24 ticket) internal {
        uint256 since = _arrearsSince(id, block.timestamp);
        _due[id].remove(ticket);
        if (since == 0) return;
        bool kept = uint8(_arrears[id].latest()) == UNPAID;
        if (!kept && since < block.timestamp) {
            _arrears[id].push(uint48(since), _spell(since, UNPAID));
            kept = true;
        }
        uint256 next = _due[id].earliest();
        if (next == 0 || next > block.timestamp) {
            if (kept) _arrears[id].push(_now(), _spell(since, 0));
            emit ArrearsCleared(id);
        }
    }

    /// @dev All clauses but that of the parties, of whom the registry keeps no past.
    function _checkClauses(bytes32 id, uint48 startsAt, uint32 durationS, uint48 notifiedAt, uint48 requestedWh)
        internal
        view
    {
        Agreement storage agreement = _known(id);
        Terms storage terms = agreement.terms;
        _checkTime(id, agreement, startsAt, durationS);
        _checkStanding(id, notifiedAt < startsAt ? notifiedAt : startsAt);
        uint256 capacityWs = uint256(terms.capacityW) * durationS;
        bool fits = uint256(requestedWh) * 1 hours <= capacityWs + HALF_WH;
        if (!fits) revert CapacityExceeded(requestedWh, capacityWs / 1 hours);
        uint256 noticeS = startsAt > notifiedAt ? startsAt - notifiedAt : 0;
        if (noticeS < terms.noticeS) revert NoticeTooShort(noticeS, terms.noticeS);
        uint256 calls = _calls[id][dayOf(id, startsAt)];
        if (calls >= terms.maxCallsPerDay) revert CallsExceeded(calls + 1, terms.maxCallsPerDay);
    }

    /// @dev Whether a suspension by hand, or arrears, began between a notification and the start, both included.
    /// Who gives an earlier notification than the true one to get round a suspension always ends up here.
    function _wasInterrupted(bytes32 id, uint48 notifiedAt, uint48 startsAt) internal view returns (bool) {
        uint256 suspendedAt = _beganAt(_suspensions[id].upperLookup(startsAt));
        if (suspendedAt != 0 && suspendedAt >= notifiedAt) return true;
        uint256 missingAt = _beganAt(_arrears[id].upperLookup(startsAt));
        if (missingAt != 0 && missingAt >= notifiedAt) return true;
        uint256 dueAt = _due[id].earliest();
        return dueAt != 0 && dueAt >= notifiedAt && dueAt <= startsAt;
    }

    function _known(bytes32 id) internal view returns (Agreement storage agreement) {
        agreement = _agreements[id];
        if (agreement.terms.aggregator == address(0)) revert UnknownAgreement(id);
    }

    function _onlyBy(address required) internal view {
        if (msg.sender != required) revert CallerMayNot(msg.sender, required);
    }

    function _onlyByParty(Terms storage terms) internal view {
        if (msg.sender != terms.aggregator) _onlyBy(terms.node);
    }

    function _requireActive(address account, IParticipantRegistry.Role role) internal view {
        if (!registry.isActive(account, role)) revert PartyNotActive(account, role);
    }

    function _now() internal view returns (uint48) {
        return block.timestamp.toUint48();
    }

    function _checkTerms(Terms calldata terms) private view {
        if (terms.node == terms.aggregator) revert PartiesNotDistinct(terms.node);
        bool apart = terms.arbiter != terms.aggregator && terms.arbiter != terms.node;
        if (!apart) revert PartiesNotDistinct(terms.arbiter);
        _requireActive(terms.aggregator, IParticipantRegistry.Role.Aggregator);
        _requireActive(terms.node, IParticipantRegistry.Role.VirtualNode);
        _requireActive(terms.arbiter, IParticipantRegistry.Role.Dso);
        if (terms.expiresAt <= terms.startsAt) revert ExpiryNotAfterStart(terms.expiresAt, terms.startsAt);
        if (terms.expiresAt <= block.timestamp) revert ExpiryPassed(terms.expiresAt, block.timestamp);
        if (terms.thresholdPpm > WHOLE_PPM) revert ThresholdAboveOne(terms.thresholdPpm, WHOLE_PPM);
        // A settlement can be paid in time only between the end of its window and the end of its term.
        bool payable_ = terms.paymentTermS > terms.disputeWindowS;
        if (!payable_) revert TermNotAfterWindow(terms.paymentTermS, terms.disputeWindowS);
        int256 offset = terms.utcOffsetS;
        bool onEarth = offset <= UTC_OFFSET_LIMIT_S && offset >= -UTC_OFFSET_LIMIT_S;
        if (!onEarth) revert UtcOffsetTooLarge(offset, UTC_OFFSET_LIMIT_S);
    }

    function _checkTime(bytes32 id, Agreement storage agreement, uint256 startsAt, uint256 durationS)
        private
        view
    {
        uint256 from = agreement.acceptedAt;
        if (from == 0) revert StateForbids(stateOf(id), State.Active);
        if (from < agreement.terms.startsAt) from = agreement.terms.startsAt;
        if (durationS == 0) revert PeriodEmpty(startsAt);
        if (startsAt < from) revert BeforeStart(startsAt, from);
        uint256 endsAt = startsAt + durationS;
        if (endsAt > agreement.terms.expiresAt) revert AfterExpiry(endsAt, agreement.terms.expiresAt);
        bool open = agreement.closesAt == 0 || startsAt < agreement.closesAt;
        if (!open) revert AfterClose(startsAt, agreement.closesAt);
    }

    /// @dev Nothing if calls were allowed in some part of a second: whether a notification came before or after
    /// what happened in the same second nobody can tell, and the node must not lose by it.
    function _checkStanding(bytes32 id, uint48 at) private view {
        Suspender suspender = _suspendedBy(id, at);
        bool suspended = suspender != Suspender.Nobody && _suspendedBy(id, at - 1) != Suspender.Nobody;
        if (suspended) revert InSuspension(at, suspender);
        uint256 since = _arrearsSince(id, at);
        if (since != 0 && since != at) revert InArrears(at, since);
    }

    function _requireParties(Terms storage terms) private view {
        _requireActive(terms.aggregator, IParticipantRegistry.Role.Aggregator);
        _requireActive(terms.node, IParticipantRegistry.Role.VirtualNode);
    }

    function _partiesActive(Terms storage terms) private view returns (bool) {
        return registry.isActive(terms.aggregator, IParticipantRegistry.Role.Aggregator)
            && registry.isActive(terms.node, IParticipantRegistry.Role.VirtualNode);
    }

    /// @dev As whom the caller suspends and lifts an agreement that runs.
    function _suspender(bytes32 id) private view returns (Suspender caller) {
        Terms storage terms = _known(id).terms;
        caller = Suspender.Aggregator;
        if (msg.sender != terms.aggregator) {
            _onlyBy(terms.arbiter);
            _requireActive(terms.arbiter, IParticipantRegistry.Role.Dso);
            caller = Suspender.Arbiter;
        }
        State state = stateOf(id);
        if (state != State.Active && state != State.Suspended) revert StateForbids(state, State.Active);
    }

    function _suspendedBy(bytes32 id) private view returns (Suspender) {
        return Suspender(uint8(_suspensions[id].latest()));
    }

    function _suspendedBy(bytes32 id, uint48 at) private view returns (Suspender) {
        return Suspender(uint8(_suspensions[id].upperLookup(at)));
    }

    /// @dev Since when a payment was missing at an instant, 0 if none was; an instant to come is as now.
    function _arrearsSince(bytes32 id, uint256 at) private view returns (uint256 since) {
        if (at > block.timestamp) at = block.timestamp;
        uint208 spell = _arrears[id].upperLookup(uint48(at));
        if (uint8(spell) == UNPAID) return _beganAt(spell);
        uint256 dueAt = _due[id].earliest();
        if (dueAt != 0 && dueAt <= at) since = dueAt;
    }

    /// @dev As a trace keeps it.
    function _spell(uint256 beganAt, uint8 kind) private pure returns (uint208) {
        return uint208(beganAt << KIND_BITS) | kind;
    }

    function _beganAt(uint208 spell) private pure returns (uint256) {
        return spell >> KIND_BITS;
    }
}
