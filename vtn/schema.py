"""The tables of this package: the schema is the specification of what the server keeps.

A state change, its outbox row and its journal fact share one transaction. Instants are kept in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as whole microseconds since 1970: order in the index is order in time."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Refuse a naive datetime, which would silently be local time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime: {value!r}")
        return micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Give the datetime back in UTC."""
        return None if value is None else EPOCH + value * MICROSECOND


def micros(instant: datetime) -> int:
    """The instant as `Instant` keeps it, for statements that are written as text."""
    return (instant - EPOCH) // MICROSECOND


metadata = MetaData()

ven_table = Table(
    "vtn_ven",
    metadata,
    Column("ven_id", Text, primary_key=True),
    Column("ven_name", Text, nullable=False, unique=True),
    Column("enrolled_at", Instant, nullable=False),
    Column("registration_id", Text, unique=True),  # null: enrolled, but not registered
    Column("registered_at", Instant),
    Column("last_contact", Instant),
    Column("report_only", Boolean, nullable=False, default=False),
    Column("profile", Text),
    Column("transport", Text),
    Column("metadata_key", Text),  # hash of the last RegisterReport, and what it was answered with
    Column("metadata_answer", LargeBinary),
    Column("suspended_at", Instant),  # the operator's bar: to the VEN it is as if it were not registered
    Column("lenient", Boolean, nullable=False, default=False, server_default=false()),
    Column("poll_period_s", Integer),  # null: the server's own
    Column("ended_registration_id", Text),  # the last one, so that a repeated cancellation is known
    Column("xml_signature", Boolean, nullable=False, default=False, server_default=false()),  # it says so
    Column("signature_required", Boolean, nullable=False, default=False, server_default=false()),
    Column("signature_leniency", Boolean, nullable=False, default=False, server_default=false()),
    Column("report_signature_required", Boolean, nullable=False, default=False, server_default=false()),
    # Counts every change of what the VEN is told of its events: one that comes, goes, or changes in content,
    # end or cancellation, and one that begins or ceases to wait in the outbox. Five triggers of the database
    # keep it (migration 0009), so no writer of any process can forget it; `vtn.distribution.Lists` relies on
    # that.
    Column("events_version", Integer, nullable=False, default=0, server_default="0"),
)
# One VEN may have two certificates while one is being replaced (SEC-15).
certificate_table = Table(
    "vtn_certificate",
    metadata,
    Column("fingerprint", Text, primary_key=True),  # SHA-256 of the DER certificate, 64 hex digits
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), nullable=False),
    Column("since", Instant, nullable=False),
    Column("valid_until", Instant),  # null: until it expires
    Column("expires_at", Instant),  # by the certificate itself; null: it was not seen yet
    Index("vtn_certificate_by_ven", "ven_id"),
)
# Short fingerprints that an operator typed: the first certificate that fits becomes the VEN's (SEC-14).
awaited_certificate_table = Table(
    "vtn_awaited_certificate",
    metadata,
    Column("digest", Text, primary_key=True),  # sha256, or sha1 as 2.0a has it
    Column("tail", Text, primary_key=True),  # its last 20 hex digits
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), nullable=False),
    Column("since", Instant, nullable=False),
    Column("valid_until", Instant),
    Index("vtn_awaited_certificate_by_ven", "ven_id"),
    sqlite_with_rowid=False,
)
# Clients of our CA that nobody enrolled: a bounded note for the operator, nothing else is kept of them.
pending_table = Table(
    "vtn_pending",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("ven_name", Text, nullable=False),
    Column("last_seen", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
)
# Which rules a VEN's messages broke: how often, first and last; one row for each rule and kind of message.
finding_table = Table(
    "vtn_finding",
    metadata,
    Column("ven_id", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("count", Integer, nullable=False),
    sqlite_with_rowid=False,
)
# Nonces of signed messages: one that is here is a replay, to every worker and after every restart.
nonce_table = Table(
    "vtn_nonce",
    metadata,
    Column("fingerprint", Text, primary_key=True),  # of the signer's certificate
    Column("nonce", Text, primary_key=True),
    Column("signed_at", Instant, nullable=False),
    Index("vtn_nonce_by_time", "signed_at"),
    sqlite_with_rowid=False,
)
# Signed messages as they came, byte for byte: the sender cannot deny them (SIG-12).
original_table = Table(
    "vtn_original",
    metadata,
    Column("sha256", Text, primary_key=True),  # the journal's raw_sha256
    Column("ven_id", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("loose", Integer, nullable=False, server_default="0"),  # 1: no fact was made from it
    Index("vtn_original_by_ven", "ven_id", "received_at"),
    Index("vtn_original_by_time", "received_at"),
)
Index(
    "vtn_original_loose",
    original_table.c.ven_id,
    original_table.c.received_at,
    sqlite_where=original_table.c.loose == 1,
    postgresql_where=original_table.c.loose == 1,
)
event_table = Table(
    "vtn_event",
    metadata,
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("modification_number", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),  # the event as XML, in a DistributeEvent of its own
    Column("published_at", Instant, nullable=False),
    Column("ends_at", Instant),  # dtstart + duration + startafter; null: open-ended
    Column("cancelled_at", Instant),
    Column("offered_at", Instant),
    Column("delivered_at", Instant),
    Column("opt", Text),  # of this modification: optIn, optOut
    Column("response_code", Text),
    Column("responded_at", Instant),
    Index("vtn_event_by_end", "ven_id", "ends_at"),
    Index("vtn_event_by_id", "event_id"),
)
# What is offered to a VEN at its polls until it is answered. Kinds: event (its content is in vtn_event);
# register_report, create_report, cancel_report, update_report, cancel_party_registration,
# request_reregistration (the content is here).
outbox_table = Table(
    "vtn_outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),  # what the answer names: event id, report request ids, request id
    Column("content", LargeBinary),
    Column("queued_at", Instant, nullable=False),
    Column("offers", Integer, nullable=False, default=0),
    Column("offered_at", Instant),
    UniqueConstraint("ven_id", "kind", "key"),
    sqlite_autoincrement=True,
)
opt_table = Table(
    "vtn_opt",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), nullable=False),
    Column("key", Text),  # of a CreateOpt: a repeat of the same message is the same row
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),  # created_event, create_opt
    Column("opt_type", Text, nullable=False),
    Column("event_id", Text),
    Column("modification_number", Integer),
    Column("opt_id", Text),
    Column("response_code", Text),
    Column("content", LargeBinary),  # the CreateOpt, where one came
    Column("cancelled_at", Instant),
    UniqueConstraint("ven_id", "key"),
    Index("vtn_opt_by_event", "ven_id", "event_id"),
    sqlite_autoincrement=True,
)
report_spec_table = Table(
    "vtn_report_spec",
    metadata,
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), primary_key=True),
    Column("specifier_id", Text, primary_key=True),
    Column("report_name", Text, nullable=False),
    Column("r_ids", JSON, nullable=False),
    Column("registered_at", Instant, nullable=False),
    Column("content", LargeBinary),  # of one of them the RegisterReport as it came; in old rows that of each
)
report_request_table = Table(
    "vtn_report_request",
    metadata,
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), primary_key=True),
    Column("report_request_id", Text, primary_key=True),
    Column("specifier_id", Text, nullable=False),
    Column("report_name", Text, nullable=False),
    Column("r_ids", JSON, nullable=False),
    Column("start", Instant),  # the interval asked for; null: no bound
    Column("end", Instant),
    Column("requested_at", Instant, nullable=False),
    Column("accepted_at", Instant),
    Column("content", LargeBinary),  # the request, in a CreateReport of its own
    Column("by_operator", Boolean, nullable=False, default=False, server_default=false()),
    Column("cancelled_at", Instant),  # by us; the VEN has yet to hear of it while ended_at is null
    Column("report_to_follow", Boolean),
    Column("final_at", Instant),  # createdDateTime of the report that followed
    Column("ended_at", Instant),
    Column("outcome", Text),  # why it ended: cancelled, replaced, finished, or the code it was refused with
    Index("vtn_report_request_by_time", "requested_at"),
    Index("vtn_report_request_by_id", "report_request_id"),
)
reading_table = Table(
    "vtn_reading",
    metadata,
    Column("ts", Instant, primary_key=True),
    Column("ven_id", Text, primary_key=True),
    Column("r_id", Text, primary_key=True),
    Column("report_name", Text, primary_key=True),
    Column("duration_s", Float, nullable=False),
    Column("value", Float, nullable=False),
    Column("quality", Text, nullable=False),
    Column("created_at", Instant, nullable=False),  # createdDateTime of the report: the newest wins
    Column("report_request_id", Text, nullable=False),
    Index("vtn_reading_by_ven", "ven_id", "ts"),
    sqlite_with_rowid=False,
)
# What a value carries beside number and quality: accuracy, confidence, state of the load's control.
reading_detail_table = Table(
    "vtn_reading_detail",
    metadata,
    Column("ts", Instant, primary_key=True),
    Column("ven_id", Text, primary_key=True),
    Column("r_id", Text, primary_key=True),
    Column("report_name", Text, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("content", JSON, nullable=False),
    sqlite_with_rowid=False,
)
# Reports with a Green Button feed, as they came.
green_button_table = Table(
    "vtn_green_button",
    metadata,
    Column("ven_id", Text, primary_key=True),
    Column("report_request_id", Text, primary_key=True),
    Column("start", Instant, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("content", LargeBinary, nullable=False),  # in an UpdateReport of its own
)
# What this server reports itself: metadata, and the data that it published last.
own_report_table = Table(
    "vtn_own_report",
    metadata,
    Column("specifier_id", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("latest", LargeBinary),
)
# Which VEN has asked for it.
own_request_table = Table(
    "vtn_own_request",
    metadata,
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), primary_key=True),
    Column("report_request_id", Text, primary_key=True),
    Column("specifier_id", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("content", LargeBinary, nullable=False),  # the request, in a CreateReport of its own
)
quarantine_table = Table(
    "vtn_quarantine",
    metadata,
    Column("key", Text, primary_key=True),  # hash of the rest but received_at
    Column("ven_id", Text, nullable=False),
    Column("report_request_id", Text, nullable=False),
    Column("r_id", Text, nullable=False),
    Column("start", Text, nullable=False),  # as text: year 9999 must be storable too
    Column("value", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Index("vtn_quarantine_by_time", "received_at", "key"),
)
# Which VENs' messages are kept for the operator to look at, and the newest of them (see vtn.trace).
traced_table = Table(
    "vtn_traced",
    metadata,
    Column("ven_id", Text, ForeignKey("vtn_ven.ven_id"), primary_key=True),
    Column("since", Instant, nullable=False),
)
trace_table = Table(
    "vtn_trace",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("ven_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("direction", Text, nullable=False),  # in: the VEN asked; out: we did
    Column("service", Text, nullable=False),
    Column("request_name", Text),  # null: it could not be read
    Column("response_name", Text),
    Column("http_status", Integer, nullable=False),
    Column("response_code", Text),
    Column("request", LargeBinary, nullable=False),  # the body alone, compressed; headers are never kept
    Column("response", LargeBinary, nullable=False),
    Index("vtn_trace_by_ven", "ven_id", "seq"),
    sqlite_autoincrement=True,
)
journal_table = Table(
    "vtn_journal",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("ven_id", Text, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("body", JSON, nullable=False),
    Column("raw_sha256", Text),
    sqlite_autoincrement=True,
)
