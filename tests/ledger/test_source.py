"""Who signed what a record rests on, from the record alone: each part changed, and each refusal."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.errors import VerificationError
from ledger.record import Record
from ledger.source import ECDSA, verify_source
from openadr.http_signature import LATEST, SIGNATURE, SIGNATURE_INPUT, BodySigner, signature_base

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RAW = b"<oadrPayload>whatever was sent</oadrPayload>"
KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = "ab" * 32


def spki(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def source() -> dict[str, str]:
    signer = BodySigner.of(KEY, CERTIFICATE)
    assert signer is not None
    head = signer.headers(RAW, NOW)
    return {
        "algorithm": ECDSA,
        "public_key": spki(KEY),
        "parameters": head[SIGNATURE_INPUT].removeprefix("flexpact="),
        "signature": head[SIGNATURE].removeprefix("flexpact=:").removesuffix(":"),
    }


def made_at(created: int) -> dict[str, str]:
    """Really signed, with that time, which may be one that no clock shows."""
    signed = source()
    parameters = signed["parameters"].replace(f"created={int(NOW.timestamp())}", f"created={created}")
    der = KEY.sign(signature_base(hashlib.sha256(RAW).digest(), parameters), ec.ECDSA(hashes.SHA256()))
    value = b"".join(half.to_bytes(32, "big") for half in decode_dss_signature(der))
    return {**signed, "parameters": parameters, "signature": base64.b64encode(value).decode()}


def record(signed: object, raw_sha256: object = hashlib.sha256(RAW).hexdigest()) -> Record:
    return Record("report", "report/ven-1/r/1", NOW, {"raw_sha256": raw_sha256, "source": signed})


def test_the_record_alone_shows_key_certificate_and_time() -> None:
    found = verify_source(record(source()))
    assert found is not None
    assert found.key_sha256 == hashlib.sha256(base64.b64decode(spki(KEY))).hexdigest()
    assert (found.certificate_sha256, found.signed_at) == (CERTIFICATE, NOW)
    assert verify_source(record(source()), RAW) == found


def test_no_bit_of_hash_or_signature_can_change() -> None:
    signed = source()
    digest, value = hashlib.sha256(RAW).digest(), base64.b64decode(signed["signature"])
    for position in range(len(digest) * 8):
        other = (int.from_bytes(digest, "big") ^ (1 << position)).to_bytes(32, "big").hex()
        with pytest.raises(VerificationError, match="is not one of the key"):
            verify_source(record(signed, other))
    for position in range(0, len(value) * 8, 7):
        flipped = (int.from_bytes(value, "big") ^ (1 << position)).to_bytes(64, "big")
        with pytest.raises(VerificationError, match="is not one of the key"):
            verify_source(record({**signed, "signature": base64.b64encode(flipped).decode()}))


P384 = ec.generate_private_key(ec.SECP384R1())
CHANGES = [
    ({"parameters": "()"}, "parameters cannot be read"),
    ({"algorithm": "rsa-v1_5-sha256"}, "signed for another algorithm"),
    ({"public_key": "!"}, "public_key is not base64"),
    ({"public_key": "AAAA"}, "public_key cannot be read"),
    ({"public_key": spki(P384)}, "public_key is no key for 'ecdsa-p256-sha256'"),
    ({"public_key": spki(ed25519.Ed25519PrivateKey.generate())}, "public_key is no key for"),
    ({"public_key": spki(ec.generate_private_key(ec.SECP256R1()))}, "is not one of the key"),
    ({"signature": "AAAA"}, "is not one of the key"),
    ({"signature": "AAA"}, "signature is not base64"),
    ({"more": "x"}, "source does not hold the texts"),
    ({"signature": 7}, "source does not hold the texts"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_source_that_is_not_right_is_refused_with_a_sentence(change: dict[str, object], said: str) -> None:
    with pytest.raises(VerificationError, match=said) as refused:
        verify_source(record({**source(), **change}))
    assert refused.value.step == "source"


def test_a_time_that_no_calendar_has_is_refused_and_the_last_that_one_has_is_told() -> None:
    found = verify_source(record(made_at(LATEST)))
    assert found is not None
    assert found.signed_at == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    for created in (LATEST + 1, 999_999_999_999):
        with pytest.raises(VerificationError, match=f"after the year 9999: {created}") as refused:
            verify_source(record(made_at(created)))
        assert refused.value.step == "source"


@pytest.mark.parametrize("raw_sha256", [7, "AB" * 32, "", None])
def test_a_hash_that_is_none_is_refused(raw_sha256: object) -> None:
    with pytest.raises(VerificationError, match="raw_sha256 is no hash"):
        verify_source(record(source(), raw_sha256))


@pytest.mark.parametrize("signed", [None, {"algorithm": "xmldsig", "certificate": CERTIFICATE}])
def test_what_the_record_alone_cannot_show_is_not_said(signed: object) -> None:
    assert verify_source(record(signed)) is None


@pytest.mark.parametrize("signed", ["x", 7, [], {}])
def test_a_source_of_another_kind_is_refused(signed: object) -> None:
    with pytest.raises(VerificationError, match="source does not hold the texts"):
        verify_source(record(signed))


@pytest.mark.parametrize("signed", [None, source()])
def test_another_original_is_refused_signed_or_not(signed: object) -> None:
    with pytest.raises(VerificationError, match="the record rests on other bytes") as refused:
        verify_source(record(signed), RAW + b" ")
    assert refused.value.expected == hashlib.sha256(RAW).hexdigest()


def test_a_curve_that_rfc_9421_does_not_name_is_not_signed_with() -> None:
    assert BodySigner.of(P384, CERTIFICATE) is None


def test_an_rsa_key_signs_likewise() -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = BodySigner.of(key, CERTIFICATE)
    assert signer is not None
    head = signer.headers(RAW, NOW)
    signed = {
        **source(),
        "algorithm": "rsa-v1_5-sha256",
        "public_key": spki(key),
        "parameters": head[SIGNATURE_INPUT].removeprefix("flexpact="),
        "signature": head[SIGNATURE].removeprefix("flexpact=:").removesuffix(":"),
    }
    assert verify_source(record(signed)) is not None
    with pytest.raises(VerificationError, match="is not one of the key"):
        verify_source(record({**signed, "signature": base64.b64encode(bytes(256)).decode()}))
