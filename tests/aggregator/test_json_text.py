"""JSON in columns of text, on the databases that SQL is written for."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Dialect, Integer, MetaData, Table, Text, create_engine, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from aggregator.json_text import JsonText

T = Table("kept", MetaData(), Column("body", Text), Column("other", Text), Column("number", Integer))
BODY = JsonText(T.c.body)
QUERY = select(BODY["who"].as_string(), func.sum(BODY["wh"].as_integer())).group_by(BODY["who"].as_string())


@pytest.mark.parametrize(
    ("dialect", "read"),
    [(sqlite.dialect(), "JSON_EXTRACT(kept.body, "), (postgresql.dialect(), "CAST(kept.body AS JSON) ->> ")],
)
def test_each_database_reads_text_as_json_in_its_own_way(dialect: Dialect, read: str) -> None:
    said = str(QUERY.compile(dialect=dialect))
    assert read in said
    assert "FROM kept" in said


def test_sums_of_texts_are_those_of_their_values() -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        T.metadata.create_all(conn)
        texts = ['{"who": "a", "wh": 2}', '{"who": "a", "wh": 3}', '{"who": "b", "wh": 9007199254740993}']
        conn.execute(insert(T), [{"body": text, "other": '{"who": "c"}'} for text in texts])
        assert sorted(conn.execute(QUERY).all()) == [("a", 5), ("b", 9007199254740993)]
        others = select(JsonText(T.c.other)["who"].as_string()).distinct()  # no column stands for another
        assert conn.execute(others).scalars().all() == ["c"]
    engine.dispose()
