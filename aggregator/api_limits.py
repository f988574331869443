"""Operations for the limits of events: what binds, and stricter ones than the settings file's."""

from __future__ import annotations

from pydantic import Field, ValidationError

from aggregator import limit_rules, operator_choice
from aggregator.access.permission import Permission
from aggregator.dashboard import limits
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.limit_settings import LimitSettings
from aggregator.operator_choice import LimitChoice
from vtn.api_route import Answer, At, Body, Route
from vtn.problem import INVALID, FieldProblem, Problem, invalid, shown


class LimitValues(Answer):
    """Limits; what is left out does not limit."""

    approval_above_kw: float | None
    approval_above_share: float | None
    approval_expires_s: int | None
    max_concurrent_kw: float | None
    max_ramp_kw_per_min: float | None
    max_events_per_day: int | None


class LimitsView(Answer):
    """What binds events, and where that comes from."""

    in_force: LimitValues = Field(description="Of each limit the stricter one.")
    file: LimitValues = Field(description="What the settings file allows at the most.")
    own: LimitValues = Field(description="What admins have set.")
    version: int = Field(description="Of `own`; 0 where nothing was set yet.")
    changed_at: At | None = None
    changed_by: str | None = Field(default=None, description="The id of a user.")


class LimitsBody(Body):
    """Stricter limits than those of the settings file; what is left out is as the file says."""

    version: int = Field(description="The version that this replaces; 0 where nothing was set yet.")
    approval_above_kw: float | None = None
    approval_above_share: float | None = None
    approval_expires_s: int | None = None
    max_concurrent_kw: float | None = None
    max_ramp_kw_per_min: float | None = None
    max_events_per_day: int | None = None


async def _show(call: DeskCall) -> Answer:
    portfolio = call.desk.portfolio
    own, version = await operator_choice.read(call.conn, LimitChoice)
    changed = await operator_choice.last_change(call.conn, LimitChoice)
    return LimitsView(
        in_force=_values((await portfolio.rules_of(call.conn)).limits),
        file=_values(portfolio.file_limits),
        own=_values(own),
        version=version,
        changed_at=changed[0] if changed else None,
        changed_by=changed[1] if changed else None,
    )


async def _put(call: DeskCall) -> Answer:
    values = {name: value for name, value in call.body.model_dump().items() if value is not None}
    version = values.pop("version")
    try:
        new = LimitChoice.model_validate({name: str(value) for name, value in values.items()})
    except ValidationError as error:
        raise invalid(error) from error
    allowed = limit_rules.beyond(call.desk.portfolio.file_limits, new)
    if allowed:
        faults = [
            FieldProblem(
                field=name, value=shown(values[name]), detail=f"the settings file allows at most {most}"
            )
            for name, most in allowed.items()
        ]
        raise Problem(INVALID, "the settings file is the upper bound", faults)
    await limits.change(call.visit, call.conn, new, version)
    return await _show(call)


def _values(of: LimitSettings | LimitChoice) -> LimitValues:
    return LimitValues.model_validate({name: getattr(of, name) for name in limit_rules.NAMES})


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/limits",
            name="showLimits",
            summary="What limits events.",
            handle=_show,
            answer=LimitsView,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="PUT",
            path="/limits",
            name="changeLimits",
            summary="Set stricter limits than the settings file's, or some that are less strict again.",
            handle=_put,
            answer=LimitsView,
            body=LimitsBody,
            example={"version": 0, "max_concurrent_kw": 2000},
            refusals=(409,),
        ),
        permission=Permission.SETTINGS_WRITE,
        fresh=True,
    ),
)
