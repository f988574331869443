"""`--peer`: in real time, with an event of two minutes, and a stranger's VEN as one more node."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from flexpact.demo.day import Day
from flexpact.demo.layout import PEER, ven_id
from flexpact.demo.summary import Check, Facts, Summary, evidence_checks, money_checks, same

_REGISTERED_S, _SETTLED_S = 60.0, 120.0
LEAD = timedelta(seconds=45)
LENGTH = timedelta(minutes=2)
POWER_KW = 2.0


@dataclass(slots=True)
class PeerDay(Day):
    """A short while in real time instead of a day: what a stranger needs to show all that it does."""

    async def live(self) -> None:
        """Start the stranger, call it, and follow the event to its statement."""
        self.say("a stranger's VEN registers: openleadr's client")
        url = f"https://127.0.0.1:{self.vtn_port}"
        await self.fleet.start(PEER, url, PEER, str(self.layout.pki), module="flexpact.demo.stranger")
        await self._until(self._registered, _REGISTERED_S, "the stranger to register")
        start = (self.clock() + LEAD).replace(microsecond=0)
        self.plan = replace(self.plan, asked=self.clock(), event_start=start, event_end=start + LENGTH)
        period = {"start": start.isoformat(), "end": (start + LENGTH).isoformat()}
        self.request = await self.control.post("/requests", {**period, "nodes": {PEER: POWER_KW}})
        self.say(f"the operator asks the stranger for {POWER_KW:.1f} kW less, for two minutes")
        await self.until_time(self.plan.event_start)
        self.say("the event is on")
        await self.until_time(self.plan.event_end)
        self.say("the event is over, its statement is made")
        await self._until(self._settled, _SETTLED_S, "the stranger's statement")

    async def seal(self) -> None:
        """Stop the stranger with the nodes, and have every leaf anchored."""
        await self.fleet.stop(PEER)
        await self.anchor()

    async def facts(self) -> Facts:
        """Return the facts with what was really asked: a statement knows whole quarter hours only."""
        facts = await Day.facts(self)
        asked_kwh = POWER_KW * (LENGTH / timedelta(hours=1))
        return replace(
            facts, counts={**facts.counts, "requested_kwh": asked_kwh, "delivered_kwh": None}, nodes_called=1
        )

    async def true_kwh(self) -> float | None:
        """Return None: the stranger has no homes in the simulator, so nobody knows."""
        return None

    def sentence(self, summary: Summary) -> str:
        """Return what came of the event; two minutes are no quarter hour, so nothing is measured or paid."""
        outcome = "opted in" if summary.opted_in else "did not opt in"
        return (
            f"{POWER_KW:.1f} kW asked for two minutes, {1000 * summary.requested_kwh:.0f} Wh: the stranger "
            f"{outcome}; nothing is measured or paid, because a statement counts whole quarter hours"
        )

    async def accuracy(self) -> Mapping[str, float | None]:
        """Return nothing: two minutes are no day to measure forecasts by."""
        return {}

    async def _registered(self) -> bool:
        nodes = (await self.control.get("/status"))["nodes"]
        return any(node["ven_name"] == PEER and node["registered"] for node in nodes)

    async def _settled(self) -> bool:
        return bool((await self.control.get("/statements"))["statements"])

    def checks(self, summary: Summary, facts: Facts, trouble: str) -> Sequence[Check]:
        """Return what must hold of the evidence, and of the stranger by its exported records."""
        records = [json.loads(path.read_bytes()) for path in self.layout.receipts.glob("*.record.json")]
        own = {
            record["kind"]: record["body"] for record in records if record["body"]["ven_id"] == self.peer_id
        }
        outcome = own.get("statement", {}).get("outcome", "nothing")
        return [
            *evidence_checks(summary, trouble),
            *money_checks(summary, facts),
            same("every node registered", summary.vens + 1, facts.counts["vens"]),
            same("the event reached the stranger", 1, summary.delivered),
            same("the stranger opted in", 1, summary.opted_in),
            Check("its statement tells what was not measured", outcome == "unmeasured", f"it says {outcome}"),
        ] + [
            Check(f"the log has the stranger's {kind}", kind in own, f"there is no record of its {kind}")
            for kind in ("registration", "signal", "opt", "report", "statement")
        ]

    @property
    def peer_id(self) -> str:
        """The stranger's id at our VTN."""
        return ven_id(len(self.plan.nodes))
