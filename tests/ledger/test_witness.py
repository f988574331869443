"""A witness over the real wire: what it cosigns, what it refuses with which code, what it keeps."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from flexpact.commands import ledger_witness
from ledger.checkpoint import Checkpoint, Cosignature, SigningKey, VerifierKey
from ledger.errors import KeyFileError, LedgerError, VerificationError
from ledger.merkle import leaf_hash
from ledger.witness import KEY_FILE, STATE_FILE, NotCosignedError, Witness, make_witness, request_text
from ledger.witness_server import SIZE_TYPE, WitnessServer
from tests.ledger.conftest import SteppedClock
from tests.ledger.evidence import WITNESSES
from tests.ledger.test_consistency import KEY, LEAVES, ORIGIN, head, proof

NAME = "dso.example/witness"
NOW = datetime(2026, 1, 20, 12, 0, 0, 900_000, tzinfo=UTC)
OTHER_KEY = SigningKey.generate("other.example/log")
FORKED = [*LEAVES[:5], leaf_hash(bytes(32), b"another"), *LEAVES[6:]]
LINES = 4  # of a note above the log's signature line


class Asked:
    """A witness in a folder and the wire to it."""

    def __init__(self, folder: Path, http: aiohttp.ClientSession, clock: SteppedClock) -> None:
        self.folder, self.http, self.clock = folder, http, clock
        self.key = make_witness(folder, NAME)
        self.logs: Sequence[VerifierKey] = (KEY.verifier, OTHER_KEY.verifier)

    async def start(self) -> None:
        """Start, or start again on what is kept."""
        self.witness = Witness(self.folder, self.logs)
        self.server = WitnessServer(self.witness, self.clock)
        await self.server.start("127.0.0.1", 0)

    async def stop(self) -> None:
        """End."""
        await self.server.stop()
        self.witness.close()

    async def ask(self, body: str | bytes) -> tuple[int, str]:
        """Code and text of the answer to add-checkpoint."""
        async with self.http.post(f"{self.server.url}/add-checkpoint", data=body) as answer:
            if answer.status == 409:
                assert answer.content_type == SIZE_TYPE
            return answer.status, await answer.text()

    async def add(self, old: int, checkpoint: Checkpoint, path: Sequence[bytes] | None = None) -> int | str:
        """The line for a checkpoint, with the right proof if none is given; the code if there is no line."""
        if path is None:
            path = proof(old, checkpoint.size).path if 0 < old <= checkpoint.size else ()
        status, text = await self.ask(request_text(old, path, checkpoint.text()))
        return text if status == 200 else status

    def kept(self) -> list[str]:
        """The evidence."""
        return [path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("fork-*"))]


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[Asked]:
    async with aiohttp.ClientSession() as http:
        made = Asked(folder, http, SteppedClock(NOW))
        await made.start()
        yield made
        await made.stop()


@pytest.fixture
async def witness(tmp_path: Path) -> AsyncIterator[Asked]:
    async with asked(tmp_path / "witness") as made:
        yield made


def cosigned(line: int | str, checkpoint: Checkpoint, key: VerifierKey) -> Cosignature:
    """The cosignature in an answer, verified."""
    assert isinstance(line, str), line
    assert line.endswith("\n")
    made = Cosignature.parse(line[:-1])
    made.verify(checkpoint, key)
    return made


async def test_a_log_that_grows_is_cosigned_at_the_witness_s_time(witness: Asked) -> None:
    one = cosigned(await witness.add(0, head(3)), head(3), witness.key)
    assert (one.name, one.time) == (NAME, int(NOW.timestamp()))
    witness.clock.advance(60)
    two = cosigned(await witness.add(3, head(17)), head(17), witness.key)
    assert two.time == one.time + 60
    with pytest.raises(VerificationError):
        two.verify(head(3), witness.key)


async def test_the_same_checkpoint_again_gets_the_same_line_also_after_a_restart(witness: Asked) -> None:
    line = await witness.add(0, head(3))
    witness.clock.advance(60)
    assert await witness.add(0, head(3)) == 409  # C2SP: the old size is not the cosigned one
    assert await witness.add(3, head(3)) == line
    await witness.stop()
    await witness.start()
    assert await witness.add(3, head(3)) == line


async def test_another_old_size_is_told_the_size_to_prove_from(witness: Asked) -> None:
    await witness.add(0, head(7))
    for old, size in ((0, 9), (3, 9), (9, 9), (3, 5), (5, 5), (0, 7)):
        path = proof(old, size).path if old else ()
        assert await witness.ask(request_text(old, path, head(size).text())) == (409, "7\n")
    assert not witness.kept()


async def test_two_trees_of_one_size_are_kept_as_a_fork(witness: Asked) -> None:
    await witness.add(0, head(7))
    with capture_logs() as lines:
        for old in (7, 0):
            assert await witness.add(old, head(7, FORKED), ()) == 409
    assert [(line["log_level"], line["event"]) for line in lines] == [("error", "A LOG FORKED")] * 2
    (kept,) = witness.kept()
    assert head(7).text() in kept
    assert head(7, FORKED).text() in kept
    assert isinstance(await witness.add(7, head(7)), str)


async def test_a_tree_that_does_not_extend_the_last_one_is_not_cosigned(witness: Asked) -> None:
    await witness.add(0, head(7))
    assert await witness.add(7, head(9, FORKED), proof(7, 9, FORKED).path) == 422
    assert not witness.kept()
    cosigned(await witness.add(7, head(9)), head(9), witness.key)


@pytest.mark.parametrize(
    "path",
    [(), proof(7, 9).path[:-1], (*proof(7, 9).path, bytes(32)), proof(6, 9).path, proof(7, 9).path[::-1]],
    ids=["none", "a hash less", "a hash more", "of another size", "in another order"],
)
async def test_a_wrong_proof_moves_nothing(witness: Asked, path: Sequence[bytes]) -> None:
    await witness.add(0, head(7))
    with capture_logs() as lines:
        assert await witness.add(7, head(9), path) == 422
    assert [line["log_level"] for line in lines] == ["warning"]  # anybody can send that
    assert not witness.kept()
    assert await witness.add(7, head(7)) != 409


async def test_a_first_checkpoint_takes_no_proof_and_no_leaves_have_one_root(witness: Asked) -> None:
    assert await witness.add(0, head(3), [bytes(32)]) == 422
    assert await witness.add(0, Checkpoint.sign(0, bytes(32), KEY)) == 422
    assert not witness.kept()
    empty = head(0)
    cosigned(await witness.add(0, empty), empty, witness.key)
    cosigned(await witness.add(0, head(3)), head(3), witness.key)


async def test_strangers_evidence_never_grows(witness: Asked) -> None:
    await witness.add(0, head(7))
    forked = head(7, FORKED)
    for key in WITNESSES:
        made = Cosignature.sign(forked, key, NOW)
        assert await witness.add(7, forked.with_cosignature(made), ()) == 409
    for path in (bytes(32), bytes(31) + b"\1"):
        assert await witness.add(7, head(9), [path]) == 422
    assert len(witness.kept()) == 1


async def test_another_key_and_another_log_are_refused(witness: Asked) -> None:
    assert await witness.add(0, head(3, key=SigningKey.generate(ORIGIN))) == 403
    assert await witness.add(0, head(3, key=SigningKey.generate("unknown.example/log"))) == 404
    wrong = replace(head(3), signature=bytes(64))
    assert await witness.add(0, wrong) == 403
    stolen = Checkpoint.sign(3, head(3).root, replace(OTHER_KEY, name=ORIGIN))
    assert await witness.add(0, stolen) == 403


async def test_each_log_stands_for_itself(witness: Asked) -> None:
    await witness.add(0, head(7))
    other = head(3, key=OTHER_KEY)
    cosigned(await witness.add(0, other), other, witness.key)
    cosigned(await witness.add(7, head(9)), head(9), witness.key)
    async with witness.http.get(f"{witness.server.url}/{ORIGIN}/checkpoint") as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        shown = Checkpoint.parse(await answer.text())
    assert replace(shown, cosignatures=()) == head(9)
    shown.cosignatures[0].verify(shown, witness.key)
    async with witness.http.get(f"{witness.server.url}/unknown/checkpoint") as answer:
        assert answer.status == 404


GOOD = request_text(0, (), head(3).text())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        GOOD.replace("old 0", "old 00"),
        GOOD.replace("old 0", "old -1"),
        GOOD.replace("old 0", "new 0"),
        GOOD.replace("old 0", "old 4"),
        GOOD.replace("old 0\n", "old 0\nAAAA\n"),
        GOOD.replace("old 0\n", "old 0\n" + 64 * (43 * "A" + "=\n")),
        GOOD[:-1],
        GOOD.rpartition("\n\n")[0],
        GOOD.replace("\u2014", "-"),
        GOOD.replace("\n3\n", "\nthree\n"),
        GOOD.replace("\n3\n", "\n9223372036854775808\n"),
        GOOD + 200 * GOOD.splitlines(keepends=True)[-1],
        GOOD + "\u2014 short AAAA\n",
    ],
)
async def test_what_is_no_request_is_refused(witness: Asked, body: str | bytes) -> None:
    status, text = await witness.ask(body)
    assert status == 400
    assert text.count("\n") == 1


async def test_too_much_is_refused(witness: Asked) -> None:
    assert (await witness.ask(bytes(100_000)))[0] == 413


async def test_checkpoints_of_other_people_s_logs_are_cosigned_as_they_came(witness: Asked) -> None:
    """C2SP lets a log add lines to its text, and signatures of kinds that a reader need not know."""
    ours = head(3).body().decode()
    body = ours + "an extension\n"
    own = Checkpoint("", 0, b"", KEY.verifier.id, KEY.sign(body.encode()))
    mine = next(line for line in replace(own, origin=ORIGIN).text().splitlines() if line.startswith("\u2014"))
    note = f"{body}\n\u2014 someone.example AAAAAAECAwQFBgc=\n{mine}\n"
    status, line = await witness.ask(request_text(0, (), note))
    assert status == 200, line
    made = Cosignature.parse(line[:-1])
    witness.key.verify(f"cosignature/v1\ntime {made.time}\n{body}".encode(), made.signature)


async def test_of_many_at_once_each_size_has_one_tree(witness: Asked) -> None:
    await witness.add(0, head(5))
    both = [head(7), head(7, FORKED)]
    asks = [
        witness.add(5, one, proof(5, 7, leaves).path)
        for one, leaves in zip(both, (LEAVES, FORKED), strict=True)
    ]
    answers = await asyncio.gather(*asks, *[witness.add(5, head(size)) for size in range(8, 20)])
    assert sum(isinstance(answer, str) for answer in answers) == 1


async def test_what_cannot_be_made_durable_is_not_cosigned(witness: Asked) -> None:
    await witness.add(0, head(3))
    state = witness.folder / STATE_FILE
    state.rename(witness.folder / "elsewhere")
    assert await witness.add(3, head(7)) == 503
    (witness.folder / "elsewhere").rename(state)
    cosigned(await witness.add(3, head(7)), head(7), witness.key)


def test_two_processes_on_one_state_agree(tmp_path: Path) -> None:
    make_witness(tmp_path, NAME)
    one, other = Witness(tmp_path, [KEY.verifier]), Witness(tmp_path, [KEY.verifier])
    one.add_checkpoint(request_text(0, (), head(7).text()).encode(), NOW)
    with pytest.raises(NotCosignedError) as refused:
        other.add_checkpoint(request_text(0, (), head(9).text()).encode(), NOW)
    assert (refused.value.status, refused.value.size) == (409, 7)
    one.close()
    other.close()


def test_a_witness_without_its_state_or_with_another_s_does_not_start(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_witness(tmp_path / name, NAME)
    with pytest.raises(KeyFileError, match="exists already"):
        make_witness(tmp_path / "a", NAME)
    with pytest.raises(KeyFileError, match="a witness's, not a log's"):
        Witness(tmp_path / "a", [SigningKey.load(tmp_path / "a" / KEY_FILE, b"\x04").verifier])
    state = tmp_path / "a" / STATE_FILE
    state.write_bytes((tmp_path / "b" / STATE_FILE).read_bytes())
    with pytest.raises(LedgerError, match="of another witness"):
        Witness(tmp_path / "a", [KEY.verifier])
    state.write_bytes(b"no database at all, just text")
    with pytest.raises(LedgerError, match="no witness's state"):
        Witness(tmp_path / "a", [KEY.verifier])
    state.unlink()
    with pytest.raises(LedgerError, match="is missing"):
        Witness(tmp_path / "a", [KEY.verifier])


KILLED_BEFORE_THE_ANSWER = """
import os, sys
from ledger.witness import Witness
add = Witness.add_checkpoint
def dies(self, raw, now):
    add(self, raw, now)
    os.kill(os.getpid(), 9)
Witness.add_checkpoint = dies
from flexpact.cli import main
main()
"""


async def test_a_witness_that_is_killed_before_it_answers_gives_the_line_that_it_kept(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    made = CliRunner().invoke(ledger_witness.app, ["witness", "init", "--dir", str(folder), "--name", NAME])
    key = VerifierKey.parse(made.output.strip())
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    serve = ["ledger", "witness", "serve", "--dir", str(folder), "--log", str(KEY.verifier)]
    async with aiohttp.ClientSession() as http:
        for start in (["-c", KILLED_BEFORE_THE_ANSWER], ["-m", "flexpact"]):
            with (folder / "log").open("w") as log:
                child = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs
                    [sys.executable, *start, *serve], stdout=subprocess.PIPE, stderr=log, text=True
                )
            assert child.stdout is not None
            with child.stdout:
                url = child.stdout.readline().split()[-1]
            body = request_text(0, (), head(3).text())
            with suppress(aiohttp.ClientError):
                async with http.post(f"{url}/add-checkpoint", data=body) as answer:
                    assert (answer.status, await answer.text()) == (409, "3\n")
                async with http.post(
                    f"{url}/add-checkpoint", data=request_text(3, (), head(3).text())
                ) as answer:
                    line = await answer.text()
                child.terminate()
            if start[0] == "-c":
                assert child.wait(30) == -signal.SIGKILL
        assert child.wait(30) == 0
    assert [json.loads(said)["event"] for said in (folder / "log").read_text().splitlines()] == [
        "not cosigned"
    ]
    made_at = cosigned(line, head(3), key).time
    kept_at = os.stat(folder / STATE_FILE).st_mtime  # noqa: PTH116 - one number
    assert abs(made_at - kept_at) < timedelta(minutes=5).total_seconds()
