"""Templates of events over the network."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import Caller, token_of

BODY: dict[str, Any] = {
    "name": "evening peak",
    "start": "17:00",
    "end": "19:00",
    "zone": "Europe/Berlin",
    "power_kw": 5,
}


async def test_a_template_is_kept_changed_and_deleted(house: House) -> None:  # noqa: F811
    program = Caller(house, await token_of(house))
    answer, made = await program.ask("POST", "/event-templates", BODY, Idempotency_Key="k-1")
    again, same = await program.ask("POST", "/event-templates", BODY, Idempotency_Key="k-1")
    assert (answer.status, again.status, same) == (201, 201, made)
    answer, said = await program.ask("POST", "/event-templates", {**BODY, "name": "Evening Peak"})
    assert (answer.status, said["errors"][0]["field"]) == (409, "name")
    path = f"/event-templates/{made['template_id']}"
    answer, shown = await program.ask("GET", path)
    seen = answer.headers["ETag"]
    assert shown == made
    nodes = {name: value for name, value in BODY.items() if name != "power_kw"} | {"nodes": {"node-1": 1.5}}
    answer, changed = await program.ask("PUT", path, nodes, If_Match=seen)
    assert (answer.status, changed["nodes"], changed["version"]) == (200, {"node-1": 1.5}, 2)
    answer, said = await program.ask("PUT", path, BODY, If_Match=seen)
    assert (answer.status, "nodes" in [one["field"] for one in said["errors"]]) == (412, True)
    viewer = Caller(house, await token_of(house, Role.VIEWER))
    answer, said = await viewer.ask("GET", "/event-templates")
    assert [one["name"] for one in said["templates"]] == ["evening peak"]
    answer, _ = await viewer.ask("DELETE", path)
    assert answer.status == 403
    answer, gone = await program.ask("DELETE", path)
    assert (answer.status, gone) == (200, changed)
    answer, _ = await program.ask("GET", path)
    assert answer.status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "storm \u202eover"}, "name"),
        ({"start": "24:00"}, "start"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"power_kw": 0.0001}, "power_kw"),
        ({"nodes": {"node-1": 1}}, "power_kw"),
        ({"nodes": {"node-1": "much"}}, "nodes.node-1"),
    ],
    ids=["turned text", "no time", "no zone", "less than a watt", "power and nodes", "no number"],
)
async def test_what_cannot_be_is_refused_with_its_field(
    house: House,  # noqa: F811
    change: dict[str, Any],
    field: str,
) -> None:
    program = Caller(house, await token_of(house))
    answer, said = await program.ask("POST", "/event-templates", {**BODY, **change})
    assert answer.status in (400, 422), said
    assert field in [one["field"] for one in said["errors"]]
