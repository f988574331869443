"""What a VEN makes of failures on the wire: pauses that grow, what is given up, set aside or kept."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web

from openadr import Poll, UpdateReport, encode
from tests.ven.messages import VEN, metadata_taken, no, ok, registered
from tests.ven.site import NOW, Site
from tests.ven.test_transport import POLL, Handler, answering, xml
from tests.ven.wire import eventually, plain
from ven.client import Client
from ven.registration import Registration
from ven.report import digest
from ven.saved import Saved
from ven.store import Store
from ven.transport import Backoff, Transport


def test_http_16_pauses_double_from_one_second_with_a_tenth_of_jitter_up_to_the_cap() -> None:
    for draw in (0.0, 0.5, 0.999):
        backoff = Backoff(lambda draw=draw: draw)
        pauses = [backoff.pause_s(60.0) for _ in range(8)]
        for index, pause in enumerate(pauses[:6]):
            assert 0.9 * 2**index <= pause <= 1.1 * 2**index
        assert pauses[7] == 60.0
        assert all(early <= late for early, late in pairwise(pauses))
        backoff.reset()
        assert 0.9 <= backoff.pause_s(60.0) <= 1.1


class Sleeper:
    """A sleep that returns at once and keeps what was asked for; the last one never returns."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pauses: list[float] = []
        self.full = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) >= self.count:
            self.full.set()
            await asyncio.Event().wait()


READY = Saved(registration=Registration(VEN, "reg-1", "vtn-1", 30.0), metadata=digest([]), synced=True)


async def conversation(
    tmp_path: Path, handler: Handler, saved: Saved, sleeps: int, *, reports: tuple[UpdateReport, ...] = ()
) -> tuple[Sleeper, Client, Store]:
    """Runs the VEN's loops against the handler until it has paused `sleeps` times."""
    store = Store.open(tmp_path / "ven.db")
    store.save(saved, reports)
    sleeper = Sleeper(sleeps)
    async with answering(handler) as port:
        settings = plain(port, tmp_path / "ven.db", backoff_cap_s=100.0)
        async with Transport(settings, lambda: NOW) as transport:
            client = Client(settings, Site(offered=[]), store, transport, clock=lambda: NOW, sleep=sleeper)
            loop = client.deliver() if reports else client.converse()
            task = asyncio.create_task(loop)
            await asyncio.wait_for(sleeper.full.wait(), 30)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return sleeper, client, store


def always(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return xml(body, status=status, headers=headers)

    return answer


async def test_http_16_a_poll_is_retried_with_back_off_up_to_its_own_rhythm(tmp_path: Path) -> None:
    sleeper, client, store = await conversation(tmp_path, always(b"", 503), READY, 8)
    assert all(0.9 * 2**n <= pause <= 1.1 * 2**n for n, pause in enumerate(sleeper.pauses[:4]))
    assert sleeper.pauses[-1] == 30.0
    assert client.session.saved == READY
    store.close()


async def test_a_vtn_that_says_how_long_to_wait_is_listened_to(tmp_path: Path) -> None:
    sleeper, _, store = await conversation(tmp_path, always(b"", 503, **{"Retry-After": "50"}), READY, 2)
    assert sleeper.pauses == [50.0, 50.0]
    store.close()


@pytest.mark.parametrize("status", [404, 406, 501])
async def test_http_09_an_answer_that_the_vtn_never_takes_is_dropped_and_polling_goes_on(
    tmp_path: Path, status: int
) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path.rpartition("/")[2])
        good = paths[-1] == "OadrPoll"
        return xml(encode(ok()), status=200 if good else status)

    saved = Saved(READY.registration, READY.metadata, True, answers=(metadata_taken(),))
    _, client, store = await conversation(tmp_path, answer, saved, 1)
    assert paths == ["EiReport", "OadrPoll"]
    assert client.session.saved.answers == ()
    assert store.load().answers == ()
    store.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<no xml", 200), (b"", 200), (encode(registered()), 200), (b"", 500)],
    ids=["no XML", "nothing", "an answer to something else", "status 500"],
)
async def test_a_poll_answered_with_nonsense_is_given_up_until_the_next_one(
    tmp_path: Path, body: bytes, status: int
) -> None:
    requests: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        requests.append(await request.read())
        return xml(body, status=status)

    sleeper, client, store = await conversation(tmp_path, answer, READY, 3)
    assert requests == [POLL] * 3
    assert 30.0 <= sleeper.pauses[-1] <= 33.0
    assert client.session.saved == READY
    store.close()


async def test_an_answer_may_be_acknowledged_by_an_empty_body(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return xml(encode(ok()) if request.path.endswith("OadrPoll") else b"")

    saved = Saved(READY.registration, READY.metadata, True, answers=(metadata_taken(),))
    _, client, store = await conversation(tmp_path, answer, saved, 1)
    assert client.session.saved.answers == ()
    store.close()


def update() -> UpdateReport:
    from tests.ven.test_store import reports  # noqa: PLC0415 - one fixture of reports for both files

    return reports(1)[0]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (encode(no("454")), 200, "the VTN refused it"),
        (b"", 413, "HTTP status 413"),
        (b"<no xml", 200, "no OpenADR message"),
        (encode(registered()), 200, "cannot answer UpdateReport"),
    ],
    ids=["refused", "too large", "no XML", "an answer to something else"],
)
async def test_goals_80_a_report_that_is_never_taken_is_set_aside(
    tmp_path: Path, body: bytes, status: int, reason: str
) -> None:
    store = Store.open(tmp_path / "ven.db")
    store.save(READY, [update(), update()])
    store.close()
    sleeper, _, store = await conversation(tmp_path, always(body, status), READY, 8, reports=(update(),))
    assert store.next_queued() is None
    assert len(store.refused()) == 3
    assert reason in store.refused()[0][1]
    assert sleeper.pauses
    store.close()


async def test_a_report_waits_while_the_vtn_does_not_know_us(tmp_path: Path) -> None:
    sleeper, client, store = await conversation(
        tmp_path, always(encode(no("463"))), READY, 3, reports=(update(),)
    )
    assert store.next_queued() is not None
    assert sleeper.pauses[1] > sleeper.pauses[0]
    assert client.session.due(NOW) == [Poll(VEN)]
    store.close()


async def test_an_idle_ven_waits_for_its_next_poll(tmp_path: Path) -> None:
    sleeper, _, store = await conversation(tmp_path, always(encode(ok())), READY, 1)
    assert 30.0 <= sleeper.pauses[0] <= 33.0
    store.close()


async def test_eventually_is_patient_but_not_for_ever() -> None:
    with pytest.raises(TimeoutError):
        await eventually(lambda: False, 0.02)
