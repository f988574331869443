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
/// @dev A clause is judged by what stood at the start of the call, never by when a transaction arrived: past
/// suspensions are kept with their times, and looked up in the logarithm of their number.
abstract contract Agreements is IDRAgreement {
    using Checkpoints for Checkpoints.Trace208;
    using DueQueue for DueQueue.Queue;
    using SafeCast for uint256;

    uint256 private constant WHOLE_PPM = 1e6;
    int256 private constant UTC_OFFSET_LIMIT_S = 14 hours;
    /// @dev Energy asked for is rounded to whole Wh: half a Wh, in watt seconds.
    uint256 private constant HALF_WH = 1800;

    /// @notice Who may act.
    IParticipantRegistry public immutable registry;

    mapping(bytes32 id => Agreement) internal _agreements;
    /// @dev Calls booked for a local day.
    mapping(bytes32 id => mapping(int256 day => uint256)) internal _calls;
    /// @dev What is to be paid and when.
    mapping(bytes32 id => DueQueue.Queue) internal _due;
    /// @dev Who had suspended it by hand from when on.
    mapping(bytes32 id => Checkpoints.Trace208) private _suspensions;
    /// @dev Since when a payment was missing, 0 from when none was; written by the payment that was missing.
    mapping(bytes32 id => Checkpoints.Trace208) private _arrears;

    /// @param registry_ Who may act.
    constructor(IParticipantRegistry registry_) {
        require(address(registry_) != address(0), ZeroAddress());
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
            require(proposed != given, AlreadyProposed(id));
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
        require(state == State.Proposed, StateForbids(state, State.Proposed));
        bytes32 proposed = termsHashOf(id);
        require(proposed == termsHash, ProposedDifferently(proposed, termsHash));
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
        require(state < State.Expired, StateForbids(state, State.Active));
        require(agreement.closesAt == 0, AlreadyClosing(agreement.closesAt));
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
        require(suspender < caller, AlreadySuspended(suspender, caller));
        _suspensions[id].push(_now(), uint208(caller));
        emit Suspended(id, reason);
    }

    /// @notice Allow calls again; by who suspended them, or the arbiter.
    /// @param id The agreement.
    function lift(bytes32 id) external {
        Suspender caller = _suspender(id);
        Suspender suspender = _suspendedBy(id);
        require(suspender != Suspender.Nobody, NotSuspended(id));
        require(suspender <= caller, CallerMayNot(msg.sender, _agreements[id].terms.arbiter));
        _suspensions[id].push(_now(), uint208(Suspender.Nobody));
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

    /// @notice Nothing if the agreement allows a call; else the error of the first clause against it. A call in
    /// the future is judged by what stands now.
    /// @param id The agreement.
    /// @param startsAt When the call starts.
    /// @param durationS How long it is.
    /// @param notifiedAt When the node is notified.
    /// @param requestedWh Energy asked for.
    function checkCall(bytes32 id, uint48 startsAt, uint32 durationS, uint48 notifiedAt, uint48 requestedWh)
        public
        view
    {
        Agreement storage agreement = _known(id);
        Terms storage terms = agreement.terms;
        _checkTime(id, agreement, startsAt, durationS);
        _requireParties(terms);
        Suspender suspender = Suspender(_suspensions[id].upperLookup(startsAt));
        require(suspender == Suspender.Nobody, InSuspension(startsAt, suspender));
        uint256 since = _arrearsSince(id, startsAt);
        require(since == 0, InArrears(startsAt, since));
        uint256 capacityWs = uint256(terms.capacityW) * durationS;
        bool fits = uint256(requestedWh) * 1 hours <= capacityWs + HALF_WH;
        require(fits, CapacityExceeded(requestedWh, capacityWs / 1 hours));
        uint256 noticeS = startsAt > notifiedAt ? startsAt - notifiedAt : 0;
        require(noticeS >= terms.noticeS, NoticeTooShort(noticeS, terms.noticeS));
        uint256 calls = _calls[id][dayOf(id, startsAt)];
        require(calls < terms.maxCallsPerDay, CallsExceeded(calls + 1, terms.maxCallsPerDay));
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

    /// @dev Take an entry out of what is due; if that ends the arrears, keep how long they lasted.
    function _takeFromDue(bytes32 id, uint32 ticket) internal {
        uint256 since = _arrearsSince(id, block.timestamp);
        _due[id].remove(ticket);
        if (since == 0) return;
        if (_arrears[id].latest() == 0) {
            _arrears[id].push(uint48(since), uint208(since));
        }
        uint256 next = _due[id].earliest();
        if (next == 0 || next > block.timestamp) {
            _arrears[id].push(_now(), 0);
            emit ArrearsCleared(id);
        }
    }

    function _known(bytes32 id) internal view returns (Agreement storage agreement) {
        agreement = _agreements[id];
        require(agreement.terms.aggregator != address(0), UnknownAgreement(id));
    }

    function _onlyBy(address required) internal view {
        require(msg.sender == required, CallerMayNot(msg.sender, required));
    }

    function _onlyByParty(Terms storage terms) internal view {
        if (msg.sender != terms.aggregator) _onlyBy(terms.node);
    }

    function _requireActive(address account, IParticipantRegistry.Role role) internal view {
        require(registry.isActive(account, role), PartyNotActive(account, role));
    }

    function _now() internal view returns (uint48) {
        return block.timestamp.toUint48();
    }

    function _checkTerms(Terms calldata terms) private view {
        require(terms.node != terms.aggregator, PartiesNotDistinct(terms.node));
        bool apart = terms.arbiter != terms.aggregator && terms.arbiter != terms.node;
        require(apart, PartiesNotDistinct(terms.arbiter));
        _requireActive(terms.aggregator, IParticipantRegistry.Role.Aggregator);
        _requireActive(terms.node, IParticipantRegistry.Role.VirtualNode);
        _requireActive(terms.arbiter, IParticipantRegistry.Role.Dso);
        require(terms.expiresAt > terms.startsAt, ExpiryNotAfterStart(terms.expiresAt, terms.startsAt));
        require(terms.expiresAt > block.timestamp, ExpiryPassed(terms.expiresAt, block.timestamp));
        require(terms.thresholdPpm <= WHOLE_PPM, ThresholdAboveOne(terms.thresholdPpm, WHOLE_PPM));
        // A settlement can be paid in time only between the end of its window and the end of its term.
        bool payable_ = terms.paymentTermS > terms.disputeWindowS;
        require(payable_, TermNotAfterWindow(terms.paymentTermS, terms.disputeWindowS));
        int256 offset = terms.utcOffsetS;
        bool onEarth = offset <= UTC_OFFSET_LIMIT_S && offset >= -UTC_OFFSET_LIMIT_S;
        require(onEarth, UtcOffsetTooLarge(offset, UTC_OFFSET_LIMIT_S));
    }

    function _checkTime(bytes32 id, Agreement storage agreement, uint256 startsAt, uint256 durationS)
        private
        view
    {
        uint256 from = agreement.acceptedAt;
        require(from != 0, StateForbids(stateOf(id), State.Active));
        if (from < agreement.terms.startsAt) from = agreement.terms.startsAt;
        require(durationS != 0, PeriodEmpty(startsAt));
        require(startsAt >= from, BeforeStart(startsAt, from));
        uint256 endsAt = startsAt + durationS;
        require(endsAt <= agreement.terms.expiresAt, AfterExpiry(endsAt, agreement.terms.expiresAt));
        bool open = agreement.closesAt == 0 || startsAt < agreement.closesAt;
        require(open, AfterClose(startsAt, agreement.closesAt));
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
        require(state == State.Active || state == State.Suspended, StateForbids(state, State.Active));
    }

    function _suspendedBy(bytes32 id) private view returns (Suspender) {
        return Suspender(_suspensions[id].latest());
    }

    /// @dev Since when a payment was missing at an instant, 0 if none was; an instant to come is as now.
    function _arrearsSince(bytes32 id, uint256 at) private view returns (uint256 since) {
        if (at > block.timestamp) at = block.timestamp;
        since = _arrears[id].upperLookup(uint48(at));
        if (since == 0) {
            uint256 dueAt = _due[id].earliest();
            if (dueAt != 0 && dueAt <= at) since = dueAt;
        }
    }
}
