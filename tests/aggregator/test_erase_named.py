"""What is kept of others names an erased node no more, and his own account opens nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aggregator import audit
from aggregator.erase import erase
from aggregator.erase_home import erase_home
from ledger.checkpoint import SigningKey
from ledger.log import Log
from tests.aggregator.conftest import ORIGIN, Prepared
from tests.aggregator.sealed import SealedRun, make_sealed_run
from tests.aggregator.test_erase import checked, sign
from vtn import journal
from vtn.schema import micros
from vtn.store import Database

NOW = datetime(2026, 2, 1, tzinfo=UTC)
AT = micros(NOW) - 60_000_000
NAME = "Haus Meier"
"""What the first node is called here: no other text holds it."""


@pytest.fixture(scope="module")
def run(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SealedRun:
    """One run for all tests; they copy its database."""
    return make_sealed_run(prepared, tmp_path_factory)


@pytest.fixture
def key(run: SealedRun) -> SigningKey:
    """The log's key."""
    return SigningKey.load(run.log_key)


def named(run: SealedRun, folder: Path) -> tuple[Path, str, str]:
    """A database whose first node is called NAME, and the ids of it and of another."""
    path = run.copy(folder)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        ids = dict(conn.execute("SELECT ven_name, ven_id FROM vtn_ven"))
        conn.execute("UPDATE vtn_ven SET ven_name = ? WHERE ven_name = 'node-1'", (NAME,))
    return path, ids["node-1"], ids["node-2"]


def fill(path: Path, table: str, **values: Any) -> None:
    """One more row."""
    marks = ", ".join("?" for _ in values)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", [*values.values()])


def read(path: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(query, values).fetchall()


def account(path: Path, user_id: str, scope: Sequence[str] | None, home: str | None = None) -> None:
    """Somebody who is signed in and has a token."""
    fill(
        path,
        "agg_user",
        user_id=user_id,
        name=f"Frau {user_id}",
        name_key=f"frau {user_id}",
        role="prosumer" if scope else "operator",
        password="hash",
        totp_step=0,
        created_at=AT,
        scope=json.dumps(scope) if scope else None,
        home=home,
    )
    fill(
        path,
        "agg_session",
        session_id=f"s-{user_id}",
        token_hash=f"s-{user_id}",
        user_id=user_id,
        agent="telephone",
        created_at=AT,
        seen_at=AT,
    )
    fill(
        path,
        "agg_token",
        token_id=f"t-{user_id}",
        token_hash=f"t-{user_id}",
        user_id=user_id,
        name="script",
        scopes="[]",
        created_at=AT,
        expires_at=micros(NOW) * 2,
    )


def act(path: Path, run: SealedRun, *bodies: dict[str, Any]) -> None:
    """Actions in the trail, sealed and signed."""

    async def write() -> None:
        database = await Database.open(path)
        try:
            async with database.write() as conn:
                for number, body in enumerate(bodies):
                    await journal.record(conn, "action", "", f"a{number}", body=body, now=NOW)
            log = Log(ORIGIN, SigningKey.load(run.log_key))
            await audit.seal(database, log)
        finally:
            await database.close()

    asyncio.run(write())


def action(**values: Any) -> dict[str, Any]:
    told = {"who": "u", "role": "operator", "by": "", "what": "suspend", "outcome": "done", "form_sha256": ""}
    return {**told, "objects": [], "detail": "", **values}


def test_requests_approvals_alarms_notices_answers_and_actions_forget_the_node(
    run: SealedRun, key: SigningKey, tmp_path: Path
) -> None:
    path, ven_id, other = named(run, tmp_path)
    asked = json.dumps({"nodes": {NAME: 4000, "node-2": 1000}, "power_w": 5000}, sort_keys=True)
    fill(path, "agg_request", request_id="r", event_id="e", asked=asked, answer="{}", requested_at=AT)
    approval = {
        "digest": "",
        "power_w": 1,
        "nodes": 2,
        "proposed_by": "u",
        "proposed_at": AT,
        "expires_at": AT,
    }
    fill(path, "agg_approval", approval_id="p", asked=asked, state="waiting", **approval)
    alarm = {"severity": 1, "since": AT, "changed_at": AT, "kind": "node_silent"}
    detail = json.dumps({"nodes": f"node-2, {NAME}"})
    fill(path, "agg_alarm", alarm_id="many", subject="", detail=detail, **alarm)
    notice = {"channel": "mail", "target": "x", "queued_at": AT, "due_at": AT, "tries": 0, "error": ""}
    for notice_id, name in (("n1", NAME), ("n2", "node-2")):
        body = json.dumps({"data": {"text": f"{name} is silent"}})
        fill(path, "agg_notice", notice_id=notice_id, body=body, **notice)
    answer = json.dumps({"ven_name": NAME, "nodes": [{"ven_id": ven_id}, {"ven_id": other}]})
    fill(path, "agg_api_answer", owner="u", key="k", asked="", status=200, answer=answer, made_at=AT)
    fill(path, "agg_api_answer", owner="u", key="open", asked="", status=0, answer="", made_at=AT)
    act(
        path,
        run,
        action(objects=[f"ven_id={ven_id}"]),
        action(detail=f"{NAME} has moved out"),
        action(objects=[f"ven_id={other}"], detail=f"like {NAME}s"),
    )
    erase(path, ven_id, NOW, key)
    content = path.read_bytes()
    assert ven_id.encode() not in content
    assert content.count(NAME.encode()) == content.count(f"like {NAME}s".encode())
    assert read(path, "SELECT json_extract(asked, '$.nodes') FROM agg_request WHERE request_id = 'r'") == [
        ('{"node-2":1000}',)
    ]
    assert read(path, "SELECT state FROM agg_approval") == [("void",)]
    assert read(path, "SELECT detail FROM agg_alarm WHERE alarm_id = 'many'") == [
        ('{"nodes": "node-2, (erased)"}',)
    ]
    assert read(path, "SELECT notice_id FROM agg_notice") == [("n2",)]
    assert json.loads(read(path, "SELECT answer FROM agg_api_answer WHERE key = 'k'")[0][0]) == {
        "nodes": [{"ven_id": other}],
        "ven_name": "(erased)",
    }
    assert read(path, "SELECT key FROM vtn_journal WHERE kind = 'action'") == [("action//a2",)]
    sign(path, run)
    assert "of them were erased" in checked(path, run)[0].text


def test_the_account_of_an_erased_node_is_nobody_s_and_opens_nothing(
    run: SealedRun, key: SigningKey, tmp_path: Path
) -> None:
    path, ven_id, other = named(run, tmp_path)
    account(path, "u-own", [ven_id])
    account(path, "u-two", [ven_id, other])
    account(path, "u-staff", None)
    assert erase(path, ven_id, NOW, key).rows["agg_user"] == 2
    (own,) = read(
        path,
        "SELECT name, name_key, password, scope, home, totp_secret, suspended_at FROM agg_user"
        " WHERE user_id = ?",
        "u-own",
    )
    assert own == ("erased-u-own", "erased-u-own", None, "[]", None, None, micros(NOW))
    two = read(path, "SELECT name, scope, suspended_at FROM agg_user WHERE user_id = 'u-two'")
    assert two == [("Frau u-two", json.dumps([other]), None)]
    for table in ("agg_session", "agg_token"):
        left = read(path, f"SELECT user_id FROM {table} ORDER BY user_id")
        assert left == [("u-staff",), ("u-two",)]
    assert b"Frau u-own" not in path.read_bytes()


def test_the_account_of_an_erased_home_alone_is_closed(
    run: SealedRun, key: SigningKey, tmp_path: Path
) -> None:
    path, ven_id, other = named(run, tmp_path)
    account(path, "u-home", [ven_id], "home-01")
    account(path, "u-neighbour", [ven_id], "home-02")
    account(path, "u-namesake", [other], "home-01")
    assert erase_home(path, ven_id, "home-01", NOW, key).rows["agg_user"] == 1
    suspended = dict(read(path, "SELECT user_id, suspended_at FROM agg_user"))
    assert suspended == {"u-home": micros(NOW), "u-neighbour": None, "u-namesake": None}
    assert read(path, "SELECT count(*) FROM agg_session WHERE user_id = 'u-home'") == [(0,)]
    assert b"Frau u-home" not in path.read_bytes()
