"""What a site says to its box: on the socket, by the command line, and what the box does with it."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from feid.agent import run
from feid.control import grid_floor
from feid.errors import SettingsError
from feid.voice import Desk, bound, listen
from flexpact.commands.feid_voice import app
from openadr import CancelOpt, CreateOpt
from openadr.enums import OptType
from tests.feid.evening import START, evening
from tests.feid.town import CYCLE, Town
from tests.ven.conversation import make_session, names, ready, talk
from tests.ven.messages import HOUR, cancelled, distribute, make_event, ok
from tests.ven.site import NOW
from ven.event import HeldEvent
from ven.registration import Registration
from ven.saved import Saved
from ven.session import Session
from ven.store import Store
from ven.voice import Voice


class Site:
    """A desk of a registered VEN that holds event e1."""

    def __init__(self) -> None:
        self.session: Session = ready()
        talk(self.session, distribute(make_event()), ok(), ok())
        ids = (f"made-{number}" for number in count())
        self.now = NOW
        self.desk = Desk(lambda: self.now)
        self.saved = 0
        self.desk.hear(Voice(self.session, lambda: next(ids), lambda: self.now, self._said))

    def _said(self) -> None:
        self.saved += 1

    def ask(self, op: str, **fields: object) -> Any:
        return json.loads(self.desk.answer(json.dumps({"op": op, **fields}).encode()))


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.criterion("VEX-26", who="ven")
def test_the_site_changes_its_mind_about_an_event(site: Site) -> None:
    (before,) = site.ask("events")["result"]
    assert (before["event_id"], before["opt"], before["over"]) == ("e1", "optIn", False)
    assert site.ask("opt", event_id="e1", opt="optOut")["result"]["opt"] == "optOut"
    assert names(site.session.due(NOW)) == ["CreatedEvent"]
    assert site.session.saved.events["e1"].opt_type is OptType.OPT_OUT
    assert site.saved == 1


@pytest.mark.criterion("OPT-02", "OPT-15", who="ven")
def test_the_site_says_when_it_stays_out_and_takes_that_back(site: Site) -> None:
    said = site.ask("schedule", opt="optOut", hours=4, start="2026-03-02T18:00+01:00", programme="p")
    (message,) = site.session.due(NOW)
    assert isinstance(message, CreateOpt)
    assert message.availability[0].dtstart == NOW + 5 * HOUR
    assert (message.market_context, message.opt_reason) == ("p", "x-schedule")
    (told,) = site.ask("schedules")["result"]
    assert (told["opt_id"], told["programme"]) == (said["result"]["opt_id"], "p")
    assert told["periods"] == [{"start": "2026-03-02T17:00:00+00:00", "end": "2026-03-02T21:00:00+00:00"}]
    talk(site.session, ok())
    site.ask("withdraw", opt_id=told["opt_id"])
    assert isinstance(site.session.due(NOW)[0], CancelOpt)
    assert site.ask("schedules") == {"result": []}


@pytest.mark.criterion("OPT-02", who="ven")
@pytest.mark.parametrize(
    ("start", "programme", "opt"),
    [
        (NOW + HOUR, None, "optOut"),
        (NOW + 4 * HOUR, None, "optOut"),
        (NOW + HOUR, "http://programme.test/a", "optOut"),
        (NOW + HOUR, "another", "optIn"),
        (NOW + 5 * HOUR, None, "optIn"),
        (NOW + 0.4 * HOUR, None, "optIn"),
    ],
)
def test_an_event_that_comes_for_such_a_time_is_opted_out_of(
    site: Site, start: Any, programme: str | None, opt: str
) -> None:
    site.ask("schedule", opt="optOut", hours=3.5, start=(NOW + 1.5 * HOUR).isoformat(), programme=programme)
    talk(site.session, ok())
    site.now += HOUR
    talk(site.session, distribute(make_event(), make_event("e2", start=start)), ok(), now=site.now)
    told = {each["event_id"]: each["opt"] for each in site.ask("events")["result"]}
    assert told == {"e1": "optIn", "e2": opt}  # what was answered before stays


def test_leaving_and_the_state_of_the_box_are_told(site: Site) -> None:
    assert site.ask("status")["result"] == {
        "state": "ready",
        "ven_id": "ven-1",
        "vtn_id": "vtn-1",
        "leaving": False,
        "answers_waiting": 0,
        "audit": None,
    }
    assert site.ask("leave")["result"]["leaving"]
    assert names(site.session.due(NOW)) == ["CancelPartyRegistration"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "not a line of JSON"),
        (b"[" * 100_000, "not a line of JSON"),
        (b"[]", "a request is a JSON object, got list"),
        (b'{"op": "sing"}', "op 'sing' is unknown; there are events, opt"),
        (b'{"op": ["opt"]}', "is unknown"),
        (b'{"op": "opt", "opt": "optIn"}', "event_id must be a text, got None"),
        (b'{"op": "opt", "event_id": "e9", "opt": "optIn"}', "event e9 is not known here"),
        (b'{"op": "opt", "event_id": "e1", "opt": "out"}', "opt must be optIn or optOut, got 'out'"),
        (b'{"op": "opt", "event_id": "e1", "opt": ["optIn"]}', "opt must be optIn or optOut"),
        (b'{"op": "schedule", "opt": "optOut"}', "hours must be a number above 0, got None"),
        (b'{"op": "schedule", "opt": "optOut", "hours": -1}', "hours must be a number above 0"),
        (b'{"op": "schedule", "opt": "optOut", "hours": NaN}', "hours must be a number above 0"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1e99}', "a year at most"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "start": "noon"}', "must be a date and time"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "start": "2026-03-02"}', "offset from UTC"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "start": "2026-03-01T00:00Z"}', "that is over"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "reason": "rain"}', "reason must be of economic"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "programme": 3}', "programme must be a text"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1' + b"0" * 400 + b"}", "a year at most, got 1000"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 9, "start": "9999-12-31T20:00Z"}', "at the latest"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "programme": "\\u0000"}', "no message can say"),
        (b'{"op": "schedule", "opt": "optOut", "hours": 1, "reason": "x-\\ud800"}', "no message can say"),
        (b'{"op": "withdraw", "opt_id": "o"}', "no schedule has the optID o"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_and_changes_nothing(
    site: Site, line: bytes, says: str
) -> None:
    before = site.session.saved
    answer = json.loads(site.desk.answer(line))
    assert says in answer["error"]
    assert site.session.saved == before


def test_an_event_that_is_over_or_cancelled_is_left_as_it_is(site: Site) -> None:
    site.now += HOUR / 2
    talk(site.session, distribute(make_event(), cancelled(make_event("e2"))), ok(), now=site.now)
    site.now += 9 * HOUR
    assert site.ask("opt", event_id="e1", opt="optOut") == {"error": "event e1 is over"}
    assert "is cancelled" in site.ask("opt", event_id="e2", opt="optOut")["error"]


def test_before_the_ven_runs_and_without_a_registration_it_says_so() -> None:
    desk = Desk(lambda: NOW)
    assert "does not run yet" in json.loads(desk.answer(b'{"op": "status"}'))["error"]
    desk.hear(Voice(make_session(), lambda: "x", lambda: NOW, lambda: None))
    assert json.loads(desk.answer(b'{"op": "status"}'))["result"]["state"] == "unregistered"
    for line in (b'{"op": "leave"}', b'{"op": "schedule", "opt": "optOut", "hours": 1}'):
        assert json.loads(desk.answer(line)) == {"error": "the VEN is not registered"}


# the socket


def there(path: Path) -> bool:
    return path.exists()


@asynccontextmanager
async def listening(path: Path, desk: Desk) -> AsyncIterator[None]:
    task = asyncio.create_task(listen(path, desk))
    while not there(path):
        await asyncio.sleep(0)
        assert not task.done()
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_socket_is_its_owners_alone_answers_line_by_line_and_goes(
    site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "feid.sock"
    path.write_bytes(b"")
    path.unlink()
    async with listening(path, site.desk):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"op": "status"}\nnonsense\n')
        assert "result" in json.loads(await reader.readline())
        assert "error" in json.loads(await reader.readline())
        writer.write(b"x" * 100_000 + b"\n")  # hangs up on it, and lives
        assert await reader.read() == b""
        writer.close()
        _, other = await asyncio.open_unix_connection(path)
        assert other is not None
        other.close()
        with pytest.raises(SettingsError, match="another box answers there"):
            bound(path)
    assert not path.exists()


async def test_a_box_that_ends_hangs_up_on_those_who_stay_connected(site: Site, tmp_path: Path) -> None:
    async with listening(tmp_path / "feid.sock", site.desk):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "feid.sock")
        writer.write(b'{"op": "status"}\n')
        assert await reader.readline()
    async with asyncio.timeout(20):
        assert await reader.read() == b""
    writer.close()


def test_a_socket_that_a_killed_box_has_left_is_taken_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "feid.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    bound(path).close()
    path.unlink()
    path.write_text("something else")
    with pytest.raises(SettingsError, match=r"cannot listen on .*feid\.sock: Address already in use"):
        bound(path)
    assert path.read_text() == "something else"
    with pytest.raises(SettingsError, match="No such file"):
        bound(tmp_path / "nowhere" / "feid.sock")


# the command line


@pytest.fixture
def answered(tmp_path: Path, site: Site) -> Iterator[Path]:
    """A box's socket in another thread, and the settings that name it."""
    config = tmp_path / "feid.toml"
    config.write_text(
        'node = "n"\nstate = "f.sqlite"\nsocket = "feid.sock"\n[driver]\nkind = "simulated"\nsocket = "s"\n'
        '[limits]\n[ven]\nvtn_url = "http://127.0.0.1:1"\ninsecure_dev = true\nven_name = "n"\n'
        'state_path = "v.sqlite"\n'
    )
    listener = bound(tmp_path / "feid.sock")
    listener.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                line, _ = listener.accept()
                with line, line.makefile("rwb") as file:
                    file.write(site.desk.answer(file.readline()))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield config
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_each_command_says_what_the_box_does(answered: Path, site: Site) -> None:
    def say(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--config", str(answered)])
        assert done.exit_code == 0, done.output + str(done.exception)
        return json.loads(done.output)

    assert say("events")[0]["event_id"] == "e1"
    assert say("opt", "e1", "out")["opt"] == "optOut"
    opt_id = say("schedule", "out", "--hours", "2", "--reason", "economic")["opt_id"]
    assert [each["opt_id"] for each in say("schedules")] == [opt_id]
    assert say("withdraw", opt_id) == {"opt_id": opt_id}
    assert say("status")["state"] == "ready"
    assert say("leave")["leaving"]
    done = CliRunner().invoke(app, ["opt", "e9", "out", "--config", str(answered.with_name("feid.sock"))])
    assert (done.exit_code, str(done.exception)) == (1, "flexpact feid: event e9 is not known here")


def test_a_box_that_does_not_answer_or_has_no_socket_is_named(tmp_path: Path) -> None:
    config = tmp_path / "feid.toml"
    text = 'node = "n"\nstate = "f.sqlite"\n%s[driver]\nkind = "simulated"\nsocket = "s"\n[limits]\n[ven]\n'
    text += 'vtn_url = "http://127.0.0.1:1"\ninsecure_dev = true\nven_name = "n"\nstate_path = "v"\n'
    for line, says in (
        ("", 'names no socket: add socket = "feid.sock"'),
        ('socket = "feid.sock"\n', "no box answers on"),
        ("socket = 3\n", "socket must be a text, got 3"),
    ):
        config.write_text(text % line)
        done = CliRunner().invoke(app, ["status", "--config", str(config)])
        assert done.exit_code == 1
        assert str(done.exception).startswith("flexpact feid: ")
        assert says in str(done.exception)


# the box


async def held_at_the_mark(place: Town) -> bool:
    driver = place.driver()
    states = await driver.states(grid_floor(place.clock()))
    await driver.close()
    return any(state.held_until is not None for state in states)


async def test_devices_are_let_go_when_the_site_opts_out_though_no_vtn_answers(
    afternoon: Town, tmp_path: Path
) -> None:
    place = afternoon
    settings = replace(place.settings(), socket=tmp_path / "feid.sock")
    store = Store.open(settings.ven.state_path)
    known = HeldEvent(evening(), "d1", START - timedelta(hours=1), OptType.OPT_IN)
    registration = Registration("ven-1", "reg-1", "vtn-1", 10.0)
    store.save(Saved(registration=registration, synced=True, events={"e-1": known}))
    store.close()
    await place.move_to(START + CYCLE)
    stop = asyncio.Event()
    running = asyncio.create_task(run(settings, place.driver(), place.clock, place.clock.sleep, stop))
    async with asyncio.timeout(60):
        while not await held_at_the_mark(place) or not there(tmp_path / "feid.sock"):
            assert not running.done(), running.exception()
            await place.move_to(place.clock() + timedelta(minutes=1))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "feid.sock")
        writer.write(b'{"op": "opt", "event_id": "e-1", "opt": "optOut"}\n')
        assert json.loads(await reader.readline())["result"]["opt"] == "optOut"
        writer.close()
        while await held_at_the_mark(place):
            await place.move_to(place.clock() + timedelta(minutes=1))
    assert place.clock() < START + HOUR  # of the event's two
    stop.set()
    await running
    store = Store.open(settings.ven.state_path)
    assert store.load().events["e-1"].opt_type is OptType.OPT_OUT
    assert names(list(store.load().answers)) == ["CreatedEvent"]
    store.close()
