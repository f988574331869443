"""Operations of the VTN as screens carry them out: the same handlers, checks and refusals as over the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.dashboard.marked import marked as _
from aggregator.dashboard.operation import DeskCall
from aggregator.dashboard.page import Visit
from vtn import api as vtn_api
from vtn.problem import Problem, invalid

_PLAINER = {"String should have at least 1 character": _("It is empty."), "Field required": _("It is empty.")}
_ROUTES = {route.name: route for route in vtn_api.ROUTES}


async def carry_out(
    visit: Visit,
    conn: AsyncConnection,
    name: str,
    path: Mapping[str, str],
    *,
    body: Mapping[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
) -> Any:
    """The answer of the operation; Problem names the fields that it does not take."""
    route = _ROUTES[name]
    try:
        checked = None if route.body is None else route.body.model_validate(dict(body or {}))
        asked = None if route.query is None else route.query.model_validate(dict(query or {}))
    except ValidationError as error:
        raise invalid(error) from error
    return await route.handle(DeskCall(visit.desk.office, conn, visit.now, path, checked, asked, visit))


def fields_of(problem: Problem) -> dict[str, str]:
    """The sentences of a refusal by field; what is about none stands under the empty name."""
    errors = problem.body.errors
    return {one.field: _PLAINER.get(one.detail, one.detail) for one in errors} or {"": problem.body.detail}
