"""Operations for templates of events."""

from __future__ import annotations

from datetime import time
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, StringConstraints

from aggregator import event_template
from aggregator.access import name as names
from aggregator.access.errors import FieldError
from aggregator.access.permission import Permission
from aggregator.access.secret import new_id
from aggregator.api_requests import PowerKw
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.errors import BadInputError
from aggregator.event_template import LONGEST_NAME, Content, Template
from vtn.api_route import Answer, At, Body, Id, Route

OF_ONE = {"template_id": "Id of the template."}
EXAMPLE = {"name": "evening peak", "start": "17:00", "end": "19:00", "zone": "Europe/Berlin", "power_kw": 5}
Clock = Annotated[str, StringConstraints(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
_ZONES = available_timezones()


def _zone(text: str) -> str:
    if text not in _ZONES:
        raise ValueError("is no time zone such as Europe/Berlin")
    return text


def _name(text: str) -> str:
    try:
        return names.checked("name", text, LONGEST_NAME)
    except FieldError as error:
        raise ValueError(error.text) from None


class TemplateBody(Body):
    """A template of an event. Either `power_kw`, and the nodes will be chosen by price, or `nodes`."""

    name: Annotated[str, AfterValidator(_name)] = Field(max_length=4 * LONGEST_NAME)
    start: Clock = Field(description="Time of day, in `zone`.")
    end: Clock = Field(description="At or before the start: on the next day.")
    zone: Annotated[str, AfterValidator(_zone)] = Field(max_length=64, description="IANA name.")
    power_kw: PowerKw | None = None
    nodes: dict[Id, PowerKw] | None = Field(default=None, min_length=1, max_length=100)
    test_event: bool = False

    def template(self, template_id: str, call: DeskCall) -> Template:
        """The template as a value; BadInputError where it asks for nothing, or for both."""
        if (self.power_kw is None) == (self.nodes is None):
            raise BadInputError("power_kw: give either power_kw or nodes")
        watts = None if self.nodes is None else {name: int(kw * 1000) for name, kw in self.nodes.items()}
        power_w = None if self.power_kw is None else int(self.power_kw * 1000)
        if power_w == 0 or (watts and not all(watts.values())):
            raise BadInputError("power_kw: at least one watt must be asked for")
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        content = Content(start, end, self.zone, power_w, watts, self.test_event)
        return Template(template_id, self.name, content, 1, call.now, call.principal.user_id or "")


class TemplateView(Answer):
    """A template of an event."""

    template_id: str
    name: str
    start: str
    end: str
    zone: str
    power_kw: float | None
    nodes: dict[str, float] | None
    test_event: bool
    version: int
    changed_at: At
    changed_by: str


class TemplatesView(Answer):
    """All of them by name: at most two hundred."""

    templates: list[TemplateView]


def _view(one: Template) -> TemplateView:
    content = one.content
    return TemplateView(
        template_id=one.template_id,
        name=one.name,
        start=f"{content.start:%H:%M}",
        end=f"{content.end:%H:%M}",
        zone=content.zone,
        power_kw=None if content.power_w is None else content.power_w / 1000,
        nodes=None
        if content.nodes is None
        else {name: watts / 1000 for name, watts in content.nodes.items()},
        test_event=content.test_event,
        version=one.version,
        changed_at=one.changed_at,
        changed_by=one.changed_by,
    )


async def _list(call: DeskCall) -> Answer:
    return TemplatesView(templates=[_view(one) for one in await event_template.templates(call.conn)])


async def _show(call: DeskCall) -> Answer:
    return _view(await event_template.find(call.conn, call.path["template_id"]))


async def _add(call: DeskCall) -> Answer:
    made = call.body.template(new_id("t"), call)
    call.visit.about(f"template={made.template_id}")
    return _view(await event_template.add(call.conn, made))


async def _change(call: DeskCall) -> Answer:
    found = await event_template.find(call.conn, call.path["template_id"])
    wanted = call.body.template(found.template_id, call)
    return _view(await event_template.change(call.conn, wanted, found.version))


async def _remove(call: DeskCall) -> Answer:
    found = await event_template.find(call.conn, call.path["template_id"])
    return _view(await event_template.remove(call.conn, found.template_id, found.version))


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/event-templates",
            name="listEventTemplates",
            summary="Templates of events by name.",
            handle=_list,
            answer=TemplatesView,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/event-templates",
            name="addEventTemplate",
            summary="Keep a template of an event; nothing is sent.",
            handle=_add,
            answer=TemplateView,
            body=TemplateBody,
            status=201,
            example=EXAMPLE,
            refusals=(409,),
        ),
        permission=Permission.EVENT_WRITE,
    ),
    Operation(
        route=Route(
            method="GET",
            path="/event-templates/{template_id}",
            name="showEventTemplate",
            summary="One of them.",
            handle=_show,
            answer=TemplateView,
            parameters=OF_ONE,
        ),
        permission=Permission.FLEET_READ,
    ),
    Operation(
        route=Route(
            method="PUT",
            path="/event-templates/{template_id}",
            name="changeEventTemplate",
            summary="Replace a template.",
            handle=_change,
            answer=TemplateView,
            body=TemplateBody,
            parameters=OF_ONE,
            example=EXAMPLE,
            refusals=(409,),
        ),
        permission=Permission.EVENT_WRITE,
    ),
    Operation(
        route=Route(
            method="DELETE",
            path="/event-templates/{template_id}",
            name="removeEventTemplate",
            summary="Delete a template; the answer is what it was.",
            handle=_remove,
            answer=TemplateView,
            parameters=OF_ONE,
        ),
        permission=Permission.EVENT_WRITE,
    ),
)
