"""Who signed a report, as `flexpact verify` tells it, with and without the message itself."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from flexpact.commands.verify import app
from flexpact.source_step import source_steps
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import VerificationError
from ledger.receipt import Anchor, Receipt
from ledger.record import Record
from ledger.trust import LogKey, Trust
from ledger.verify import Status, Step
from openadr import Poll, encode
from openadr.http_signature import SIGNATURE, SIGNATURE_INPUT, BodySigner
from tests.openadr.signing import identity
from tests.vtn.desk import NOW, USAGE, usage
from vtn import judgement
from vtn.journal import iso

REPORT = usage("ven-1", [(NOW - timedelta(minutes=15), 250.0), (NOW, 260.0)])
RAW = encode(REPORT)
KEY = ec.generate_private_key(ec.SECP256R1())


def record(raw: bytes = RAW, source: dict[str, str] | None = None, **changes: object) -> Record:
    (report,) = REPORT.reports
    values = judgement.judge(report, judgement.Expected(USAGE, frozenset({"load"}), None, None), NOW)
    body: dict[str, object] = {
        "ven_id": "ven-1",
        "report_request_id": report.report_request_id,
        "created_at": iso(report.created_date_time),
        "values_sha256": values.sha256,
        "raw_sha256": hashlib.sha256(raw).hexdigest(),
    }
    body |= {} if source is None else {"source": source}
    return Record("report", "report/ven-1/1", NOW, {**body, **changes})


def signature(
    raw: bytes = RAW, key: ec.EllipticCurvePrivateKey = KEY, fingerprint: str = "ab" * 32
) -> dict[str, str]:
    signer = BodySigner.of(key, fingerprint)
    assert signer is not None
    head = signer.headers(raw, NOW)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "algorithm": "ecdsa-p256-sha256",
        "public_key": base64.b64encode(spki).decode(),
        "parameters": head[SIGNATURE_INPUT].partition("=")[2],
        "signature": head[SIGNATURE].removeprefix("flexpact=:").removesuffix(":"),
    }


def statuses(steps: list[Step]) -> list[tuple[str, Status]]:
    return [(step.name, step.status) for step in steps]


def test_a_signed_report_is_told_with_the_keys_hash() -> None:
    (step,) = source_steps(record(source=signature()))
    spki = base64.b64decode(signature()["public_key"])
    assert step.status is Status.CHECKED
    assert f"signed by key {hashlib.sha256(spki).hexdigest()}" in step.text
    assert step.text.endswith(f"; not whose key that is: compare the certificate {'ab' * 32}")


ALICE, BOB = identity("alice"), identity("bob")


def by(key: ec.EllipticCurvePrivateKey, certificate: bytes) -> Record:
    """A report signed by that key, which names that certificate (DER)."""
    return record(source=signature(key=key, fingerprint=hashlib.sha256(certificate).hexdigest()))


def test_with_the_certificate_that_signed_it_says_that_it_is_this_one() -> None:
    assert isinstance(ALICE.key, ec.EllipticCurvePrivateKey)
    (step,) = source_steps(by(ALICE.key, ALICE.der), certificate=ALICE.certificate_pem)
    assert step.status is Status.CHECKED
    assert step.text.endswith(", which is the one given by --certificate")


@pytest.mark.parametrize(("key", "named"), [(KEY, ALICE.der), (ALICE.key, BOB.der)], ids=["key", "keyid"])
def test_another_key_or_certificate_than_the_given_one_fails(
    key: ec.EllipticCurvePrivateKey, named: bytes
) -> None:
    made = by(key, named)
    (step,) = source_steps(made)
    assert step.status is Status.CHECKED  # nothing but the certificate can tell
    with pytest.raises(VerificationError, match="it is not signed by that certificate") as failed:
        list(source_steps(made, certificate=ALICE.certificate_pem))
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(ALICE.der).hexdigest() in str(failed.value.expected)
    assert hashlib.sha256(named).hexdigest() in str(failed.value.got)
    assert hashlib.sha256(spki).hexdigest() in str(failed.value.got)


def test_an_unsigned_report_and_no_certificate_fail_where_one_is_demanded() -> None:
    for made in (record(), Record("statement", "k", NOW, {"event_id": "e"})):
        with pytest.raises(VerificationError, match="got no signature"):
            list(source_steps(made, certificate=ALICE.certificate_pem))
    with pytest.raises(VerificationError, match="the certificate cannot be read"):
        list(source_steps(record(source=signature()), certificate=b"none"))


def test_an_unsigned_one_is_not_checked_and_other_kinds_have_no_such_step() -> None:
    assert statuses(list(source_steps(record()))) == [("source", Status.NOT_CHECKED)]
    assert list(source_steps(Record("statement", "k", NOW, {"event_id": "e"}))) == []


def test_with_the_original_every_reading_is_compared() -> None:
    steps = list(source_steps(record(source=signature()), RAW))
    assert statuses(steps) == [("source", Status.CHECKED), ("content", Status.CHECKED)]


@pytest.mark.parametrize("name", ["values_sha256", "created_at", "report_request_id"])
def test_a_record_that_says_other_than_its_original_fails(name: str) -> None:
    with pytest.raises(VerificationError, match="content: the original says something else"):
        list(source_steps(record(source=signature(), **{name: "x"}), RAW))


@pytest.mark.parametrize(
    ("raw", "said"),
    [(encode(Poll("ven-1")), "is no report but Poll"), (b"<", "is no OpenADR message")],
)
def test_an_original_that_is_no_report_fails(raw: bytes, said: str) -> None:
    with pytest.raises(VerificationError, match=said):
        list(source_steps(record(raw), raw))


def in_xml(name: str = "alice") -> tuple[bytes, dict[str, str]]:
    signer = identity(name).signer
    source = {"algorithm": "xmldsig", "certificate": signer.fingerprint, "signed_at": iso(NOW)}
    return signer.sign(RAW, NOW), source


def test_a_signature_in_the_xml_is_checked_where_the_original_is_at_hand() -> None:
    raw, source = in_xml()
    assert statuses(list(source_steps(record(raw, source)))) == [("source", Status.NOT_CHECKED)]
    steps = list(source_steps(record(raw, source), raw))
    assert statuses(steps) == [("source", Status.CHECKED), ("content", Status.CHECKED)]
    assert f"; not whose key that is: compare the certificate {source['certificate']}" in steps[0].text
    named = list(source_steps(record(raw, source), raw, ALICE.certificate_pem))
    assert "which is the one given by --certificate" in named[0].text
    with pytest.raises(VerificationError, match="it is not signed by that certificate"):
        list(source_steps(record(raw, source), raw, BOB.certificate_pem))


@pytest.mark.parametrize(
    "change", [{"certificate": "ab" * 32}, {"signed_at": "2020-01-01T00:00:00Z"}, {"signed_at": "x"}]
)
def test_a_signature_in_the_xml_of_another_key_or_time_fails(change: dict[str, str]) -> None:
    raw, source = in_xml()
    with pytest.raises(VerificationError, match="source: the XML is not signed by certificate"):
        list(source_steps(record(raw, source | change), raw))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A signed report's record, receipt, trust and original."""
    key, made = SigningKey.generate("example.org/log"), record(source=signature())
    anchor = Anchor(1, bytes(20), 0, (b"a",), (b"s",), b"h")
    receipt = Receipt(0, (), Checkpoint.sign(1, made.leaf(), key), anchor)
    (tmp_path / "receipt").write_bytes(receipt.to_file())
    (tmp_path / "record").write_bytes(made.to_file())
    (tmp_path / "trust").write_text(Trust((LogKey(key.verifier),)).text(), encoding="utf-8")
    (tmp_path / "original").write_bytes(RAW)
    return tmp_path


def verify(files: Path, *more: str) -> tuple[int, str]:
    words = [str(files / "receipt"), "--record", str(files / "record"), "--trust", str(files / "trust")]
    result = CliRunner().invoke(app, [*words, *more])
    return result.exit_code, result.output


def test_the_command_has_a_line_for_it(files: Path) -> None:
    code, said = verify(files, "--original", str(files / "original"))
    assert code == 3  # the trust file names no chain
    assert "checked      source      signed by key" in said
    assert "checked      content     request, time and every reading" in said


def test_the_command_fails_at_another_certificate(files: Path) -> None:
    (files / "pem").write_bytes(ALICE.certificate_pem)
    code, said = verify(files, "--certificate", str(files / "pem"))
    assert code == 1
    assert "FAILED       source      it is not signed by that certificate" in said


def test_the_command_fails_at_another_original(files: Path) -> None:
    (files / "original").write_bytes(RAW + b" ")
    code, said = verify(files, "--original", str(files / "original"))
    assert code == 1
    assert "FAILED       source      the record rests on other bytes" in said
    code, said = verify(files, "--original", str(files / "none"))
    assert code == 1
    assert "cannot be read" in said


def test_a_record_whose_signature_was_taken_away_is_not_that_leaf(files: Path) -> None:
    made = Record.from_file((files / "record").read_bytes())
    body = {name: value for name, value in made.body.items() if name != "source"}
    (files / "record").write_bytes(replace(made, body=body).to_file())
    code, said = verify(files)
    assert code == 1
    assert "inclusion" in said
