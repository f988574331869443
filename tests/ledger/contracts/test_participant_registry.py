"""Certificates as they are, bound to accounts on the embedded chain: P-256 and RSA, each beside what is
refused.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError

from ledger import contracts
from ledger.binding import (
    P256_ORDER,
    Binding,
    PrivateKey,
    Role,
    bind,
    binding_message,
    certificate_hash,
    check_binding,
    public_key,
)
from ledger.chain import CHAIN_ID
from ledger.errors import KeyFileError, VerificationError
from ledger.rpc import RpcServer
from ledger.state import keccak256

START = datetime(2026, 1, 20, tzinfo=UTC)
P256_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
KEYS = pytest.mark.parametrize("key", [P256_KEY, RSA_KEY], ids=["P-256", "RSA"])


@functools.cache
def certificate_of(key: Any, name: str = "node") -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


class Registry:
    """The contract on the chain, and its admin."""

    def __init__(self, url: str) -> None:
        self.web3 = Web3(HTTPProvider(url))
        self.admin, self.node = Account.create(), bytes.fromhex(Account.create().address[2:])
        artefact = contracts.load("ParticipantRegistry")
        factory = self.web3.eth.contract(abi=artefact.abi, bytecode=artefact.bytecode)
        receipt = self.transact(factory.constructor(self.admin.address))
        self.address = bytes.fromhex(receipt["contractAddress"][2:])
        self.contract = self.web3.eth.contract(receipt["contractAddress"], abi=artefact.abi)

    def transact(self, call: Any) -> Any:
        nonce = self.web3.eth.get_transaction_count(self.admin.address)
        fields = {"from": self.admin.address, "nonce": nonce, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        raw = self.admin.sign_transaction(call.build_transaction(fields)).raw_transaction
        return self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(raw))

    def binding(self, key: PrivateKey, account: bytes | None = None) -> Binding:
        return bind(
            certificate_of(key),
            key,
            chain_id=CHAIN_ID,
            registry=self.address,
            account=account or self.node,
            role=Role.PROSUMER,
        )

    def register(self, binding: Binding) -> Any:
        arguments = (self.node, Role.PROSUMER, binding.certificate, binding.key, binding.signature)
        return self.transact(self.contract.functions.register(*arguments))

    def refuses(self, binding: Binding) -> None:
        error = "0x" + keccak256(b"SignatureInvalid()")[:4].hex()
        with pytest.raises(ContractCustomError, match=error):
            self.register(binding)

    def active(self) -> bool:
        return bool(self.contract.functions.isActive(self.node, Role.PROSUMER).call())


@pytest.fixture
async def registry(server: RpcServer) -> Registry:
    return await asyncio.to_thread(Registry, server.url)


@KEYS
async def test_a_certificate_is_bound_by_its_key(key: PrivateKey, registry: Registry) -> None:
    def work() -> None:
        certificate = certificate_of(key)
        binding = registry.binding(key)
        assert binding.certificate == certificate_hash(certificate)
        registry.register(binding)
        assert registry.active()
        known = registry.contract.functions.participantOf(registry.node).call()
        assert known[:2] == (Role.PROSUMER, False)
        check_binding(certificate, known[2], known[3])

    await asyncio.to_thread(work)


@KEYS
async def test_another_signature_binds_nothing(key: PrivateKey, registry: Registry) -> None:
    def work() -> None:
        right, others = registry.binding(key), registry.binding(key, b"\x11" * 20)
        changed = bytearray(right.signature)
        changed[-1] ^= 1
        registry.refuses(replace(right, signature=others.signature))
        registry.refuses(replace(right, signature=bytes(changed)))
        registry.refuses(replace(right, signature=right.signature[:-1]))
        registry.refuses(replace(right, certificate=bytes(31) + b"\x01"))
        assert not registry.active()

    await asyncio.to_thread(work)


async def test_an_rsa_signature_as_large_as_the_modulus_is_refused(registry: Registry) -> None:
    def work() -> None:
        right = registry.binding(RSA_KEY)
        registry.refuses(replace(right, signature=right.key))
        assert not registry.active()

    await asyncio.to_thread(work)


async def test_both_sides_sign_and_check_the_same_digest(registry: Registry) -> None:
    def work() -> None:
        digest = certificate_hash(certificate_of(P256_KEY))
        message = binding_message(CHAIN_ID, registry.address, registry.node, Role.DSO, digest)
        hasher = hashes.Hash(hashes.SHA256())
        hasher.update(message)
        asked = registry.contract.functions.bindingDigest(registry.node, Role.DSO, digest).call()
        assert asked == hasher.finalize()

    await asyncio.to_thread(work)


@pytest.mark.parametrize(("key", "limit"), [(P256_KEY, 500_000), (RSA_KEY, 200_000)], ids=["P-256", "RSA"])
async def test_a_binding_costs_what_the_documents_say(
    key: PrivateKey, limit: int, registry: Registry
) -> None:
    def work() -> None:
        assert registry.register(registry.binding(key))["gasUsed"] < limit

    await asyncio.to_thread(work)


def test_a_p256_signature_has_the_smaller_s() -> None:
    for number in range(16):
        binding = bind(
            certificate_of(P256_KEY),
            P256_KEY,
            chain_id=number,
            registry=b"\1" * 20,
            account=b"\2" * 20,
            role=Role.DSO,
        )
        assert int.from_bytes(binding.signature[32:], "big") <= P256_ORDER // 2


def test_a_certificate_is_not_bound_by_another_key() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(KeyFileError, match="does not belong to the certificate"):
        bind(
            certificate_of(P256_KEY),
            other,
            chain_id=1,
            registry=b"\1" * 20,
            account=b"\2" * 20,
            role=Role.DSO,
        )


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
    ],
    ids=["P-384", "short RSA", "small exponent"],
)
def test_a_key_that_the_contract_cannot_check_is_named(key: PrivateKey) -> None:
    with pytest.raises(KeyFileError, match="must be P-256, or RSA of 2048 bits or more"):
        public_key(certificate_of(key))


def test_another_certificate_or_key_is_found() -> None:
    certificate, renamed = certificate_of(P256_KEY), certificate_of(P256_KEY, "other")
    key = keccak256(public_key(certificate))
    check_binding(certificate, certificate_hash(certificate), key)
    with pytest.raises(VerificationError, match="another certificate"):
        check_binding(renamed, certificate_hash(certificate), key)
    with pytest.raises(VerificationError, match="another key"):
        check_binding(certificate, certificate_hash(certificate), keccak256(b"other"))
