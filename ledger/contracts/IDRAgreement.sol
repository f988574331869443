// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IParticipantRegistry} from "./IParticipantRegistry.sol";

/// @title IDRAgreement: the words of the agreements, their facts and their refusals
/// @notice Times are seconds since 1970, periods are half-open, energy is Wh, power W, money whole minor
/// units. Ids, event keys and hashes are salted off chain; no event here carries anything else. An error
/// names the clause and carries both values: what was given and what is agreed.
interface IDRAgreement {
    /// @notice Where an agreement stands; by time alone it passes into Suspended (a due payment is missing)
    /// and Expired.
    enum State {
        None,
        Proposed,
        Active,
        Suspended,
        Expired,
        Closed
    }

    /// @notice Which rule decided a statement. Measured and LateOptOut earn and owe, the others do neither.
    enum Outcome {
        Measured,
        LateOptOut,
        Test,
        NotDelivered,
        OptedOut,
        Unmeasured
    }

    /// @notice Where a settlement stands. Open ones can be revised and disputed inside the window, disputed ones
    /// can be resolved inside the window that the dispute has opened; a resolved one is final.
    enum Status {
        None,
        Open,
        Disputed,
        Resolved,
        Paid
    }

    /// @notice Who has suspended an agreement by hand.
    enum Suspender {
        Nobody,
        Aggregator,
        Arbiter
    }

    /// @notice What two parties agree on; it never changes.
    /// @param aggregator Who calls and pays.
    /// @param startsAt From when on calls may start.
    /// @param expiresAt Until when calls must be over.
    /// @param node Who reduces its load.
    /// @param capacityW The most that a call may ask.
    /// @param noticeS From the notification to the start of a call at least; also from `close` to the end.
    /// @param thresholdPpm Share of the request below which the penalty starts, in millionths.
    /// @param arbiter Who decides disputes; a DSO.
    /// @param paymentTermS From a settlement's last change until it is due.
    /// @param disputeWindowS From a settlement's last change until it can no longer be disputed.
    /// @param utcOffsetS What is added to UTC for the day on which a call counts.
    /// @param priceMicro Incentive for a kWh delivered, in millionths of a minor unit.
    /// @param penaltyMicro Penalty for a kWh missing to the threshold, in millionths of a minor unit.
    /// @param maxCallsPerDay Calls that may start on one local day.
    struct Terms {
        address aggregator;
        uint48 startsAt;
        uint48 expiresAt;
        address node;
        uint32 capacityW;
        uint32 noticeS;
        uint32 thresholdPpm;
        address arbiter;
        uint32 paymentTermS;
        uint32 disputeWindowS;
        int32 utcOffsetS;
        uint64 priceMicro;
        uint64 penaltyMicro;
        uint16 maxCallsPerDay;
    }

    /// @notice An agreement.
    /// @param terms What was agreed.
    /// @param acceptedAt When the node accepted, 0 if it has not.
    /// @param closesAt When it ends before its expiry, 0 if nobody closed it.
    /// @param debt What the node owes, offset against its next incentives.
    /// @param withdrawable What lies here for the node.
    struct Agreement {
        Terms terms;
        uint48 acceptedAt;
        uint48 closesAt;
        uint128 debt;
        uint128 withdrawable;
    }

    /// @notice What is booked of one event; it must be over.
    /// @param signalHash Of the signal that was sent.
    /// @param responseHash Of the node's answer; 0 if there was none.
    /// @param measurementHash Of the statement with its measurement.
    /// @param notifiedAt When the node was notified.
    /// @param startsAt When the event started.
    /// @param durationS How long it was.
    /// @param requestedWh Energy asked for.
    /// @param deliveredWh Energy delivered; negative if the node used more than its baseline.
    /// @param outcome Which rule decided the statement.
    struct Booking {
        bytes32 signalHash;
        bytes32 responseHash;
        bytes32 measurementHash;
        uint48 notifiedAt;
        uint48 startsAt;
        uint32 durationS;
        uint48 requestedWh;
        int48 deliveredWh;
        Outcome outcome;
    }

    /// @notice One event's money, as it was last booked, revised, disputed or resolved.
    /// @param bookingHash keccak256(abi.encode(booking)) of the first booking.
    /// @param changeHash Of the last revision, 0 before the first.
    /// @param bookedAt When it was booked.
    /// @param changedAt When it was last booked, revised, disputed or resolved; window and term count from here.
    /// @param requestedWh Energy asked for.
    /// @param deliveredWh Energy delivered.
    /// @param ticket Its place among what is to be paid, 0 if it is not due one day.
    /// @param revision 1 for the booking.
    /// @param outcome Which rule decided it.
    /// @param status Where it stands.
    /// @param penaltyWaived Whether it owes nothing, because the agreement was suspended or in arrears between the
    /// notification and the start, and nobody has shown the notification to the arbiter.
    struct Settled {
        bytes32 bookingHash;
        bytes32 changeHash;
        uint48 bookedAt;
        uint48 changedAt;
        uint48 requestedWh;
        int48 deliveredWh;
        uint24 ticket;
        uint16 revision;
        Outcome outcome;
        Status status;
        bool penaltyWaived;
    }

    /// @notice Why an agreement stands where it stands.
    /// @param state Where it stands now.
    /// @param suspender Who has suspended it by hand.
    /// @param partiesActive Whether the registry lets both parties act.
    /// @param earliestDueAt When the next payment is due, 0 if none is open; in the past: it is suspended.
    struct Standing {
        State state;
        Suspender suspender;
        bool partiesActive;
        uint48 earliestDueAt;
    }

    /// @notice An aggregator has offered an agreement.
    /// @param id The agreement.
    /// @param termsHash keccak256(abi.encode(terms)).
    event Proposed(bytes32 indexed id, bytes32 termsHash);

    /// @notice The node has taken the offer.
    /// @param id The agreement.
    event Accepted(bytes32 indexed id);

    /// @notice A party has ended it: an offer at once, an agreement when its notice period is over.
    /// @param id The agreement.
    event Closed(bytes32 indexed id);

    /// @notice It was suspended by hand.
    /// @param id The agreement.
    /// @param reason A code that the parties understand.
    event Suspended(bytes32 indexed id, uint16 reason);

    /// @notice A suspension by hand has ended.
    /// @param id The agreement.
    event Lifted(bytes32 indexed id);

    /// @notice All that was due is paid, and the suspension that time had brought has ended.
    /// @param id The agreement.
    event ArrearsCleared(bytes32 indexed id);

    /// @notice An event was booked.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param signalHash Of the signal that was sent.
    /// @param responseHash Of the node's answer; 0 if there was none.
    /// @param measurementHash Of the statement with its measurement.
    event Booked(
        bytes32 indexed id,
        bytes32 indexed eventKey,
        bytes32 signalHash,
        bytes32 responseHash,
        bytes32 measurementHash
    );

    /// @notice Late data have changed a settlement.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param measurementHash Of the statement with its measurement.
    event Revised(bytes32 indexed id, bytes32 indexed eventKey, bytes32 measurementHash);

    /// @notice A party contests a settlement; the arbiter has the dispute window to decide.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param reasonHash Of what the party says.
    event Disputed(bytes32 indexed id, bytes32 indexed eventKey, bytes32 reasonHash);

    /// @notice The arbiter has decided.
    /// @param id The agreement.
    /// @param eventKey The event.
    /// @param findingHash Of what the arbiter says.
    event Resolved(bytes32 indexed id, bytes32 indexed eventKey, bytes32 findingHash);

    /// @notice A settlement was paid, or what it owes became debt.
    /// @param id The agreement.
    /// @param eventKey The event.
    event Paid(bytes32 indexed id, bytes32 indexed eventKey);

    /// @notice The node has taken what lay here for it.
    /// @param id The agreement.
    event Withdrawn(bytes32 indexed id);

    /// @notice Registry and token are needed.
    error ZeroAddress();

    /// @notice This call is another account's.
    error CallerMayNot(address caller, address required);

    /// @notice The registry does not let the account act in this role.
    error PartyNotActive(address account, IParticipantRegistry.Role role);

    /// @notice Aggregator, node and arbiter are three accounts.
    error PartiesNotDistinct(address account);

    /// @notice An agreement expires after its start.
    error ExpiryNotAfterStart(uint256 expiresAt, uint256 startsAt);

    /// @notice The expiry must lie ahead.
    error ExpiryPassed(uint256 expiresAt, uint256 timestamp);

    /// @notice The threshold is at most the whole request.
    error ThresholdAboveOne(uint256 thresholdPpm, uint256 limitPpm);

    /// @notice A settlement must be payable, after its window and before its term ends.
    error TermNotAfterWindow(uint256 paymentTermS, uint256 disputeWindowS);

    /// @notice No place on earth is that far from UTC.
    error UtcOffsetTooLarge(int256 utcOffsetS, int256 limitS);

    /// @notice There is no such agreement.
    error UnknownAgreement(bytes32 id);

    /// @notice This very offer was made before.
    error AlreadyProposed(bytes32 id);

    /// @notice Other terms stand under this id.
    error ProposedDifferently(bytes32 proposedHash, bytes32 givenHash);

    /// @notice Not where the agreement stands now.
    error StateForbids(State state, State required);

    /// @notice It was closed before.
    error AlreadyClosing(uint256 closesAt);

    /// @notice It was suspended before, by the caller or by one who counts for more.
    error AlreadySuspended(Suspender suspender, Suspender caller);

    /// @notice Nobody has suspended it by hand.
    error NotSuspended(bytes32 id);

    /// @notice Clause capacity: the call asks for more than the capacity over its period.
    error CapacityExceeded(uint256 requestedWh, uint256 capacityWh);

    /// @notice Clause notice: the node was notified too late.
    error NoticeTooShort(uint256 noticeS, uint256 agreedS);

    /// @notice Clause daily calls: with this one there are more calls on its local day than agreed.
    error CallsExceeded(uint256 calls, uint256 agreed);

    /// @notice A call has a duration.
    error PeriodEmpty(uint256 startsAt);

    /// @notice Clause start: the call starts before the agreement does, or before it was accepted.
    error BeforeStart(uint256 startsAt, uint256 agreedFrom);

    /// @notice Clause expiry: the call ends after the agreement.
    error AfterExpiry(uint256 endsAt, uint256 expiresAt);

    /// @notice Clause close: the call starts after the agreement was closed.
    error AfterClose(uint256 startsAt, uint256 closesAt);

    /// @notice Clause suspension: the agreement was suspended by hand when the node was notified.
    error InSuspension(uint256 notifiedAt, Suspender suspender);

    /// @notice Clause payment: a due payment was missing when the node was notified.
    error InArrears(uint256 notifiedAt, uint256 unpaidSince);

    /// @notice An event is booked after its end.
    error EventNotOver(uint256 endsAt, uint256 timestamp);

    /// @notice Only what was measured was delivered.
    error NothingMeasured(Outcome outcome, int256 deliveredWh);

    /// @notice This very booking was made before.
    error AlreadyBooked(bytes32 id, bytes32 eventKey);

    /// @notice The event was booked with other content.
    error BookedDifferently(bytes32 bookedHash, bytes32 givenHash);

    /// @notice The event was not booked.
    error NotBooked(bytes32 id, bytes32 eventKey);

    /// @notice This very revision was made before.
    error AlreadyRevised(uint256 revision);

    /// @notice The revision of this number has other content.
    error RevisedDifferently(bytes32 revisedHash, bytes32 givenHash);

    /// @notice Revisions follow one another.
    error RevisionNotNext(uint256 revision, uint256 expected);

    /// @notice Too late to revise, dispute or resolve.
    error WindowClosed(uint256 closedAt, uint256 timestamp);

    /// @notice Too early to pay: it can still be disputed, or decided by the arbiter.
    error WindowOpen(uint256 closesAt, uint256 timestamp);

    /// @notice Not where the settlement stands now.
    error StatusForbids(Status status, Status required);

    /// @notice It was paid before.
    error AlreadyPaid(bytes32 id, bytes32 eventKey);

    /// @notice Nothing lies here for the node.
    error NothingToWithdraw(bytes32 id);
}
