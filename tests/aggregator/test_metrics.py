"""What Prometheus, Grafana and whoever watches the process are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiohttp import hdrs
from prometheus_client.parser import text_string_to_metric_families

from aggregator.access.permission import Role
from aggregator.probes import FRESH_S, Probes
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import token_of
from vtn.latency import STEPS_S, Latencies
from vtn.server import POLL

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana" / "flexpact.json"


async def scraped(house: House, token: str) -> dict[str, dict[tuple[str, ...], float]]:  # noqa: F811
    """The samples by name and labels."""
    headers = {hdrs.AUTHORIZATION: f"Bearer {token}"}
    async with house.http.get(f"{house.address}/api/v1/metrics", headers=headers) as answer:
        assert answer.status == 200
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(await answer.text()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_metrics_are_for_who_may_see_the_fleet(house: House) -> None:  # noqa: F811
    auditor = await token_of(house, Role.AUDITOR)
    for headers, status in (({}, 401), ({hdrs.AUTHORIZATION: f"Bearer {auditor}"}, 403)):
        async with house.http.get(f"{house.address}/api/v1/metrics", headers=headers) as answer:
            assert answer.status == status


async def test_metrics_say_how_the_platform_does(house: House) -> None:  # noqa: F811
    token = await token_of(house, Role.VIEWER)
    assert house.aggregator.web is not None
    house.desk.vtn.latencies.add((POLL, "200"), 0.002)
    async with house.http.get(house.address + "/nowhere") as answer:
        assert answer.status == 404
    house.desk.db.failures += 1
    found = await scraped(house, token)
    assert found["flexpact_vens"][("waiting",)] == 1
    assert sum(found["flexpact_vens"].values()) == 1
    assert found["flexpact_vtn_request_seconds_count"][(POLL, "200")] == 1
    assert found["flexpact_vtn_request_seconds_bucket"][("0.001", POLL, "200")] == 0
    assert found["flexpact_vtn_request_seconds_bucket"][("0.0025", POLL, "200")] == 1
    assert found["flexpact_http_request_seconds_count"][("", "", "404")] == 1
    assert found["flexpact_db_write_errors_total"] == {(): 1.0}
    assert found["flexpact_facts_unsealed"][()] >= 0
    assert (found["flexpact_chain_alarm"], found["flexpact_ready"]) == ({(): 0.0}, {(): 1.0})
    second = await scraped(house, token)
    assert second["flexpact_http_request_seconds_count"][("GET", "metrics", "200")] == 1


async def test_every_metric_of_the_grafana_dashboard_is_told(house: House) -> None:  # noqa: F811
    token = await token_of(house, Role.VIEWER)
    await scraped(house, token)
    found = await scraped(house, token)
    named = set(re.findall(r"flexpact_\w+", json.dumps(json.loads(GRAFANA.read_text())["panels"])))
    assert len(named) > 12
    assert named <= found.keys()
    told = {re.sub("_(bucket|count|sum)$", "", name) for name in found if name.startswith("flexpact_")}
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in named}
    assert {name for name in told if not name.endswith("_created")} == shown


async def test_a_database_that_takes_nothing_makes_it_alive_and_not_ready(house: House) -> None:  # noqa: F811
    async def asked(path: str) -> tuple[int, object]:
        async with house.http.get(house.address + path) as answer:
            return answer.status, await answer.json()

    assert await asked("/health") == (200, {"ok": True})
    well = {"database": True, "listener": True, "tasks": True}
    assert await asked("/ready") == (200, {"ok": True, "checks": well})
    await house.desk.vtn.stop()
    assert await asked("/ready") == (503, {"ok": False, "checks": {**well, "listener": False}})
    await house.desk.tasks.stop()
    probes = Probes(Latencies())
    assert (await probes._checks(house.desk))["database"]
    await house.desk.db.close()
    assert (await probes._checks(house.desk))["database"]  # asked less than five seconds ago
    probes._tried_at -= FRESH_S
    assert await probes._checks(house.desk) == dict.fromkeys(well, False)
    assert (await asked("/health"))[0] == 200


def test_a_latency_counts_up_to_its_step() -> None:
    known = Latencies()
    for seconds in (STEPS_S[0], 0.003, 60.0):
        known.add(("poll",), seconds)
    counts = known.kinds[("poll",)].counts
    assert [index for index, count in enumerate(counts) if count] == [0, 3, len(STEPS_S)]
