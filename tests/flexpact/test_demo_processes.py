import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from flexpact.clock import Clock
from flexpact.demo.errors import ChildDiedError, DemoError
from flexpact.demo.layout import Layout, prepare
from flexpact.demo.plan import Options, Plan, make_plan
from flexpact.demo.processes import Fleet, free_port, last_words, make_directory, peak_rss_mb
from flexpact.pki import load
from tests.walks.processes import wait_for_end


@pytest.fixture
def chain(tmp_path: Path) -> list[str]:
    """A command that lives until it is ended: the embedded chain."""
    (tmp_path / "chain").mkdir()
    return ["ledger", "chain", "serve", "--dir", str(tmp_path / "chain"), "--port", str(free_port())]


async def _died(fleet: Fleet, name: str) -> str:
    """Return the sentence with which the fleet reports that the child died."""
    await fleet.wait(name)
    with pytest.raises(ChildDiedError) as died:
        fleet.check()
    return str(died.value)


async def test_a_child_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    async with Fleet(tmp_path / "logs") as fleet:
        await fleet.start("pki", "pki", "issue", str(tmp_path / "nowhere"), "node-1")
        said = await _died(fleet, "pki")
    assert said.startswith("pki ended with exit code 1: ")
    assert "make an authority first" in said


async def test_a_command_that_must_succeed_is_waited_for(tmp_path: Path) -> None:
    async with Fleet(tmp_path / "logs") as fleet:
        said = await fleet.run("authority", "pki", "init", str(tmp_path / "pki"))
        assert said == str(tmp_path / "pki" / "ca.pem")
        with pytest.raises(ChildDiedError, match="already holds an authority"):
            await fleet.run("authority", "pki", "init", str(tmp_path / "pki"))


async def test_a_child_killed_from_outside_is_reported(tmp_path: Path, chain: list[str]) -> None:
    async with Fleet(tmp_path / "logs") as fleet:
        await fleet.start("chain", *chain)
        fleet.check()
        os.kill(fleet.pid("chain"), signal.SIGKILL)
        assert "signal SIGKILL" in await _died(fleet, "chain")


async def test_a_child_that_the_demo_kills_is_no_accident(tmp_path: Path, chain: list[str]) -> None:
    async with Fleet(tmp_path / "logs") as fleet:
        await fleet.start("chain", *chain)
        first = fleet.pid("chain")
        await fleet.kill("chain")
        fleet.check()
        await fleet.restart("chain")
        assert fleet.pid("chain") != first
        fleet.check()
        fleet.measure()
        assert fleet.peak_rss_mb("chain") > 0
        assert fleet.peak_rss_mb("node-") == 0


async def test_leaving_the_fleet_leaves_no_process_behind(tmp_path: Path, chain: list[str]) -> None:
    async with Fleet(tmp_path / "logs") as fleet:
        await fleet.start("chain", *chain)
        pid = fleet.pid("chain")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


PARENT = """
import asyncio, sys
from pathlib import Path
from flexpact.demo.processes import Fleet

async def main():
    async with Fleet(Path(sys.argv[1])) as fleet:
        await fleet.start("chain", *sys.argv[2:])
        await fleet.kill("chain")
        await fleet.restart("chain")
        while not await answers(int(sys.argv[-1])):
            await asyncio.sleep(0.05)
        print(fleet.pid("chain"), flush=True)
        await fleet.wait("chain")

async def answers(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True

asyncio.run(main())
"""


def test_a_child_dies_with_a_killed_parent_also_when_it_was_restarted(
    tmp_path: Path, chain: list[str]
) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "logs"), *chain]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        parent.kill()
    wait_for_end(child)


def test_a_child_that_comes_to_life_after_its_parent_died_ends_at_once(tmp_path: Path) -> None:
    gone = 2**22 + 1
    command = [sys.executable, "-m", "flexpact.demo.child", str(gone), "flexpact", "pki", "authority"]
    done = subprocess.run([*command, str(tmp_path / "pki")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "pki").exists()


def test_memory_is_that_of_the_process_and_zero_for_none() -> None:
    assert 1 < peak_rss_mb(os.getpid()) < 4000
    assert peak_rss_mb(2**22 + 1) == 0


def test_the_last_words_come_without_decoration(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("first\n│ the cause │\n╰──────╯\n\n")
    assert last_words(log) == "the cause"
    log.write_text("")
    assert last_words(log) == "it said nothing"
    assert last_words(tmp_path / "absent") == "it left no log"


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    make_directory(tmp_path / "new")
    (tmp_path / "new" / "file").touch()
    with pytest.raises(DemoError, match="not empty"):
        make_directory(tmp_path / "new")


def test_a_directory_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DemoError, match=r"file/out cannot be written: Not a directory"):
        make_directory(tmp_path / "file" / "out")


def _plan(tmp_path: Path) -> Plan:
    return make_plan(Options(out=tmp_path))


def test_everything_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path)
    prints = prepare(layout, _plan(tmp_path), Clock.real()())
    assert list(prints) == [f"node-{n}" for n in range(1, 7)]
    secret = [layout.log_key, layout.chain_key, *layout.pki.glob("*.key")]
    assert len(secret) == 2 + 1 + 2 + 6
    assert all(path.stat().st_mode & 0o077 == 0 for path in secret)


def test_certificates_outlast_the_played_day_however_late_it_is(tmp_path: Path) -> None:
    layout, now = Layout(tmp_path, tmp_path), Clock.real()()
    plan = replace(_plan(tmp_path), end=now + timedelta(days=800))
    prepare(layout, plan, now)
    for path in layout.pki.glob("*.pem"):
        assert load(path)[0].not_after > plan.end


def test_a_second_demo_does_not_write_over_the_first(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path)
    prepare(layout, _plan(tmp_path), Clock.real()())
    with pytest.raises(DemoError, match="File exists"):
        prepare(layout, _plan(tmp_path), Clock.real()())
