"""Notices as mail reach a real mail server, and are tried again where it is away."""

from __future__ import annotations

import asyncio
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP
from sqlalchemy import select

from aggregator.alarm_schema import notice_table
from aggregator.notice import WAITS
from aggregator.notice_settings import MailSettings, NoticeSettings, Security
from tests.aggregator.alarm_post import IDLE, Post
from tests.aggregator.conftest import START
from tests.aggregator.test_notice import chain_fails, choose, rows
from vtn.store import Database


class Postbox:
    """Takes mail, as aiosmtpd calls it."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - its name
        self.mails.append(envelope.content)
        return "250 taken"


async def test_an_alarm_comes_as_mail_with_the_notices_id(database: Database) -> None:
    box = Postbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="mail.test"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mail = MailSettings(host="127.0.0.1", port=port, security=Security.NONE, sender="flexpact@example.org")
    post = Post(database, notices=NoticeSettings(mail=mail))
    try:
        await choose(post, mail_to=("ada@example.org",))
        post.chain = IDLE | {"status": "failed", "text": "no funds\r\nBcc: eve@example.org"}
        await post.look()
        await post.notifier.deliver(database)
    finally:
        server.close()
    (row,) = await rows(post)
    assert (row.sent_at, row.error) == (START, "")
    parsed = message_from_bytes(box.mails[0], policy=policy.default)
    assert (parsed["To"], parsed["Bcc"]) == ("ada@example.org", None)
    assert parsed["Subject"] == "[flexpact] Anchoring has stopped"
    assert parsed["Message-ID"] == f"<{row.notice_id}@example.org>"
    assert "https://here/alarms" in parsed.get_content()


async def test_a_mail_server_that_is_away_is_tried_again(database: Database) -> None:
    mail = MailSettings(host="127.0.0.1", port=1, security=Security.NONE, sender="flexpact@example.org")
    post = Post(database, notices=NoticeSettings(mail=mail))
    await choose(post, mail_to=("ada@example.org",))
    await chain_fails(post)
    await post.notifier.deliver(database)
    (row,) = await rows(post)
    assert (row.tries, row.sent_at, row.given_up_at) == (1, None, None)
    assert row.error
    async with database.read() as conn:
        assert (await conn.execute(select(notice_table.c.due_at))).scalar_one() == START + WAITS[0]
