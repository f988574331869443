"""The step `source` of `flexpact verify`: who has signed what a report's record rests on.

The record alone shows that a key signed the bytes of a hash. With the original at hand its hash, a signature
in its XML and what it says are held against the record too. Whose key it is, neither shows: that is said by
the node's certificate, got from the node.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import VerificationError
from ledger.record import Record, time_text
from ledger.source import STEP, Source, verify_source
from ledger.verify import Status, Step

MAX_ORIGINAL_BYTES = 4 * 1024 * 1024
MAX_CERTIFICATE_BYTES = 64 * 1024
CONTENT = "content"


def source_steps(
    record: Record, original: bytes | None = None, certificate: bytes | None = None
) -> Iterator[Step]:
    """The steps of a report's record, none of another without `original` or `certificate` (the PEM of the one
    that must have signed); VerificationError at a failure.
    """
    is_received = record.kind == "report" and "raw_sha256" in record.body
    if not is_received and STEP not in record.body and original is None and certificate is None:
        return
    found = verify_source(record, original)
    source = record.body.get(STEP)
    if certificate is not None:
        _same_certificate(certificate, found, source)
    if found is not None:
        yield _signed(found, named=certificate is not None)
    elif source is None:
        yield Step(STEP, Status.NOT_CHECKED, "unsigned: that the node has sent it rests on the log's word")
    elif original is None:
        said = "signed in its XML, which the record alone cannot show: give it by --original"
        yield Step(STEP, Status.NOT_CHECKED, said)
    else:
        yield _signed_in_xml(record, original, named=certificate is not None)
    if original is not None:
        yield _content(record, original)


def _same_certificate(pem: bytes, found: Source | None, source: object) -> None:
    """Nothing if the record names this certificate, and its key where the record holds one."""
    try:
        given = x509.load_pem_x509_certificate(pem)
        spki = given.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        der = given.public_bytes(Encoding.DER)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerificationError(STEP, f"the certificate cannot be read: {error}") from None
    expected = f"certificate {hashlib.sha256(der).hexdigest()}"
    if found is not None:
        expected += f" with key {hashlib.sha256(spki).hexdigest()}"
        got = f"certificate {found.certificate_sha256} with key {found.key_sha256}"
    else:
        got = f"certificate {source.get('certificate')}" if isinstance(source, dict) else "no signature"
    if got != expected:
        raise VerificationError(STEP, "it is not signed by that certificate", expected=expected, got=got)


def _signed(found: Source, *, named: bool) -> Step:
    """A signature that holds by the record's own key, which anybody can have made."""
    text = f"signed by key {found.key_sha256}, for certificate {found.certificate_sha256}"
    text += f", at {time_text(found.signed_at)}{_whose(found.certificate_sha256, named=named)}"
    return Step(STEP, Status.CHECKED, text)


def _whose(fingerprint: str, *, named: bool) -> str:
    """What is not shown of the key."""
    if named:
        return ", which is the one given by --certificate"
    return f"; not whose key that is: compare the certificate {fingerprint}"


def _signed_in_xml(record: Record, original: bytes, *, named: bool) -> Step:
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
    text = f"signed in its XML by certificate {certificate}{_whose(certificate, named=named)}"
    return Step(STEP, Status.CHECKED, text)


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
