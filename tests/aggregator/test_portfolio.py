"""Nodes as they are configured, when the operator has decided otherwise since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from aggregator import enrolment, store
from openadr.security import read_fingerprint
from tests.aggregator.conftest import node_settings, write_settings
from vtn import certificate, registration
from vtn.errors import CertificateRefused
from vtn.schema import pending_table
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)


async def test_a_withdrawn_certificate_stays_out_and_stops_nobody(database: Database, tmp_path: Path) -> None:
    nodes = write_settings(tmp_path, [node_settings(number) for number in (1, 2)]).nodes
    async with database.write() as conn:
        await enrolment.enrol(conn, nodes, NOW)
        await certificate.withdraw(conn, read_fingerprint(nodes[0].fingerprint), NOW)
    with capture_logs() as logs:
        async with database.write() as conn:
            await enrolment.enrol(conn, nodes, NOW)
    assert [entry["node"] for entry in logs if "not enrolled" in entry["event"]] == [nodes[0].ven_name]
    async with database.read() as conn:
        assert await registration.ven_of(conn, nodes[0].fingerprint, NOW) is None
        assert await registration.ven_of(conn, nodes[1].fingerprint, NOW) is not None
        assert len(await store.agreements(conn)) == 2


async def test_a_new_node_with_the_certificate_of_another_is_refused(
    database: Database, tmp_path: Path
) -> None:
    nodes = write_settings(tmp_path, [node_settings(number) for number in (1, 2)]).nodes
    twin = nodes[1].model_copy(update={"fingerprint": nodes[0].fingerprint})
    with pytest.raises(CertificateRefused, match="another VEN"):
        async with database.write() as conn:
            await enrolment.enrol(conn, [nodes[0], twin], NOW)


async def test_a_second_start_changes_nothing_and_new_terms_are_a_new_version(
    database: Database, tmp_path: Path
) -> None:
    nodes = write_settings(tmp_path, [node_settings(number) for number in (1, 2, 3)]).nodes
    async with database.write() as conn:
        await enrolment.enrol(conn, nodes[:2], NOW)
    async with database.read() as conn:
        first = await store.agreements(conn), await registration.vens(conn), await certificate.enrolled(conn)
    async with database.write() as conn:
        await enrolment.enrol(conn, nodes[:2], NOW + timedelta(days=1))
    async with database.read() as conn:
        again = await store.agreements(conn), await registration.vens(conn), await certificate.enrolled(conn)
    assert again == first
    cheaper = nodes[0].agreement.model_copy(update={"price_minor_per_kwh": 1})
    changed = nodes[0].model_copy(update={"agreement": cheaper})
    async with database.write() as conn:
        await enrolment.enrol(conn, [changed, *nodes[1:]], NOW + timedelta(days=2))
    async with database.read() as conn:
        agreed = await store.agreements(conn)
        assert [ven.ven_name for ven in await registration.vens(conn)] == [one.ven_name for one in nodes]
    assert len(agreed) == 3
    kept = {ven_id for ven_id, version in first[0].items() if agreed[ven_id] == version}
    assert kept == {ven.ven_id for ven in first[1] if ven.ven_name == nodes[1].ven_name}


async def test_a_stranger_who_is_enrolled_by_the_settings_waits_no_more(
    database: Database, tmp_path: Path
) -> None:
    nodes = write_settings(tmp_path, [node_settings(1)]).nodes
    async with database.write() as conn:
        row = {"ven_name": "?", "last_seen": NOW, "attempts": 1}
        await conn.execute(insert(pending_table).values(fingerprint=nodes[0].fingerprint, **row))
        await enrolment.enrol(conn, nodes, NOW)
        assert (await conn.execute(select(pending_table))).first() is None
