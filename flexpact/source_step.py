"""The step `source` of `flexpact verify`: who has signed what a report's record rests on.

The record alone shows that a key signed the bytes of a hash. With the original at hand its hash, a signature
in its XML and what it says are held against the record too.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ledger.errors import VerificationError
from ledger.record import Record, time_text
from ledger.source import STEP, verify_source
from ledger.verify import Status, Step

MAX_ORIGINAL_BYTES = 4 * 1024 * 1024
CONTENT = "content"


def source_steps(record: Record, original: bytes | None = None) -> Iterator[Step]:
    """The steps of a report's record, none of another without `original`; VerificationError at a failure."""
    is_received = record.kind == "report" and "raw_sha256" in record.body
    if not is_received and STEP not in record.body and original is None:
        return
    found = verify_source(record, original)
    source = record.body.get(STEP)
    if found is not None:
        text = f"signed by key {found.key_sha256}, for certificate {found.certificate_sha256}"
        yield Step(STEP, Status.CHECKED, f"{text}, at {time_text(found.signed_at)}")
    elif source is None:
        yield Step(STEP, Status.NOT_CHECKED, "unsigned: that the node has sent it rests on the log's word")
    elif original is None:
        said = "signed in its XML, which the record alone cannot show: give it by --original"
        yield Step(STEP, Status.NOT_CHECKED, said)
    else:
        yield _signed_in_xml(record, original)
    if original is not None:
        yield _content(record, original)


def _signed_in_xml(record: Record, original: bytes) -> Step:
    from openadr.errors import ProtocolError  # noqa: PLC0415  # only who gives an original needs XML
    from openadr.signature import UNLIMITED  # noqa: PLC0415
    from openadr.verification import Policy, verify  # noqa: PLC0415

    source = record.body[STEP]
    certificate = str(source.get("certificate")) if isinstance(source, dict) else ""
    try:
        signed_at = datetime.fromisoformat(str(source.get("signed_at")) if isinstance(source, dict) else "")
        verify(original, (certificate,), signed_at, Policy(timedelta(seconds=1), lenient=True), UNLIMITED)
    except (ProtocolError, ValueError, TypeError) as error:
        raise VerificationError(
            STEP, f"the XML is not signed by certificate {certificate}: {error}"
        ) from None
    return Step(STEP, Status.CHECKED, f"signed in its XML by certificate {certificate}")


def _content(record: Record, original: bytes) -> Step:
    """Whether the record says of the report what the bytes say."""
    from openadr import ProtocolError, UpdateReport, decode  # noqa: PLC0415

    try:
        message = decode(original)
    except ProtocolError as error:
        raise VerificationError(CONTENT, f"the original is no OpenADR message: {error}") from None
    body = record.body
    wanted = (body.get("report_request_id"), body.get("created_at"), body.get("values_sha256"))
    if not isinstance(message, UpdateReport):
        raise VerificationError(CONTENT, f"the original is no report but {type(message).__name__}")
    try:
        from vtn.journal import iso  # noqa: PLC0415
        from vtn.judgement import Expected, judge  # noqa: PLC0415  # comes with the server side
    except ModuleNotFoundError:
        return Step(CONTENT, Status.NOT_CHECKED, "readings are compared by an install with the server side")
    nothing = Expected("", frozenset(), None, None)  # the hash is of all values, whatever becomes of them
    found = [
        (each.report_request_id, iso(each.created_date_time), judge(each, nothing, record.at).sha256)
        for each in message.reports
    ]
    if wanted not in found:
        raise VerificationError(
            CONTENT, "the original says something else", expected=str(wanted), got=str(found)[:500]
        )
    return Step(CONTENT, Status.CHECKED, "request, time and every reading are those of the original")
