"""Users, their sessions, second factors and tokens, one-time links, and tries that failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

INSTANT = sa.BigInteger  # microseconds since 1970
USER = "agg_user.user_id"


def upgrade() -> None:
    _user()
    _session()
    _link()
    _token()
    _recovery()
    _throttle()


def _user() -> None:
    op.create_table(
        "agg_user",
        sa.Column("user_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("language", sa.Text),
        sa.Column("time_zone", sa.Text),
        sa.Column("scope", sa.Text),
        sa.Column("home", sa.Text),
        sa.Column("totp_secret", sa.Text),
        sa.Column("totp_pending", sa.Text),
        sa.Column("totp_step", sa.BigInteger, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("suspended_at", INSTANT),
    )


def _session() -> None:
    op.create_table(
        "agg_session",
        sa.Column("session_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey(USER), nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("factor_at", INSTANT),
        sa.Column("ended_at", INSTANT),
    )
    op.create_index("agg_session_by_user", "agg_session", ["user_id", "created_at"])


def _link() -> None:
    op.create_table(
        "agg_link",
        sa.Column("link_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey(USER)),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT),
    )
    op.create_index("agg_link_by_user", "agg_link", ["user_id"])


def _token() -> None:
    op.create_table(
        "agg_token",
        sa.Column("token_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey(USER), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT),
        sa.Column("revoked_at", INSTANT),
    )
    op.create_index("agg_token_by_user", "agg_token", ["user_id", "created_at"])


def _recovery() -> None:
    op.create_table(
        "agg_recovery",
        sa.Column("user_id", sa.Text, sa.ForeignKey(USER), primary_key=True, nullable=False),
        sa.Column("code_hash", sa.Text, primary_key=True, nullable=False),
        sa.Column("used_at", INSTANT),
    )


def _throttle() -> None:
    op.create_table(
        "agg_throttle",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
    )
    op.create_index("agg_throttle_by_time", "agg_throttle", ["last_at"])
