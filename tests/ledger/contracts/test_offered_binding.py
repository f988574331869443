"""What a party sends to be registered: read as what comes from outside, and held against its certificate."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.binding import (
    P256_ORDER,
    Binding,
    PrivateKey,
    Role,
    bind,
    certificate_hash,
    check_offered,
)
from ledger.errors import MalformedError, VerificationError
from tests.ledger.contracts.test_participant_registry import KEYS, P256_KEY, RSA_KEY, certificate_of

WHERE: dict[str, Any] = {
    "chain_id": 7,
    "registry": b"\1" * 20,
    "account": b"\2" * 20,
    "role": Role.VIRTUAL_NODE,
}


def offered(key: PrivateKey) -> Binding:
    return bind(certificate_of(key), key, **WHERE)


@KEYS
def test_a_binding_that_its_party_made_passes_after_its_way_as_a_file(key: PrivateKey) -> None:
    made = offered(key)
    sent = Binding.from_json(made.to_json())
    assert sent == made
    check_offered(certificate_of(key), sent, **WHERE)


@KEYS
@pytest.mark.parametrize(
    "changed",
    [{"chain_id": 8}, {"registry": b"\3" * 20}, {"account": b"\3" * 20}, {"role": Role.DSO}],
    ids=["chain", "registry", "account", "role"],
)
def test_a_binding_for_anything_else_is_refused(key: PrivateKey, changed: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match="the certificate's key signed something else"):
        check_offered(certificate_of(key), offered(key), **{**WHERE, **changed})


def test_another_certificate_with_the_same_key_is_refused() -> None:
    other = certificate_of(P256_KEY, "other")
    with pytest.raises(VerificationError, match="the binding is of another certificate: expected"):
        check_offered(other, offered(P256_KEY), **WHERE)
    renamed = replace(offered(P256_KEY), certificate=certificate_hash(other))
    with pytest.raises(VerificationError, match="the certificate's key signed something else"):
        check_offered(other, renamed, **WHERE)


def test_another_key_under_the_certificates_hash_is_refused() -> None:
    foreign = replace(offered(P256_KEY), key=offered(RSA_KEY).key)
    with pytest.raises(VerificationError, match="the binding has another key"):
        check_offered(certificate_of(P256_KEY), foreign, **WHERE)


def test_of_the_two_forms_of_a_signature_the_contracts_is_taken() -> None:
    good = offered(P256_KEY)
    mirrored = P256_ORDER - int.from_bytes(good.signature[32:])
    r, s = good.signature[:32], good.signature[32:]
    for signature in (r + mirrored.to_bytes(32), r + b"\0" + s, r + s[:-1], b"", bytes(64)):
        with pytest.raises(VerificationError, match="the certificate's key signed something else"):
            check_offered(certificate_of(P256_KEY), replace(good, signature=signature), **WHERE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "certificate: not 0x and hexadecimal digits: 'None'"),
        (json.dumps({"certificate": 5}).encode(), "certificate: not 0x and hexadecimal digits: '5'"),
        (json.dumps({"certificate": "0xzz"}).encode(), "certificate: not 0x and hexadecimal digits: '0xzz'"),
        (json.dumps({"certificate": "0x00"}).encode(), "key: not 0x and hexadecimal digits: 'None'"),
    ],
    ids=["no text", "deep", "a list", "empty", "a number", "no digits", "without a key"],
)
def test_what_is_no_binding_is_one_sentence(text: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        Binding.from_json(text)
