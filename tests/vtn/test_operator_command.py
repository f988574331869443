"""`flexpact vtn` and `flexpact event` as an operator types them, to a VTN that is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from flexpact import bare_vtn, cli
from openadr import CreatePartyRegistration, Poll, encode
from tests.vtn.desk import ALICE, BOB, STRANGER
from vtn.errors import StartupError

TOKEN = "0123456789abcdef0123456789abcdef"
SHORT = ":".join(["C3"] * 10)


class Server:
    """A VTN by itself, started as an operator starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "token").write_text(TOKEN + "\n")
        (folder / "token").chmod(0o600)
        (folder / "vtn.toml").write_text(
            "[vtn]\nport = 0\ninsecure_dev = true\n[operator]\nsocket = 'operator.sock'\n"
            "market_context = 'http://example.org/peak'\n"
            "[operator.loopback]\nport = 0\ntoken_file = 'token'\n"
        )
        words = ("vtn", "serve", "--database", folder / "a.db", "--config", folder / "vtn.toml")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flexpact", *map(str, words)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        said = ""
        while "listening on" not in said:
            line = self.process.stdout.readline()
            assert line, said
            said += line
        self.port = int(re.findall(r"listening on 127.0.0.1 port (\d+)", said)[0])
        self.loopback = int(re.findall(r"127.0.0.1 port (\d+), with the token", said)[0])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert not (self.folder / "operator.sock").exists()

    async def say(self, service: str, body: bytes, who: str) -> None:
        url = f"http://127.0.0.1:{self.port}/OpenADR2/Simple/2.0b/{service}"
        headers = {"Content-Type": "application/xml", "X-Client-Fingerprint": who}
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("vtn"))
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def the_socket(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEXPACT_SOCKET", str(server.folder / "operator.sock"))


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[str, str, str]:
    """Standard output, standard error and the last sentence of `flexpact` with these words."""
    out, err, last = io.StringIO(), io.StringIO(), ""
    monkeypatch.setattr(sys, "argv", ["flexpact", *words])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            last = "" if end.code in (0, None) else str(end.code)
    return out.getvalue(), err.getvalue(), last


@pytest.fixture
def flexpact(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*words: str) -> Any:
        out, _, last = typed(monkeypatch, *words)
        assert last == "", last
        try:
            return json.loads(out)
        except ValueError:
            return out.strip()

    return run


def test_an_event_from_its_making_to_its_end(flexpact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flexpact("vtn", "enrol", "alice", ALICE)
    words = ("--ven", "alice", "--template", "fast-dispatch", "--start", "2099-01-20T17:00:00Z")
    more = ("--duration", "PT30M", "--value", "LOAD_DISPATCH/delta=-500,-250", "--priority", "2", "--test")
    made = flexpact("event", "create", "--id", "peak", *words, *more)
    assert [each["value"] for each in made["event"]["signals"][1]["intervals"]] == [-500.0, -250.0]
    assert made["event"]["test_event"] is True
    changed = flexpact("event", "modify", "peak", "--priority", "1", "--no-answer", "--comment", "cold")
    assert (changed["event"]["priority"], changed["event"]["response_required"]) == (1, "never")
    _, warned, _ = typed(monkeypatch, "event", "create", "--id", "next", *words, "--allow-overlap")
    assert "warning: overlap: 'alice' has event 'peak'" in warned
    *_, refused = typed(monkeypatch, "event", "create", "--id", "third", *words)
    assert refused.startswith("flexpact event: it overlaps: 'alice' has event 'next'")
    assert refused.count("\n") == 0
    cancelled = flexpact("event", "cancel", "peak", "--reason", "wind")
    assert cancelled["vens"][0]["status"] == "cancelled"
    assert flexpact("event", "show", "peak", "--ven", "alice")["vens"] == cancelled["vens"]
    assert [each["event_id"] for each in flexpact("event", "list", "--current")["events"]] == ["next"]
    assert len(flexpact("event", "list", "--limit", "1", "--after", "next")["events"]) == 1


def test_a_change_that_one_ven_stands_against_changes_nothing_and_names_it(
    flexpact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, who in (("alice", ALICE), ("bob", BOB)):
        flexpact("vtn", "enrol", name, who)
    day, vens = "2099-03-20T17:00:00Z", ("--ven", "alice", "--ven", "bob")
    words = ("--template", "fast-dispatch", "--value", "LOAD_DISPATCH/delta=-500", "--duration", "PT1H")
    made = flexpact("event", "create", "--id", "both", *vens, "--start", day, *words)
    flexpact("event", "create", "--id", "bob-next", "--ven", "bob", "--start", "2099-03-20T18:00:00Z", *words)
    for more in ((), vens):
        *_, refused = typed(monkeypatch, "event", "modify", "both", "--duration", "PT2H", *more)
        assert refused.startswith("flexpact event: it overlaps: 'bob' has event 'bob-next'")
    assert flexpact("event", "show", "both") == {**made, "warnings": []}
    flexpact("event", "cancel", "both", "--ven", "bob")
    cancelled = flexpact("event", "show", "both")
    *_, refused = typed(monkeypatch, "event", "modify", "both", "--priority", "1")
    assert refused == "flexpact event: bob: EVT-04: event 'both' is over"
    assert flexpact("event", "show", "both") == cancelled
    once = flexpact("event", "cancel", "both")
    assert [ven["status"] for ven in once["vens"]] == ["cancelled", "cancelled"]
    assert flexpact("event", "cancel", "both") == once


def test_an_event_of_a_file_with_fields_of_the_command_line_before_it(
    flexpact: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flexpact("vtn", "enrol", "alice", ALICE)
    signals = [{"signal_name": "SIMPLE", "signal_type": "level", "intervals": [{"value": 3}]}]
    content = {"vens": ["alice"], "start": "2099-05-20T17:00:00Z", "duration": "PT1H", "signals": signals}
    path = tmp_path / "event.json"
    path.write_text(json.dumps({**content, "priority": 5, "event_id": "filed"}))
    made = flexpact("event", "create", "--file", str(path), "--priority", "1", "--resource", "boiler")
    assert (made["event_id"], made["event"]["priority"]) == ("filed", 1)
    assert made["event"]["target"]["resource_id"] == ["boiler"]
    path.write_text('{"priority": null, "vtn_comment": "now"}')
    assert "priority" not in flexpact("event", "modify", "filed", "--file", str(path))["event"]
    for text, sentence in (("{", "is no JSON"), ("[]", "holds no object")):
        path.write_text(text)
        assert sentence in typed(monkeypatch, "event", "create", "--file", str(path))[2]
    assert "No such file" in typed(monkeypatch, "event", "create", "--file", str(tmp_path / "none"))[2]


async def test_a_ven_from_its_approval_to_its_trace(
    server: Server, flexpact: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def typing(*words: str) -> Any:
        return await asyncio.to_thread(flexpact, *words)

    register = encode(CreatePartyRegistration(request_id="r", ven_name="carol", http_pull_model=True))
    await server.say("EiRegisterParty", register, STRANGER)
    (waiting,) = await typing("vtn", "pending")
    assert waiting["short"] == SHORT
    ven_id = await typing("vtn", "approve", SHORT)
    await typing("vtn", "trace", "carol", "--on")
    await server.say("EiRegisterParty", register, STRANGER)
    await server.say("OadrPoll", encode(Poll(ven_id=ven_id)), STRANGER)
    shown = await typing("vtn", "trace", "carol", "--save", str(tmp_path / "t"))
    first, second = shown.splitlines()
    assert "<- EiRegisterParty oadrCreatePartyRegistration" in first
    assert "oadrCreatedPartyRegistration 200" in first
    assert "<- OadrPoll oadrPoll" in second
    names = [f"000{number}-{side}.xml" for number in (1, 2) for side in ("request", "response")]
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == names
    assert (tmp_path / "t" / "0002-request.xml").read_bytes() == encode(Poll(ven_id=ven_id))
    again = ("vtn", "trace", "carol", "--last", "1", "--save", str(tmp_path / "t"))  # two would be mixed
    assert "holds a trace already" in (await asyncio.to_thread(typed, monkeypatch, *again))[2]
    ven = await typing("vtn", "ven", "carol")
    assert (ven["state"], ven["waiting"]) == ("registered", {"register_report": 1})
    assert "carol" in [each["ven_name"] for each in await typing("vtn", "vens")]


async def test_what_a_ven_says_cannot_steer_the_terminal(
    server: Server, flexpact: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil, name, who = "\x1b]0;mine\x07\x9b2J\u202e", "eve\x9b2J\u202e", "e5" * 32
    await asyncio.to_thread(flexpact, "vtn", "enrol", "eve", who)
    with closing(sqlite3.connect(server.folder / "a.db")) as conn, conn:  # as older versions let it in
        conn.execute("UPDATE vtn_ven SET ven_name = ? WHERE ven_name = 'eve'", (name,))
    await asyncio.to_thread(flexpact, "vtn", "trace", name, "--on")
    headers = {"X-Client-Fingerprint": who, "Content-Type": "application/xml"}
    path = f"/{quote(evil)}/{'x' * 500}"
    async with aiohttp.ClientSession() as http:
        url = URL(f"http://127.0.0.1:{server.port}{path}", encoded=True)
        async with http.post(url, headers=headers) as answer:
            assert answer.status == 404
    said = [await asyncio.to_thread(typed, monkeypatch, "vtn", "trace", name)]
    assert len(said[0][0]) < 200
    said += [
        await asyncio.to_thread(typed, monkeypatch, "vtn", *words)
        for words in (("vens",), ("ven", "eve-x" + evil))
    ]
    for out, err, last in said:
        shown = out + err + last
        assert "9b" in shown.lower()
        assert [letter for letter in shown if letter != "\n" and not letter.isprintable()] == []
    assert name in [each["ven_name"] for each in json.loads(said[1][0])]


def test_what_is_done_to_a_ven(flexpact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flexpact("vtn", "enrol", "dora", "d4" * 32)
    flexpact("vtn", "suspend", "dora")
    assert flexpact("vtn", "ven", "dora")["state"] == "suspended"
    flexpact("vtn", "resume", "dora")
    assert flexpact("vtn", "set", "dora", "--poll-period", "60", "--lenient")["poll_period_s"] == 60
    signing = flexpact("vtn", "set", "dora", "--require-signatures", "--signature-leniency")
    assert (signing["signs"], signing["signature_leniency"]) == (True, True)
    assert not flexpact("vtn", "set", "dora", "--no-signatures")["signs"]
    for words in (("cancel-registration",), ("register-again",), ("request-report",), ("cancel-report",)):
        more = {"request-report": ("METADATA",), "cancel-report": ("r",)}.get(words[0], ())
        last = typed(monkeypatch, "vtn", words[0], "dora", *more)[2]
        assert last.startswith("flexpact vtn: "), last
        assert "registered" in last or "no such report" in last
    assert flexpact("vtn", "reports", "dora") == flexpact("vtn", "report-requests", "dora", "--running") == []
    assert flexpact("vtn", "opts", "--ven", "dora", "--last", "5") == []
    flexpact("vtn", "withdraw", "dora", "d4" * 32)
    assert "valid_until" in flexpact("vtn", "ven", "dora")["certificates"][0]
    assert "fast-dispatch" in [each["key"] for each in flexpact("vtn", "programmes")]
    assert "dora is not traced" in typed(monkeypatch, "vtn", "trace", "dora")[1]
    flexpact("vtn", "trace", "dora", "--off")


def test_mistakes_are_one_sentence(flexpact: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for words, sentence in (
        (("event", "show", "none"), "flexpact event: there is no event 'none'"),
        (("vtn", "ven", "nobody"), "flexpact vtn: no VEN has the id or name 'nobody'"),
        (("vtn", "enrol", "x", "5E:71"), "flexpact vtn: fingerprint: not a fingerprint: '5E:71'"),
        (("vtn", "vens", "--socket", str(tmp_path / "none")), "flexpact vtn: nobody answers on"),
        (
            ("event", "create", "--ven", "x", "--start", "now"),
            "flexpact event: start: a time is text",
        ),
    ):
        last = typed(monkeypatch, *words)[2]
        assert last.startswith(sentence)
        assert "\n" not in last
    monkeypatch.delenv("FLEXPACT_SOCKET")
    assert "--database or --socket" in typed(monkeypatch, "vtn", "enrol", "x", ALICE)[1]


def test_a_server_that_says_nothing_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        last = typed(monkeypatch, "vtn", "vens", "--socket", str(tmp_path / "s"))[2]
    assert last.startswith("flexpact vtn: nobody answers on")


async def test_the_loopback_port_serves_the_same_behind_the_token(server: Server) -> None:
    url = f"http://127.0.0.1:{server.loopback}/vtn/vens"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert answer.status == 401
        async with http.get(url, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200
            assert "vens" in await answer.json()


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("[operator]", "operator.socket: Field required"),
        ("[operator]\nsocket = 's'\ncolour = 1", "operator.colour"),
        ("[operator]\nsocket = 's'\n[operator.loopback]\nport = 0\ntoken_file = 'none'", "cannot be read"),
        ("[clerk]\nsocket = 's'", "clerk: there are the tables [vtn] and [operator] only"),
    ],
)
def test_wrong_settings_of_the_operator_are_named(tmp_path: Path, table: str, sentence: str) -> None:
    path = tmp_path / "vtn.toml"
    path.write_text(f"[vtn]\nport = 0\ninsecure_dev = true\n{table}\n")
    with pytest.raises(StartupError, match=re.escape(sentence)):
        settings = bare_vtn.read_settings(path)
        assert settings.operator is not None
        assert settings.operator.loopback is not None
        settings.operator.loopback.open()


GUIDE = Path(__file__).parents[2] / "docs" / "operator-api.md"


def test_the_guide_is_true(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    kinds = [kind for kind, _ in blocks]
    assert (kinds.count("toml"), kinds.count("json")) == (1, 2)
    Path("vtn.toml").write_text(dict(blocks)["toml"])
    assert bare_vtn.read_settings(Path("vtn.toml")).operator is not None
    written, refusal = [json.loads(text) for kind, text in blocks if kind == "json"]
    Path("peak.json").write_text(json.dumps(written))
    for kind, text in blocks:
        if kind == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, expected = command.partition("\n")
                program, *words = shlex.split(line)
                assert program == "flexpact"
                said, _, last = typed(monkeypatch, *words)
                assert last == "", (line, last)
                said_lines = iter(said.splitlines())
                for wanted in expected.splitlines():
                    assert wanted in said_lines, (line, wanted, said)
    written["signals"][0]["intervals"][0]["value"] = 4
    Path("wrong.json").write_text(json.dumps({**written, "start": "2099-04-03T17:00:00Z"}))
    *_, last = typed(monkeypatch, "event", "create", "--file", "wrong.json", "--id", "other")
    assert last == f"flexpact event: {refusal['detail'].replace('peak-1', 'other')}"
