"""One day, from the first process to the verified receipts: what happens when, and what is waited for."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from flexpact.clock import Clock, Course
from flexpact.demo.accuracy import forecast_nmae
from flexpact.demo.agreements import Agreements
from flexpact.demo.control import Control
from flexpact.demo.errors import DemoError, TooLateError
from flexpact.demo.faults import Fault, victim
from flexpact.demo.homes import ask, listens, true_reduction_kwh
from flexpact.demo.layout import Layout, aggregator_settings, feid_settings, prepare
from flexpact.demo.observe import Progress, curves, snapshot
from flexpact.demo.plan import DAY, HISTORY, QUARTER, Plan
from flexpact.demo.processes import Fleet, free_port
from flexpact.demo.receipts import Verdict, receipt_paths, verify_directory, write_receipt
from flexpact.demo.snapshot import Snapshot
from flexpact.demo.summary import Check, Facts, Summary, event_checks, evidence_checks, money_checks
from flexpact.demo.view import View

_LOOK_S = 0.25
"""Real seconds between two looks at the aggregator."""
_START_S, _HISTORY_S, _LAST_READINGS_S, _SEAL_S = (
    120.0,
    300.0,
    120.0,
    60.0,
)
"""Real seconds that a phase may take at most."""
OFFER_SHARE = 0.6
"""How much of what the nodes offer the operator asks for."""
OUTAGE = timedelta(minutes=5)
"""How long a killed process stays away, simulated."""


@dataclass(slots=True)
class Day:
    """The demo in motion: its plan, its processes, what is known so far."""

    plan: Plan
    layout: Layout
    fleet: Fleet
    control: Control
    view: View
    clock: Clock = field(init=False)
    agreements: Agreements = field(init=False)
    vtn_port: int = 0
    web_port: int = 0
    viewer_link: str = ""
    first_link: str = ""
    progress: Progress = field(default_factory=Progress)
    request: Mapping[str, Any] = field(default_factory=dict)

    async def set_up(self) -> None:
        """Start everything, the clock held at the start of the live part."""
        self.say("keys, certificates and settings")
        prints = prepare(self.layout, self.plan, Clock.real()())
        self.clock = self._first_clock()
        self.say(f"28 days of {self.plan.households} homes are simulated")
        await self._start("homes", "feid", "simulate")
        self.say("the chain starts, contracts for checkpoints and agreements are deployed")
        chain_port, self.vtn_port, self.web_port = free_port(), free_port(), free_port()
        chain_url = f"http://127.0.0.1:{chain_port}"
        contract = await self._start_chain(chain_port, chain_url)
        self.agreements = Agreements(self.layout, self.plan, chain_url)
        contracts = (contract, await self.agreements.set_up())
        aggregator_settings(
            self.layout,
            self.plan,
            prints,
            vtn_port=self.vtn_port,
            web_port=self.web_port,
            chain_url=chain_url,
            contracts=contracts,
        )
        await self._until(self._homes_answer, _START_S, "the simulator to finish its history")
        self.say("the aggregator starts")
        await self._start("aggregator", "aggregator", "serve")
        await self._until(self.control.alive, _START_S, "the aggregator to answer on its control socket")
        await self._until(self._dashboard_is_open, _START_S, "the dashboard to listen")
        viewer = await self.control.post("/users", {"name": "guest", "role": "viewer"})
        self.viewer_link = str(viewer["link"])
        self._say_links()
        self.say("the nodes accept their agreements on the chain")
        await self.agreements.agree(self.control)
        self.say(f"{len(self.plan.nodes)} nodes register and send 28 days of history")
        for node in self.plan.nodes:
            feid_settings(self.layout, self.plan, node, self.vtn_port)
            await self._start(node, "feid", "serve")
        await self._until(self._history_is_in, _HISTORY_S, "the history of every node", pause_s=1.0)

    async def live(self) -> None:
        """Let the clock run, ask for the reduction, follow the day to its end."""
        self.progress.note = self._ways_in()
        self.say(f"the day begins, at {self.plan.speed:g} times real time")
        self._set_clock(time.time() + 0.5)
        fault, middle = self.plan.options.fault, self.plan.event_start + self.plan.event_length / 2
        if fault is Fault.CHAIN_OFF:
            await self._pull(fault)
        await self.until_time(self.plan.asked)
        await self.ask_for_reduction()
        await self.until_time(self.plan.event_start)
        self.say("the event is on")
        if fault in {Fault.KILL_AGGREGATOR, Fault.KILL_FEID}:
            await self.until_time(middle)
            await self._pull(fault)
            await self.until_time(middle + OUTAGE)
            await self._put_back(fault)
        await self.until_time(self.plan.event_end)
        self.say("the event is over, its performance is settled")
        if fault is Fault.CHAIN_OFF:
            await self.until_time(self.plan.event_end + OUTAGE)
            await self._put_back(fault)
        await self.until_time(self.plan.end)

    async def _pull(self, fault: Fault) -> None:
        """Kill -9 the process that the fault names."""
        name = victim(fault, self.called)
        self.say(f"{name} is killed")
        await self.fleet.kill(name)

    async def _put_back(self, fault: Fault) -> None:
        """Start that process again."""
        name = victim(fault, self.called)
        self.say(f"{name} starts again")
        await self.fleet.restart(name)
        await self._until(self.control.alive, _START_S, "the aggregator to answer again")
        if fault is Fault.KILL_AGGREGATOR:
            self.first_link = ""
            await self._until(self._dashboard_is_open, _START_S, "the dashboard to listen again")
            self._say_links()
            self.progress.note = self._ways_in()

    async def ask_for_reduction(self) -> None:
        """Ask for about 60 % of what the nodes offer over the event, as an operator would."""
        period = {"start": _text(self.plan.event_start), "end": _text(self.plan.event_end)}
        preview = await self.control.post("/requests/preview", {**period, "power_kw": 1000})
        offered_kw = float(preview["expected_kw"])
        power_kw = round(OFFER_SHARE * offered_kw, 1)
        if power_kw <= 0:
            raise DemoError(f"the nodes offer {offered_kw:.1f} kW, so there is nothing to ask for")
        self.request = await self.control.post("/requests", {**period, "power_kw": power_kw})
        self.say(f"the operator asks for {power_kw:.1f} kW less, of {offered_kw:.1f} kW offered")

    async def seal(self) -> None:
        """Wait for the day's last readings, stop the nodes, and have every leaf anchored."""
        self.say("the last readings come in")
        await self._until(self._all_metered, _LAST_READINGS_S, "the last readings of the day")
        await self.anchor()

    async def anchor(self) -> None:
        """Stop the nodes, so that no new fact comes, and have every leaf anchored."""
        self.say("the nodes stop, the last checkpoint is anchored")
        await self.fleet.stop(*self.plan.nodes)
        sealed = await self.control.post("/seal", {"timeout_s": _SEAL_S})
        if not sealed["complete"]:
            raise TooLateError(
                f"{sealed['leaves']} leaves are in the log and {sealed['anchored']} under an anchored "
                f"checkpoint after {_SEAL_S:.0f} s"
            )

    async def export(self) -> Verdict:
        """Write statements, trust file and every leaf's record and receipt; verify all receipts offline."""
        statements = await self.control.get("/statements")
        (self.layout.directory / "statements.json").write_text(json.dumps(statements, indent=1), "utf-8")
        counts = await self.control.get("/summary")
        self.say(f"{counts['leaves']} receipts are written and verified offline")
        trust = await self.control.get("/trust")
        self.layout.trust.write_text(trust["trust"], encoding="utf-8")
        for index in range(int(counts["leaves"])):
            leaf = await self.control.get(f"/receipts/{index}")
            write_receipt(self.layout.receipts, index, leaf["record"].encode(), leaf["receipt"].encode())
        record, receipt = map(str, receipt_paths(self.layout.receipts, 0))
        trust_path = str(self.layout.trust)
        await self.fleet.run("verify", "verify", receipt, "--record", record, "--trust", trust_path)
        return await asyncio.to_thread(verify_directory, self.layout.receipts, self.layout.trust)

    async def _all_metered(self) -> bool:
        """Whether every node has reported the last quarter-hour, or a later one: they report in order.

        A quarter-hour that a meter has marked as bad is reported as well, but its load is not known.
        """
        # from the start, since the sum is of the nodes that have reported anything in the period
        period = {"start": _text(self.plan.start), "end": _text(max(self.clock(), self.plan.end))}
        metered_kw = (await self.control.get("/profiles", **period))["metered_kw"]
        return any(kw is not None for kw in metered_kw[(self.plan.end - self.plan.start) // QUARTER - 1 :])

    @property
    def called(self) -> list[str]:
        """The names of the nodes that the request called."""
        return [node["ven_name"] for node in self.request.get("nodes", ())]

    async def true_kwh(self) -> float | None:
        """Return what the called nodes really gave, which the simulator alone knows."""
        socket = self.layout.simulator_socket
        return await true_reduction_kwh(socket, self.called, self.plan.event_start, self.plan.event_end)

    async def accuracy(self) -> Mapping[str, float | None]:
        """Return the errors of the day's forecasts by name."""
        day = (self.plan.midnight + self.plan.utc_offset).date()
        forecasts = await self.control.get("/forecasts", day=day.isoformat())
        return await forecast_nmae(self.layout.simulator_socket, forecasts, self.plan.midnight)

    async def facts(self) -> Facts:
        """Return what the aggregator, the simulator and the processes tell about the day."""
        return Facts(
            counts=await self.control.get("/summary"),
            nodes_called=len(self.called),
            true_kwh=await self.true_kwh(),
            money=await self.agreements.money(self.control),
            forecast_nmae=await self.accuracy(),
            aggregator_rss_mb=self.fleet.peak_rss_mb("aggregator"),
            feid_rss_mb_max=self.fleet.peak_rss_mb("node-"),
        )

    def checks(self, summary: Summary, facts: Facts, trouble: str) -> Sequence[Check]:
        """Return every check, held or not; `trouble` is the first one that a receipt gave."""
        return [
            *evidence_checks(summary, trouble),
            *event_checks(summary, facts),
            *money_checks(summary, facts),
        ]

    def sentence(self, summary: Summary) -> str:
        """Return in a sentence what was asked for and what came of it."""
        return (
            f"{summary.requested_kwh:.1f} kWh asked, {summary.delivered_kwh:.1f} kWh delivered by the "
            f"baseline, {summary.true_kwh:.1f} kWh in truth"
        )

    async def until_time(self, moment: datetime) -> None:
        """Return when the clock has reached `moment`, showing how things stand meanwhile."""
        while self.clock() < moment:
            await self._look()

    async def _start(self, name: str, *command: str) -> None:
        settings, clock = str(self.layout.settings(name)), str(self.clock)
        await self.fleet.start(name, *command, "--config", settings, "--clock", clock)

    async def _start_chain(self, port: int, url: str) -> str:
        """Start the chain, deploy the contract, return its address."""
        directory = str(self.layout.chain)
        serve = (
            "ledger",
            "chain",
            "serve",
            "--dir",
            directory,
            "--port",
            str(port),
            "--clock",
            str(self.clock),
        )
        await self.fleet.start("chain", *serve)
        await self._until(lambda: _answers(url), _START_S, "the chain to answer")
        key = str(self.layout.chain_key)
        return await self.fleet.run("deploy", "ledger", "deploy", "--rpc", url, "--key-file", key)

    def _first_clock(self) -> Clock:
        """Return the clock of all processes: held at the start of the live part, or the real one."""
        if self.plan.options.peer:
            return Clock.real()
        self._set_clock(None)
        return Clock.parse(f"@{self.layout.clock}")

    def _set_clock(self, real_start_s: float | None) -> None:
        """Write the clock that everybody reads; in one step, so that nobody reads half of it."""
        draft = self.layout.clock.with_suffix(".new")
        draft.write_text(str(Course(self.plan.start, real_start_s, self.plan.speed)), encoding="ascii")
        draft.replace(self.layout.clock)

    def say(self, text: str) -> None:
        """Say what begins now."""
        self.progress.phase = text
        self.view.phase(text)

    async def _until(
        self, condition: Callable[[], Awaitable[bool]], limit_s: float, what: str, *, pause_s: float = _LOOK_S
    ) -> None:
        """Return when the condition holds; `TooLateError` after `limit_s`; both times in real seconds."""
        deadline = time.monotonic() + limit_s
        while not await condition():
            if time.monotonic() > deadline:
                raise TooLateError(f"waited {limit_s:.0f} s for {what}")
            await self._look(pause_s)

    async def _look(self, pause_s: float = _LOOK_S) -> None:
        """After a pause, see that all processes live, and show what the aggregator says, if it answers."""
        await asyncio.sleep(pause_s)
        self.fleet.check()
        self.fleet.measure()
        now = await self.observed() if self.view.live else None
        if now is not None:
            self.view.show(now)

    async def observed(self) -> Snapshot | None:
        """Return how things stand by the aggregator's own word; None while it does not answer."""
        try:
            status = await self.control.get("/status")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return snapshot(status, self.plan, self.progress)

    async def whole_day(self) -> Snapshot | None:
        """Return how things stand, with the curves of the day that was played, also when it is past."""
        now = await self.observed()
        day = {"start": _text(self.plan.midnight), "end": _text(self.plan.midnight + DAY)}
        played = curves(await self.control.get("/profiles", **day), self.plan)
        return None if now is None else replace(now, now=min(now.now, self.plan.end), curves=played)

    def _say_links(self) -> None:
        """The ways into the dashboard; the admin's is another after each start, until it was used."""
        self.say(f"look at it in a browser, once: {self.viewer_link}")
        if self.first_link:
            self.say(f"or as its admin, with a second factor: {self.first_link}")

    def _ways_in(self) -> str:
        """The same for the live screen, a link in a line: a phase is there for a moment alone."""
        admin = [f"admin: {self.first_link}"] if self.first_link else []
        last = f"each link opens once; all that this makes lies in {self.plan.options.out}"
        return "\n".join([f"look: {self.viewer_link}", *admin, last])

    async def _dashboard_is_open(self) -> bool:
        """Whether the link to the first sign-in is there: it comes when the dashboard listens."""
        if self.layout.first_sign_in.is_file():
            self.first_link = self.layout.first_sign_in.read_text("utf-8").strip()
        return bool(self.first_link)

    async def _homes_answer(self) -> bool:
        if not await listens(self.layout.simulator_socket):
            return False
        await ask(self.layout.simulator_socket, "health")
        return True

    async def _history_is_in(self) -> bool:
        """Whether every node has registered and reported the whole history."""
        days = (await self.control.get("/summary"))["history_days"]
        wanted = len(self.plan.nodes) * HISTORY.days
        self.progress.note = f"{days} of {wanted} node-days of history have arrived"
        return bool(days >= wanted)


async def _answers(url: str) -> bool:
    """Whether a JSON-RPC server answers there."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        async with aiohttp.ClientSession() as http, http.post(url, json=call) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError):
        return False


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
