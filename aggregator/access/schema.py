"""The tables of who may do what. Their prefix is `agg_`; the same tables are made by the migrations.

Nothing here opens a door by itself: of passwords there is an argon2id hash, of sessions, links, tokens and
recovery codes the SHA-256 of a random text. A second factor's secret is sealed with a key that is not in the
database (`aggregator.access.sealing`).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text

from vtn.schema import Instant

metadata = MetaData()

# `name` as it was typed, `name_key` as it is compared. `scope` holds the ven_ids of a prosumer as JSON.
# `withdrawn_at`: since when the identity provider gives no role; None where it does or is not asked.
# `totp_pending` is a secret that was shown and not yet proven; `totp_step` the newest step that was used.
user_table = Table(
    "agg_user",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("password", Text),
    Column("language", Text),
    Column("time_zone", Text),
    Column("scope", Text),
    Column("home", Text),
    Column("totp_secret", Text),
    Column("totp_pending", Text),
    Column("totp_step", BigInteger, nullable=False, default=0),
    Column("created_at", Instant, nullable=False),
    Column("suspended_at", Instant),
    Column("withdrawn_at", Instant),
)
# `factor_at`: when the second factor was last given; None while it is asked for, or where there is none.
session_table = Table(
    "agg_session",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("agg_user.user_id"), nullable=False),
    Column("agent", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("factor_at", Instant),
    Column("ended_at", Instant),
    Index("agg_session_by_user", "user_id", "created_at"),
)
# `user_id` None: the first sign-in of all, whose name is chosen by whoever opens the link.
link_table = Table(
    "agg_link",
    metadata,
    Column("link_id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("agg_user.user_id")),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Index("agg_link_by_user", "user_id"),
)
token_table = Table(
    "agg_token",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("user_id", Text, ForeignKey("agg_user.user_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),
    Column("revoked_at", Instant),
    Index("agg_token_by_user", "user_id", "created_at"),
)
# An account at an identity provider that signs in as a user: `subject` is the value of the claim `claim`.
identity_table = Table(
    "agg_identity",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("claim", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("agg_user.user_id"), nullable=False, unique=True),
    Column("linked_at", Instant, nullable=False),
)
recovery_table = Table(
    "agg_recovery",
    metadata,
    Column("user_id", Text, ForeignKey("agg_user.user_id"), primary_key=True),
    Column("code_hash", Text, primary_key=True),
    Column("used_at", Instant),
)
# Tries that failed, by account and by address; a try counts before it is looked at.
throttle_table = Table(
    "agg_throttle",
    metadata,
    Column("key", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Instant, nullable=False),
    Index("agg_throttle_by_time", "last_at"),
)
