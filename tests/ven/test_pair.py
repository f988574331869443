"""VEN and VTN joined in memory: whole conversations, step by step, on a clock that the test moves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from openadr import CancelReport, CreatedEvent
from openadr.enums import OptType
from tests.pair import Pair
from tests.ven.site import HISTORY, NOW, OFFER, QUARTER, USAGE, Site, energy_wh
from tests.ven.wire import plain
from tests.vtn.desk import anything_goes, make_event, request_all
from ven.states import State
from vtn import event, registration
from vtn.report import readings
from vtn.store import Database

MINUTE = timedelta(minutes=1)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def pair(database: Database, tmp_path: Path, site: Site) -> Pair:
    return await Pair.join(database, plain(1, tmp_path / "unused"), site, request_all, NOW)


def names(said: list[tuple[object, object]]) -> list[tuple[str, str]]:
    return [(type(asked).__name__, type(answer).__name__) for asked, answer in said]


async def test_g_01_a_ven_starts_from_nothing(pair: Pair) -> None:
    said = await pair.run(NOW)
    assert names(said)[:7] == [  # type: ignore[arg-type] - messages are objects
        ("QueryRegistration", "CreatedPartyRegistration"),
        ("CreatePartyRegistration", "CreatedPartyRegistration"),
        ("RegisterReport", "RegisteredReport"),
        ("CreatedReport", "Response"),
        ("RequestEvent", "DistributeEvent"),
        ("Poll", "RegisterReport"),
        ("RegisteredReport", "Response"),
    ]
    assert pair.session.state is State.READY
    assert set(pair.session.saved.requests) == {f"ask-{USAGE}", f"ask-{OFFER}"}


async def test_g_16_history_telemetry_and_offers_arrive_as_the_site_read_them(
    pair: Pair, site: Site, database: Database
) -> None:
    await pair.run(NOW)
    for step in range(1, 5):
        now = NOW + step * QUARTER
        site.complete_until = now
        await pair.run(now)
    known = pair.session.saved.registration
    assert known is not None
    async with database.read() as conn:
        rows = await readings(
            conn,
            ven_ids=[known.ven_id],
            r_ids=["load", "offer"],
            report_names=[HISTORY, USAGE, OFFER],
            start=NOW - timedelta(days=29),
            end=NOW + timedelta(days=2),
        )
    counts = {name: sum(row.report_name == name for row in rows) for name in (HISTORY, USAGE, OFFER)}
    assert (counts[HISTORY], counts[USAGE]) == (28 * 96, 4)
    assert counts[OFFER] >= 96
    assert all(row.value == energy_wh(row.r_id, row.start) for row in rows)


async def test_g_08_an_event_is_modified_three_times_and_cancelled(
    pair: Pair, site: Site, database: Database
) -> None:
    await pair.run(NOW)
    known = pair.session.saved.registration
    assert known is not None
    made = make_event(start=NOW + timedelta(hours=2))
    async with database.write() as conn:
        await event.publish(conn, made, known.ven_id, NOW, anything_goes)
    for step in range(1, 5):
        now = NOW + step * 2 * MINUTE
        await pair.run(now)
        async with database.write() as conn:
            if step < 4:
                longer = make_event(start=NOW + timedelta(hours=2 + step))
                await event.modify(conn, longer, known.ven_id, now, anything_goes)
            else:
                await event.cancel(conn, "e1", known.ven_id, now)
    said = await pair.run(NOW + 20 * MINUTE)
    assert any(isinstance(asked, CreatedEvent) for asked, _ in said)
    assert site.decided == [("e1", 0), ("e1", 1), ("e1", 2), ("e1", 3)]
    async with database.read() as conn:
        (state,) = await event.event_states(conn, "e1")
    assert (state.modification_number, state.opt) == (4, OptType.OPT_IN)


async def test_a_restart_at_any_step_ends_in_the_same_state(pair: Pair, site: Site) -> None:
    for _ in range(12):
        due = pair.session.due(NOW)
        if not due:
            break
        pair.session.receive(await pair.ask(due[0], NOW), NOW)
        pair.restart()
    await pair.run(NOW)
    assert pair.session.state is State.READY
    created = [asked for asked, _ in pair.said if type(asked).__name__ == "CreatePartyRegistration"]
    assert len(created) == 1


async def test_a_repeated_registration_after_a_lost_answer_gives_the_same_ids(pair: Pair) -> None:
    await pair.ask(pair.session.due(NOW)[0], NOW)
    pair.restart()
    asked = pair.session.due(NOW)[0]
    pair.session.receive(await pair.ask(asked, NOW), NOW)
    create = pair.session.due(NOW)[0]
    await pair.ask(create, NOW)  # the answer is lost
    pair.restart()
    await pair.run(NOW)
    async with pair.db.read() as conn:
        (known,) = await registration.vens(conn)
    saved = pair.session.saved.registration
    assert saved is not None
    assert (saved.ven_id, saved.registration_id) == (known.ven_id, known.registration_id)


async def test_a_cancelled_report_ends(pair: Pair, site: Site) -> None:
    await pair.run(NOW)
    asked = CancelReport(request_id="x1", report_request_ids=(f"ask-{USAGE}",))
    poll = pair.session.due(NOW + 5 * MINUTE)[0]
    assert type(poll).__name__ == "Poll"
    pair.session.receive(asked, NOW + 5 * MINUTE)
    assert set(pair.session.saved.requests) == {f"ask-{OFFER}"}
