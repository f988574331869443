"""The nodes as the dashboard shows them, as JSON: the same filter, order and pages."""

from __future__ import annotations

from pydantic import Field

from aggregator.access.permission import Permission
from aggregator.dashboard import node_detail_api
from aggregator.dashboard.health import Health
from aggregator.dashboard.node_certificate import Urgency, urgency
from aggregator.dashboard.node_query import NodeList, NodeQuery, Row
from aggregator.dashboard.operation import DeskCall, Operation
from vtn.api_route import Answer, At, Route


class ListedNode(Answer):
    """One node of the list."""

    ven_id: str
    ven_name: str
    state: Health
    last_contact: At | None
    certificate_until: At | None = Field(
        description="When the last one ends of the certificates that are taken, where that is known."
    )
    certificate_urgency: Urgency = Field(description="`over`, or within a `day`, `week` or `month`.")
    certificates: int = Field(description="How many are taken; 0: it cannot connect.")
    in_programme: bool
    poll_period_s: int | None = Field(description="Its own rhythm, null where the server's holds.")
    registered_at: At | None
    suspended_at: At | None


class NodePage(Answer):
    """One page of the nodes that fit, and how all nodes are doing."""

    nodes: list[ListedNode]
    found: int
    page: int
    pages: int
    states: dict[Health, int]
    certificates_ending: int = Field(description="Nodes whose last certificate ends within 30 days.")


async def _list(call: DeskCall) -> Answer:
    query: NodeQuery = call.query
    listed = await NodeList(
        now=call.now,
        heard=call.office.contacts(),
        poll_period_s=call.desk.settings.vtn.poll_period_s,
        scope=call.principal.scope,
    ).page(call.conn, query)
    return NodePage(
        nodes=[_node(row, call) for row in listed.rows],
        found=listed.found,
        page=query.page,
        pages=listed.pages(int(query.size)),
        states={state: listed.states.get(state, 0) for state in Health},
        certificates_ending=listed.ending,
    )


def _node(row: Row, call: DeskCall) -> ListedNode:
    ends = urgency(row.certificate_until, call.now) if row.certificates else Urgency.OVER
    return ListedNode(
        ven_id=row.ven_id,
        ven_name=row.ven_name,
        state=row.state,
        last_contact=row.contact,
        certificate_until=row.certificate_until,
        certificate_urgency=ends,
        certificates=row.certificates,
        in_programme=row.in_programme,
        poll_period_s=row.poll_period_s,
        registered_at=row.registered_at,
        suspended_at=row.suspended_at,
    )


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/fleet",
            name="listFleet",
            summary="The nodes that fit a filter, a page of them, and how all are doing.",
            handle=_list,
            answer=NodePage,
            query=NodeQuery,
            passing=("nodes", "states"),
        ),
        permission=Permission.FLEET_READ,
    ),
    *node_detail_api.OPERATIONS,
)
