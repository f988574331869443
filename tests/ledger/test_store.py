"""The tables that the migration makes are those that the queries know."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import agreement_schema, cosignature_store, store


@pytest.mark.parametrize(
    "metadata",
    [store.metadata, agreement_schema.metadata, cosignature_store.metadata],
    ids=["log", "agreements", "cosignatures"],
)
def test_the_migration_makes_the_tables_that_the_code_expects(
    metadata: sa.MetaData, database_path: Path, tmp_path: Path
) -> None:
    migrated = sa.create_engine(f"sqlite:///{database_path}")
    direct = sa.create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(direct)
    try:
        for table in metadata.tables:
            assert _description(migrated, table) == _description(direct, table)
    finally:
        migrated.dispose()
        direct.dispose()


def _description(engine: sa.Engine, table: str) -> list[object]:
    inspector = sa.inspect(engine)
    columns = [
        (c["name"], str(c["type"]), c["nullable"], c["primary_key"]) for c in inspector.get_columns(table)
    ]
    indexes = [
        (i["name"], i["column_names"], i["unique"], str(i["dialect_options"].get("sqlite_where")))
        for i in inspector.get_indexes(table)
    ]
    unique = [u["column_names"] for u in inspector.get_unique_constraints(table)]
    checks = [(c["name"], c["sqltext"]) for c in inspector.get_check_constraints(table)]
    return [columns, sorted(indexes, key=str), unique, sorted(checks, key=str)]
