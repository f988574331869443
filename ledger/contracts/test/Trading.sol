// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IDRAgreement} from "../IDRAgreement.sol";
import {Parties} from "./Parties.sol";

/// @title Trading: what the fuzzer does with two agreements, and a plain model of what must come of it
/// @notice The model searches long lists where the contract has a queue and traces. Every call says beforehand
/// whether it must be taken; a call that is taken and should not be, or the other way round, fails at once.
contract Trading is Parties {
    struct Item {
        bytes32 key;
        uint256 bookedAt;
        uint256 changedAt;
        uint256 dueAt;
        uint256 requestedWh;
        int256 amount;
        uint16 revision;
        IDRAgreement.Status status;
        bool waived;
    }

    struct Span {
        uint256 from;
        uint256 to;
        IDRAgreement.Suspender by;
    }

    struct Model {
        bytes32 id;
        Item[] items;
        Span[] arrears;
        Span[] suspensions;
        IDRAgreement.Suspender suspender;
        uint256 suspendedAt;
        uint256 closesAt;
        uint256 debt;
        uint256 withdrawable;
        mapping(int256 day => uint256) calls;
        int256[] days_;
    }

    uint256 public constant AGREEMENTS = 2;
    uint256 private constant KEYS = 40;

    Model[AGREEMENTS] private models;
    uint256 public minted;
    uint256 public paid;
    uint256 public withdrawn;

    constructor() {
        deploy();
        for (uint256 i = 0; i < AGREEMENTS; ++i) {
            models[i].id = keccak256(abi.encode("agreement", i));
            agree(models[i].id, termsOf(i));
        }
        vm.warp(NOON + 1 days);
    }

    /// @dev The second one has no window and pays at once, and owes much.
    function termsOf(uint256 index) private pure returns (IDRAgreement.Terms memory terms) {
        terms = usualTerms();
        terms.maxCallsPerDay = 3;
        if (index == 1) {
            (terms.disputeWindowS, terms.paymentTermS, terms.utcOffsetS) = (0, 1 days, -5 hours);
            (terms.priceMicro, terms.penaltyMicro) = (17_345_678, 99_999_999);
            terms.maxCallsPerDay = 30;
        }
    }

    // --- what the fuzzer calls

    function wait(uint8 which, uint32 seconds_) external {
        uint256 dueAt = earliestDue(models[which % AGREEMENTS]);
        bool toTheEdge = seconds_ % 2 == 0 && dueAt > block.timestamp;
        vm.warp(toTheEdge ? dueAt : block.timestamp + bound(seconds_, 1, 1 days));
    }

    function book(
        uint8 which,
        uint8 key,
        uint32 back,
        uint32 ahead,
        uint32 durationS,
        uint48 requested,
        int48 delivered
    ) external {
        Model storage model = models[which % AGREEMENTS];
        IDRAgreement.Booking memory booking_;
        booking_.durationS = uint32(bound(durationS, 1, 3 hours));
        uint48 leadS = uint48(ahead % 8 == 0 ? bound(ahead, 0, NOTICE) : NOTICE + bound(ahead, 0, 1 days));
        booking_.notifiedAt = moment(model, back, leadS + booking_.durationS);
        booking_.startsAt = booking_.notifiedAt + leadS;
        booking_.requestedWh = uint48(bound(requested, 0, uint256(booking_.durationS) * 21_000 / 3600));
        booking_.deliveredWh = int48(int256(bound(uint48(delivered), 0, 60_000)) - 20_000);
        bytes32 name = keccak256(abi.encode(key % KEYS));
        bytes memory data = abi.encodeCall(dr.book, (model.id, name, booking_));
        if (!attempt(AGGREGATOR, data, allows(model, name, booking_))) return;
        int256 day = dr.dayOf(model.id, booking_.startsAt);
        if (model.calls[day]++ == 0) model.days_.push(day);
        model.items.push();
        Item storage item = model.items[model.items.length - 1];
        (item.key, item.bookedAt, item.requestedWh, item.revision) =
            (name, block.timestamp, booking_.requestedWh, 1);
        item.waived = interrupts(model, booking_.notifiedAt, booking_.startsAt);
        change(model, item, IDRAgreement.Status.Open, IDRAgreement.Outcome.Measured, booking_.deliveredWh);
    }

    function revise(uint8 which, uint8 pick, uint8 ahead, int48 delivered) external {
        (Model storage model, Item storage item) = picked(which, pick);
        uint16 revision = item.revision + uint16(bound(ahead, 0, 4)) / 2;
        int48 deliveredWh = int48(int256(bound(uint48(delivered), 0, 30_000)) - 10_000);
        bool open = item.status == IDRAgreement.Status.Open && revision == item.revision + 1
            && block.timestamp < item.bookedAt + termsIn(model).disputeWindowS;
        bytes memory data = abi.encodeCall(
            dr.revise, (model.id, item.key, revision, IDRAgreement.Outcome.Measured, deliveredWh, bytes32("m"))
        );
        if (!attempt(AGGREGATOR, data, open)) return;
        item.revision = revision;
        change(model, item, IDRAgreement.Status.Open, IDRAgreement.Outcome.Measured, deliveredWh);
    }

    function dispute(uint8 which, uint8 pick, bool byNode) external {
        (Model storage model, Item storage item) = picked(which, pick);
        bool open = item.status == IDRAgreement.Status.Open
            && block.timestamp < item.changedAt + termsIn(model).disputeWindowS;
        bytes memory data = abi.encodeCall(dr.dispute, (model.id, item.key, bytes32("r")));
        if (!attempt(byNode ? NODE : AGGREGATOR, data, open)) return;
        (item.status, item.changedAt) = (IDRAgreement.Status.Disputed, block.timestamp);
        if (item.dueAt != 0) item.dueAt = block.timestamp + termsIn(model).paymentTermS;
    }

    function resolve(uint8 which, uint8 pick, bool measured, int48 delivered) external {
        (Model storage model, Item storage item) = picked(which, pick);
        int48 deliveredWh = measured ? int48(int256(bound(uint48(delivered), 0, 30_000)) - 10_000) : int48(0);
        IDRAgreement.Outcome outcome = measured ? IDRAgreement.Outcome.Measured : IDRAgreement.Outcome.OptedOut;
        bytes memory data = abi.encodeCall(dr.resolve, (model.id, item.key, outcome, deliveredWh, bytes32("f")));
        bool open = item.status == IDRAgreement.Status.Disputed
            && block.timestamp < item.changedAt + termsIn(model).disputeWindowS;
        if (!attempt(ARBITER, data, open)) return;
        item.waived = false;
        change(model, item, IDRAgreement.Status.Resolved, outcome, deliveredWh);
    }

    function pay(uint8 which, uint8 pick) external {
        (Model storage model, Item storage item) = picked(which, pick);
        bool final_ = item.status == IDRAgreement.Status.Resolved
            || ((item.status == IDRAgreement.Status.Open || item.status == IDRAgreement.Status.Disputed)
                && block.timestamp >= item.changedAt + termsIn(model).disputeWindowS);
        if (!attempt(AGGREGATOR, abi.encodeCall(dr.pay, (model.id, item.key)), final_)) return;
        if (item.dueAt != 0 && item.dueAt < block.timestamp) {
            model.arrears.push(Span(item.dueAt, block.timestamp, IDRAgreement.Suspender.Nobody));
        }
        (item.status, item.dueAt) = (IDRAgreement.Status.Paid, 0);
        if (item.amount <= 0) {
            model.debt += uint256(-item.amount);
            return;
        }
        uint256 amount = uint256(item.amount);
        uint256 offset = amount < model.debt ? amount : model.debt;
        model.debt -= offset;
        model.withdrawable += amount - offset;
        paid += amount;
        minted += amount - offset;
    }

    function withdraw(uint8 which) external {
        Model storage model = models[which % AGREEMENTS];
        if (!attempt(NODE, abi.encodeCall(dr.withdraw, (model.id)), model.withdrawable != 0)) return;
        withdrawn += model.withdrawable;
        model.withdrawable = 0;
    }

    function suspend(uint8 which, bool byArbiter) external {
        Model storage model = models[which % AGREEMENTS];
        IDRAgreement.Suspender by = byArbiter ? IDRAgreement.Suspender.Arbiter : IDRAgreement.Suspender.Aggregator;
        bytes memory data = abi.encodeCall(dr.suspend, (model.id, 1));
        bool allowed = runs(model) && model.suspender < by;
        if (!attempt(byArbiter ? ARBITER : AGGREGATOR, data, allowed)) return;
        endSuspension(model);
        (model.suspender, model.suspendedAt) = (by, block.timestamp);
    }

    function lift(uint8 which, bool byArbiter) external {
        Model storage model = models[which % AGREEMENTS];
        bool allowed = runs(model) && model.suspender != IDRAgreement.Suspender.Nobody
            && (byArbiter || model.suspender == IDRAgreement.Suspender.Aggregator);
        if (!attempt(byArbiter ? ARBITER : AGGREGATOR, abi.encodeCall(dr.lift, (model.id)), allowed)) return;
        endSuspension(model);
        model.suspender = IDRAgreement.Suspender.Nobody;
    }

    function close(uint8 which, uint8 chance) external {
        if (chance % 16 != 0) return; // an agreement that is closed early has nothing more to say
        Model storage model = models[which % AGREEMENTS];
        bool allowed = runs(model) && model.closesAt == 0;
        if (!attempt(NODE, abi.encodeCall(dr.close, (model.id)), allowed)) return;
        uint256 closesAt = block.timestamp + NOTICE;
        uint256 expiresAt = termsIn(model).expiresAt;
        model.closesAt = closesAt < expiresAt ? closesAt : expiresAt;
    }

    // --- what must hold

    function check() external view {
        uint256 held;
        for (uint256 i = 0; i < AGREEMENTS; ++i) {
            Model storage model = models[i];
            IDRAgreement.Agreement memory agreement = dr.agreementOf(model.id);
            vm.assertEq(uint256(agreement.debt), model.debt, "debt");
            vm.assertEq(uint256(agreement.withdrawable), model.withdrawable, "withdrawable");
            vm.assertEq(uint256(dr.stateOf(model.id)), uint256(stateIn(model)), "state");
            vm.assertEq(uint256(dr.standingOf(model.id).earliestDueAt), earliestDue(model), "earliest due");
            held += agreement.withdrawable;
            checkItems(model);
            for (uint256 j = 0; j < model.days_.length; ++j) {
                uint256 calls = dr.callsOn(model.id, model.days_[j]);
                vm.assertEq(calls, model.calls[model.days_[j]], "calls");
                vm.assertLe(calls, agreement.terms.maxCallsPerDay, "calls a day");
            }
        }
        vm.assertEq(token.balanceOf(address(dr)), held, "escrow");
        vm.assertEq(token.balanceOf(NODE), withdrawn, "withdrawn");
        vm.assertEq(token.totalSupply(), minted, "minted");
        vm.assertEq(withdrawn + held, minted, "nothing comes from nowhere");
        vm.assertLe(minted, paid, "no more is minted than was earned");
    }

    function checkItems(Model storage model) private view {
        for (uint256 i = 0; i < model.items.length; ++i) {
            Item storage item = model.items[i];
            (IDRAgreement.Settled memory settled, int256 incentive, int256 penalty,, uint256 dueAt) =
                dr.settlementOf(model.id, item.key);
            vm.assertEq(settled.penaltyWaived, item.waived);
            if (item.waived) vm.assertEq(penalty, 0, "a waived penalty");
            vm.assertEq(uint256(settled.status), uint256(item.status), "status");
            vm.assertEq(uint256(settled.revision), item.revision, "revision");
            vm.assertEq(incentive - penalty, item.amount, "amount");
            vm.assertEq(dueAt, item.dueAt, "due");
        }
        checkThatNobodyBlocks(model);
    }

    /// @dev What is not paid can be paid one day, and is due one day if it earns, whatever anybody does: at most a
    /// window for revising, one for disputing and one for deciding have to pass before the payment term.
    function checkThatNobodyBlocks(Model storage model) private view {
        IDRAgreement.Terms memory terms = termsIn(model);
        for (uint256 i = 0; i < model.items.length; ++i) {
            Item storage item = model.items[i];
            if (item.status == IDRAgreement.Status.Paid) continue;
            (,,, uint256 finalAt, uint256 dueAt) = dr.settlementOf(model.id, item.key);
            uint256 latest = item.bookedAt + 3 * uint256(terms.disputeWindowS);
            vm.assertTrue(finalAt != 0 && finalAt <= latest, "final");
            vm.assertEq(dueAt != 0, item.amount > 0);
            vm.assertLe(dueAt, latest + terms.paymentTermS, "due in time");
            if (dueAt != 0) vm.assertTrue(finalAt < dueAt, "time to pay");
        }
    }

    // --- the model

    /// @dev When a node is notified: anywhere in the last two days, or where something began or ended.
    function moment(Model storage model, uint256 seed, uint256 durationS) private view returns (uint48) {
        uint256 edge;
        uint256 spans = model.arrears.length;
        if (seed % 5 == 0 && spans != 0) edge = model.arrears[seed % spans].from;
        if (seed % 5 == 1 && spans != 0) edge = model.arrears[seed % spans].to;
        spans = model.suspensions.length;
        if (seed % 5 == 2 && spans != 0) edge = model.suspensions[seed % spans].from;
        if (seed % 5 == 3 && spans != 0) edge = model.suspensions[seed % spans].to;
        if (seed % 5 == 4) edge = earliestDue(model);
        if (edge == 0 || edge + durationS > block.timestamp) {
            return uint48(block.timestamp - bound(seed, 0, 2 days) - durationS);
        }
        return uint48(edge - (seed / 5) % 2);
    }

    function change(
        Model storage model,
        Item storage item,
        IDRAgreement.Status status,
        IDRAgreement.Outcome outcome,
        int48 deliveredWh
    ) private {
        (int256 incentive, int256 penalty) =
            dr.amountsOf(model.id, outcome, uint48(item.requestedWh), deliveredWh);
        if (item.waived) penalty = 0;
        (item.status, item.changedAt, item.amount) = (status, block.timestamp, incentive - penalty);
        item.dueAt = incentive > penalty ? block.timestamp + termsIn(model).paymentTermS : 0;
    }

    function allows(Model storage model, bytes32 key, IDRAgreement.Booking memory asked)
        private
        view
        returns (bool)
    {
        for (uint256 i = 0; i < model.items.length; ++i) {
            if (model.items[i].key == key) return false;
        }
        uint256 start = asked.startsAt;
        if (start < NOON || start + asked.durationS > NOON + 30 days) return false;
        if (model.closesAt != 0 && start >= model.closesAt) return false;
        uint256 at = asked.notifiedAt;
        if (start - at < NOTICE) return false;
        if (suspendedAt(model, at) && suspendedAt(model, at - 1)) return false;
        if (inArrears(model, at) && inArrears(model, at - 1)) return false;
        if (asked.requestedWh * 3600 > uint256(20_000) * asked.durationS + 1800) return false;
        return model.calls[dr.dayOf(model.id, asked.startsAt)] < termsIn(model).maxCallsPerDay;
    }

    function stateIn(Model storage model) private view returns (IDRAgreement.State) {
        if (model.closesAt != 0 && block.timestamp >= model.closesAt) return IDRAgreement.State.Closed;
        if (block.timestamp >= NOON + 30 days) return IDRAgreement.State.Expired;
        uint256 dueAt = earliestDue(model);
        bool unpaid = dueAt != 0 && dueAt <= block.timestamp;
        bool suspended = unpaid || model.suspender != IDRAgreement.Suspender.Nobody;
        return suspended ? IDRAgreement.State.Suspended : IDRAgreement.State.Active;
    }

    function runs(Model storage model) private view returns (bool) {
        return stateIn(model) < IDRAgreement.State.Expired;
    }

    function earliestDue(Model storage model) private view returns (uint256 earliest) {
        for (uint256 i = 0; i < model.items.length; ++i) {
            uint256 dueAt = model.items[i].dueAt;
            if (dueAt != 0 && (earliest == 0 || dueAt < earliest)) earliest = dueAt;
        }
    }

    function within(Span[] storage spans, uint256 at) private view returns (bool) {
        for (uint256 i = 0; i < spans.length; ++i) {
            if (spans[i].from <= at && at < spans[i].to) return true;
        }
        return false;
    }

    function suspendedAt(Model storage model, uint256 at) private view returns (bool) {
        bool now_ = model.suspender != IDRAgreement.Suspender.Nobody && at >= model.suspendedAt;
        return now_ || within(model.suspensions, at);
    }

    function inArrears(Model storage model, uint256 at) private view returns (bool) {
        uint256 dueAt = earliestDue(model);
        return (dueAt != 0 && at >= dueAt) || within(model.arrears, at);
    }

    /// @dev Whether calls were forbidden at any time from a notification until the start.
    function interrupts(Model storage model, uint256 notifiedAt, uint256 start) private view returns (bool) {
        if (begins(model.suspensions, notifiedAt, start) || begins(model.arrears, notifiedAt, start)) return true;
        bool suspended = model.suspender != IDRAgreement.Suspender.Nobody;
        if (suspended && model.suspendedAt >= notifiedAt && model.suspendedAt <= start) return true;
        uint256 dueAt = earliestDue(model);
        return dueAt != 0 && dueAt >= notifiedAt && dueAt <= start;
    }

    function begins(Span[] storage spans, uint256 from, uint256 until) private view returns (bool) {
        for (uint256 i = 0; i < spans.length; ++i) {
            Span storage span = spans[i];
            if (span.from < span.to && span.from >= from && span.from <= until) return true;
        }
        return false;
    }

    function endSuspension(Model storage model) private {
        if (model.suspender == IDRAgreement.Suspender.Nobody) return;
        model.suspensions.push(Span(model.suspendedAt, block.timestamp, model.suspender));
    }

    function termsIn(Model storage model) private view returns (IDRAgreement.Terms memory) {
        return dr.agreementOf(model.id).terms;
    }

    function picked(uint8 which, uint8 pick) private returns (Model storage model, Item storage item) {
        model = models[which % AGREEMENTS];
        if (model.items.length == 0) {
            model.items.push(); // stands for what was never booked
            item = model.items[0];
            model.items.pop();
        } else {
            item = model.items[pick % model.items.length];
        }
    }

    function attempt(address caller, bytes memory data, bool expected) private returns (bool) {
        vm.prank(caller);
        (bool done,) = address(dr).call(data);
        vm.assertEq(done, expected);
        return done;
    }
}
