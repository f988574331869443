"""A VTN that is in trouble for a while, or breaks at one message: what is lost, and what is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from openadr import CancelPartyRegistration, CreatedOpt, CreateOpt, EiResponse, UpdatedReport, decode, encode
from openadr.enums import OptType
from openadr.timeline import Timeline
from tests.ven.messages import ok
from tests.ven.site import Site
from tests.ven.speaking import PERIODS
from tests.ven.test_conversation import READY
from tests.ven.test_store import reports
from tests.ven.test_transport import answering, xml
from tests.ven.wire import FastClock, eventually, plain
from ven.client import TRIES, Client
from ven.store import Store
from ven.transport import Transport


@dataclass
class Trouble:
    """A VTN that answers 500 where `broken` says so, and otherwise takes everything."""

    broken: Callable[[str, bytes], bool]
    tried: Counter[str] = field(default_factory=Counter)
    taken: list[bytes] = field(default_factory=list)
    refused: str = ""
    """A service that it does not have."""

    async def answer(self, request: web.Request) -> web.Response:
        """The answer to any message."""
        service, body = request.path.rpartition("/")[2], await request.read()
        self.tried[service] += 1
        if service == self.refused:
            return xml(b"", status=404)
        if self.broken(service, body):
            return xml(b"", status=500)
        if service != "OadrPoll":
            self.taken.append(body)
        message = decode(body)
        if isinstance(message, CreateOpt):
            return xml(encode(CreatedOpt(response=EiResponse.ok(message.request_id), opt_id=message.opt_id)))
        reply = UpdatedReport(response=EiResponse.ok("u")) if service == "EiReport" else ok()
        return xml(encode(reply))


@asynccontextmanager
async def at_work(tmp_path: Path, vtn: Trouble, site: Site | None = None) -> AsyncIterator[Client]:
    """The VEN with two reports to send, both loops running."""
    store, clock = Store.open(tmp_path / "ven.db"), FastClock(speed=20_000.0)
    store.save(READY, reports(2))
    async with answering(vtn.answer) as port:
        settings = plain(port, tmp_path / "ven.db")
        async with Transport(settings, clock) as transport:
            client = Client(
                settings, site or Site(offered=[]), store, transport, clock=clock, sleep=clock.sleep
            )
            tasks = [asyncio.create_task(loop) for loop in (client.converse(), client.deliver())]
            try:
                yield client
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    store.close()


def queued(store: Store) -> tuple[int, int]:
    """Reports that wait, and those set aside."""
    return sum(store.waiting().values()), len(store.refused())


def queued_in_file(tmp_path: Path) -> tuple[int, int]:
    """The same as the next start finds it."""
    store = Store.open(tmp_path / "ven.db")
    counts = queued(store)
    store.close()
    return counts


@pytest.mark.criterion("HTTP-09", "HTTP-16", who="ven")
async def test_while_the_vtn_answers_500_to_everything_nothing_is_set_aside(tmp_path: Path) -> None:
    vtn = Trouble(lambda _service, _body: True)
    async with at_work(tmp_path, vtn) as client:
        client.voice.declare(OptType.OPT_OUT, PERIODS, opt_id="o1")
        await eventually(lambda: vtn.tried["EiReport"] > 10 and vtn.tried["OadrPoll"] > 10)
        assert queued(client._store) == queued_in_file(tmp_path) == (2, 0)
        vtn.broken = lambda _service, _body: False
        await eventually(lambda: len(vtn.taken) == 3)
        await eventually(lambda: client.session.saved.answers == ())
        assert [each.opt_id for each in client.session.saved.opts] == ["o1"]
        await eventually(lambda: queued(client._store) == (0, 0))
    assert queued_in_file(tmp_path) == (0, 0)


async def test_goals_80_a_report_that_the_vtn_breaks_at_makes_room_for_the_next(tmp_path: Path) -> None:
    first = encode(reports(2)[0])
    vtn = Trouble(lambda _service, body: body == first)
    async with at_work(tmp_path, vtn) as client:
        await eventually(lambda: len(vtn.taken) == 1)
        assert client.session.saved == READY
        await eventually(lambda: queued(client._store) == (0, 1))
    assert queued_in_file(tmp_path) == (0, 1)
    assert 4 <= vtn.tried["EiReport"] <= 12
    assert vtn.tried["OadrPoll"] >= 2  # it is the report: the VTN is well otherwise


async def test_an_opt_that_the_vtn_breaks_at_is_given_up_and_polling_goes_on(tmp_path: Path) -> None:
    vtn = Trouble(lambda service, _body: service == "EiOpt")
    async with at_work(tmp_path, vtn) as client:
        client.voice.declare(OptType.OPT_OUT, PERIODS, opt_id="o1")
        client.voice.declare(OptType.OPT_IN, PERIODS, opt_id="o2")
        await eventually(lambda: client.session.saved.answers == ())
        assert client.session.saved.opts == ()
        polls = vtn.tried["OadrPoll"]
        await eventually(lambda: vtn.tried["OadrPoll"] > polls)
    assert 6 < vtn.tried["EiOpt"] < 30
    assert polls >= 2


async def test_words_of_the_site_keep_their_order_while_the_vtn_is_in_trouble(tmp_path: Path) -> None:
    vtn = Trouble(lambda service, _body: service == "EiOpt")
    async with at_work(tmp_path, vtn) as client:
        client.voice.declare(OptType.OPT_OUT, PERIODS, opt_id="o1")
        await eventually(lambda: vtn.tried["EiOpt"] > 0)
        client.voice.withdraw("o1")
        await eventually(lambda: vtn.tried["EiOpt"] > 3)
        vtn.broken = lambda _service, _body: False
        await eventually(lambda: client.session.saved.answers == ())
    said = [type(decode(body)).__name__ for body in vtn.taken if b"Opt>" in body]
    assert said[-1] == "CancelOpt"


async def test_a_site_that_could_not_take_its_timeline_is_given_it_again(tmp_path: Path) -> None:
    class Shy(Site):
        def follow(self, timeline: Timeline) -> None:
            super().follow(timeline)
            if len(self.timelines) < 3:
                raise RuntimeError("not now")

    site = Shy(offered=[])
    async with at_work(tmp_path, Trouble(lambda *_: False), site):
        await eventually(lambda: len(site.timelines) == 3)
        await asyncio.sleep(0.02)
    assert len(site.timelines) == 3


@pytest.mark.criterion("REG-18", "HTTP-16", who="ven")
async def test_reg_18_a_wish_to_leave_is_repeated_until_the_vtn_is_well_again(tmp_path: Path) -> None:
    vtn = Trouble(lambda service, _body: service == "EiRegisterParty")
    async with at_work(tmp_path, vtn) as client:
        client.voice.leave()
        await eventually(lambda: vtn.tried["EiRegisterParty"] > 3 * TRIES)
        assert client.session.saved.leaving
        vtn.broken = lambda _service, _body: False
        await eventually(lambda: client.session.saved.registration is None)
    # after its pause the VEN may have asked for a new registration already
    assert sum(isinstance(decode(body), CancelPartyRegistration) for body in vtn.taken) == 1
    store = Store.open(tmp_path / "ven.db")
    assert store.load().registration is None
    store.close()


async def test_a_vtn_that_knows_no_cancellation_is_not_asked_for_ever(tmp_path: Path) -> None:
    vtn = Trouble(lambda *_: False, refused="EiRegisterParty")
    async with at_work(tmp_path, vtn) as client:
        client.voice.leave()
        await eventually(lambda: not client.session.saved.leaving)
        polls = vtn.tried["OadrPoll"]
        await eventually(lambda: vtn.tried["OadrPoll"] > polls)
    assert vtn.tried["EiRegisterParty"] == 1
