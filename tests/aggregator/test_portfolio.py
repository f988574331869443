"""Nodes as they are configured, when the operator has decided otherwise since."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from aggregator import portfolio, store
from openadr.security import read_fingerprint
from tests.aggregator.conftest import node_settings, write_settings
from vtn import certificate, registration
from vtn.errors import CertificateRefused
from vtn.store import Database

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)


async def test_a_withdrawn_certificate_stays_out_and_stops_nobody(database: Database, tmp_path: Path) -> None:
    nodes = write_settings(tmp_path, [node_settings(number) for number in (1, 2)]).nodes
    async with database.write() as conn:
        await portfolio.enrol(conn, nodes, NOW)
        await certificate.withdraw(conn, read_fingerprint(nodes[0].fingerprint), NOW)
    with capture_logs() as logs:
        async with database.write() as conn:
            await portfolio.enrol(conn, nodes, NOW)
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
            await portfolio.enrol(conn, [nodes[0], twin], NOW)
