"""Operations for notices: what came of them, and one that says it is a test."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aggregator import notice
from aggregator.access.permission import Permission
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.notice import Channel
from vtn.api_route import Answer, At, Query, Route

MOST = 200


class NoticeQuery(Query):
    """How many are listed."""

    limit: int = Field(default=20, ge=1, le=MOST, description="At most so many, the newest.")


class NoticeView(Answer):
    """One message to one target, and how far it has come."""

    notice_id: str
    channel: Channel
    target: str
    body: dict[str, Any]
    queued_at: At
    due_at: At = Field(description="When it is tried next, while it is neither taken nor given up.")
    tries: int
    sent_at: At | None
    given_up_at: At | None
    error: str = Field(description="Of the last try.")


class NoticeList(Answer):
    """The newest notices, whatever came of them."""

    notices: list[NoticeView]


class TestView(Answer):
    """To how many targets a test is on its way."""

    targets: int


async def _list(call: DeskCall) -> Answer:
    found = await notice.newest(call.conn, call.query.limit)
    return NoticeList(
        notices=[
            NoticeView(
                notice_id=one.notice_id,
                channel=one.target.channel,
                target=one.target.address,
                body=dict(one.body),
                queued_at=one.queued_at,
                due_at=one.due_at,
                tries=one.tries,
                sent_at=one.sent_at,
                given_up_at=one.given_up_at,
                error=one.error,
            )
            for one in found
        ]
    )


async def _test(call: DeskCall) -> Answer:
    watch = call.desk.watch
    count = await watch.notifier.test(call.conn, call.principal.name, call.now) if watch else 0
    return TestView(targets=count)


OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/notices",
            name="listNotices",
            summary="The newest notices: to whom, of what, taken or not.",
            handle=_list,
            answer=NoticeList,
            query=NoticeQuery,
            passing=("notices",),
        ),
        permission=Permission.SETTINGS_WRITE,
    ),
    Operation(
        route=Route(
            method="POST",
            path="/notices/test",
            name="testNotices",
            summary="Send a message that says it is a test to everybody who would be told of an alarm.",
            handle=_test,
            answer=TestView,
        ),
        permission=Permission.SETTINGS_WRITE,
    ),
)
