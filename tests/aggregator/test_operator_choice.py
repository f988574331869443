"""What admins may set, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import insert

from aggregator import operator_choice
from aggregator.alarm_schema import setting_table
from aggregator.operator_choice import (
    DisplayChoice,
    Document,
    NoticeChoice,
    RetentionChoice,
    StaleVersionError,
)
from tests.aggregator.conftest import START
from vtn.store import Database


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (NoticeChoice, {"webhooks": ["javascript:alert(1)"]}, "no address such as"),
        (NoticeChoice, {"webhooks": ["https://user:pw@hooks.example/"]}, "no address such as"),
        (NoticeChoice, {"webhooks": ["https://hooks.example/\u202ex"]}, "invisible"),
        (NoticeChoice, {"webhooks": ["https://hooks.example:99999/"]}, "no address such as"),
        (NoticeChoice, {"webhooks": ["https://a.example/"] * 11}, "at most 10"),
        (NoticeChoice, {"mail_to": ["eve@example.org\r\nBcc:x@y.z"]}, "no mail address"),
        (NoticeChoice, {"mail_to": ["nobody"]}, "no mail address"),
        (NoticeChoice, {"escalate_after_min": 10**9}, "less than or equal to 1440"),
        (NoticeChoice, {"least": 4}, "less than or equal to 3"),
        (NoticeChoice, {"more": 1}, "Extra inputs"),
        (DisplayChoice, {"brand": "Pay\u202epal"}, r"U\+202E"),
        (DisplayChoice, {"brand": ""}, "it is empty"),
        (DisplayChoice, {"time_zone": "../../etc/passwd"}, "no such time zone"),
        (RetentionChoice, {"alarm_days": 0}, "greater than or equal to 7"),
        (RetentionChoice, {"notice_days": "nan"}, "valid integer"),
    ],
)
def test_a_value_that_can_be_none_is_refused(kind: type[Document], values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        kind.model_validate(values)


async def test_a_document_is_replaced_only_by_who_has_seen_the_one_before(database: Database) -> None:
    first, second = DisplayChoice(brand="A"), DisplayChoice(brand="B")
    async with database.write() as conn:
        assert await operator_choice.read(conn, DisplayChoice) == (DisplayChoice(), 0)
        assert await operator_choice.write(conn, first, 0, "u_1", START) == 1
        with pytest.raises(StaleVersionError, match="version 1, and you have seen 0"):
            await operator_choice.write(conn, second, 0, "u_2", START)
        assert await operator_choice.write(conn, second, 1, "u_2", START) == 2
        assert await operator_choice.read(conn, DisplayChoice) == (second, 2)
        assert await operator_choice.last_change(conn, DisplayChoice) == (START, "u_2")
    assert operator_choice.changed_fields(first, second) == ["brand"]


async def test_a_document_of_another_version_of_the_program_gives_the_defaults(database: Database) -> None:
    row = {"name": "display", "content": '{"colour": "red"}', "version": 7, "changed_by": "u_1"}
    async with database.write() as conn:
        await conn.execute(insert(setting_table).values(row | {"changed_at": START}))
    async with database.read() as conn:
        assert await operator_choice.read(conn, DisplayChoice) == (DisplayChoice(), 7)
