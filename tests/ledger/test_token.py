"""Keys in a real PKCS#11 token (SoftHSM2): what they sign, and how each fault reads."""

from __future__ import annotations

import sys
from pathlib import Path

import pkcs11
import pytest
from eth_account import Account
from web3.types import TxParams

from ledger import token
from ledger.anchor import AnchorStatus
from ledger.chain_key import ORDER, ChainKey
from ledger.checkpoint import Checkpoint
from ledger.errors import KeyFileError, LedgerError, TokenError
from ledger.keyfile import write_secret
from ledger.log import Log
from ledger.log_key import log_key
from ledger.node import Node
from ledger.rpc import RpcServer
from ledger.signer import secp256k1_in
from tests.ledger.conftest import ORIGIN, Site
from tests.ledger.soft_token import PIN, SoftToken, lose_sessions

P256 = token.Curve(
    "P-256",
    pkcs11.KeyType.EC,
    (bytes.fromhex("06082a8648ce3d030107"),),
    pkcs11.Mechanism.ECDSA,
    pkcs11.Mechanism.EC_KEY_PAIR_GEN,
    64,
)
TRANSACTION: TxParams = {  # type: ignore[typeddict-item] # an address as text
    "chainId": 5,
    "to": "0x" + "11" * 20,
    "value": 0,
    "gas": 100_000,
    "data": b"\x01",
    "maxFeePerGas": 2,
    "maxPriorityFeePerGas": 1,
}


@pytest.fixture(scope="module")
def keys(soft_token: SoftToken) -> SoftToken:
    """A log's, an account's and a certificate's key in one token."""
    token.generate(soft_token.uri("log"), token.ED25519)
    token.generate(soft_token.uri("account"), token.SECP256K1)
    token.generate(soft_token.uri("tls"), P256)
    return soft_token


def test_a_log_signs_checkpoints_with_a_key_in_a_token(keys: SoftToken) -> None:
    key = log_key(keys.uri("log"), ORIGIN)
    signed = Checkpoint.sign(3, bytes(32), key)
    signed.verify(key.verifier)
    assert signed.origin == key.verifier.name == ORIGIN
    assert log_key(keys.uri("log"), ORIGIN).verifier == key.verifier


def test_an_account_signs_transactions_that_lead_to_its_address(keys: SoftToken) -> None:
    """Chains take the lower of the two s only: the token gives either one."""
    raw, key = secp256k1_in(keys.uri("account")), ChainKey.load(keys.uri("account"))
    halves = [int.from_bytes(raw.sign(bytes([n]) * 32)[32:], "big") for n in range(40)]
    assert {s > ORDER // 2 for s in halves} == {True, False}
    for nonce in range(40):
        sent = key.sign({**TRANSACTION, "nonce": nonce})  # type: ignore[typeddict-item] # a plain number
        assert Account.recover_transaction(sent).lower() == f"0x{key.address.hex()}"
        parity, _r, s = key._recoverable(bytes([nonce]) * 32)
        assert s <= ORDER // 2
        assert parity in {0, 1}


async def test_checkpoints_are_signed_and_anchored_by_a_token_alone(
    site: Site, server: RpcServer, keys: SoftToken
) -> None:
    account = ChainKey.load(keys.uri("account"))
    async with Node.open(server.url, 5) as node:
        site.contract = await node.deploy(account, account.address)
    site.log = Log(ORIGIN, log_key(keys.uri("log"), ORIGIN))
    await site.append("a", "b")
    await site.publish()
    anchorer = site.anchorer(key_file=None, key_uri=keys.text("account"))
    while (await site.step(anchorer)).status is not AnchorStatus.IDLE:
        site.clock.advance(1)
    assert await site.anchored() == 2


def test_a_private_key_never_leaves_its_token(keys: SoftToken) -> None:
    for label, curve in (("log", token.ED25519), ("account", token.SECP256K1)):
        private = token._private(token._session(keys.uri(label)), keys.uri(label), curve)
        with pytest.raises(pkcs11.AttributeSensitive):
            private[pkcs11.Attribute.VALUE]


def test_a_key_in_a_token_is_never_overwritten(keys: SoftToken) -> None:
    with pytest.raises(TokenError, match=r'there is a key "log" in token "flexpact" already'):
        token.generate(keys.uri("log"), token.ED25519)
    assert log_key(keys.uri("log"), ORIGIN)


def test_a_session_that_was_lost_is_opened_again(keys: SoftToken) -> None:
    key, account = log_key(keys.uri("log"), ORIGIN), ChainKey.load(keys.uri("account"))
    lose_sessions()
    key.verifier.verify(b"again", key.sign(b"again"))
    assert account.sign({**TRANSACTION, "nonce": 1})  # type: ignore[typeddict-item] # a plain number
    lose_sessions()
    assert log_key(keys.uri("log"), ORIGIN).verifier == key.verifier


async def test_a_token_that_was_taken_away_is_a_failed_step_and_no_crash(site: Site, keys: SoftToken) -> None:
    key, account = log_key(keys.uri("log"), ORIGIN), ChainKey.load(keys.uri("account"))
    async with Node.open(site.url, 5) as node:
        site.contract = await node.deploy(account, account.address)
    anchorer = site.anchorer(key_file=None, key_uri=keys.text("account"))
    await site.append("a")
    await site.publish()
    with keys.taken_away():
        with pytest.raises(TokenError, match=r'there is no token "flexpact" in /'):
            key.sign(b"text")
        state = await site.step(anchorer)
    assert state.status is AnchorStatus.FAILED
    assert state.text.startswith('there is no token "flexpact" in /')
    while (await site.step(anchorer)).status is not AnchorStatus.IDLE:
        site.clock.advance(1)
    assert await site.anchored() == 1


@pytest.mark.parametrize(
    ("label", "changes", "says"),
    [
        ("log", {"module": "/nowhere/module.so"}, r"there is no PKCS#11 module /nowhere/module\.so"),
        ("log", {"module": __file__}, r"test_token\.py cannot be used as a PKCS#11 module"),
        ("log", {"token": "nowhere"}, r'there is no token "nowhere" in /usr/lib/softhsm'),
        ("log", {"token": "flexpact;model=YubiHSM"}, r'there is no token "flexpact", model YubiHSM in'),
        ("log", {"token": "twin"}, r'2 tokens are token "twin" in'),
        ("none", {}, r'there is no key "none" in token "flexpact"'),
        ("log;id=%01", {}, r'there is no key "log" in token "flexpact"'),
        ("account", {}, r'key "account" .* is of another type: expected Ed25519, got secp256k1'),
        ("tls", {}, r'key "tls" .* is of another type: expected Ed25519, got P-256'),
        ("log", {"pin": "file:/nowhere/pin"}, r"/nowhere/pin cannot be read: No such file or directory"),
    ],
    ids=["module", "no module", "token", "model", "two tokens", "key", "id", "type", "P-256", "PIN file"],
)
def test_what_stands_in_the_way_of_a_key_is_one_sentence(
    keys: SoftToken, label: str, changes: dict[str, str], says: str
) -> None:
    token._close(keys.uri("log"))
    with pytest.raises(LedgerError, match=says) as refused:
        log_key(keys.uri(label, **changes), ORIGIN)
    assert PIN not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_account_needs_a_key_of_its_curve(keys: SoftToken) -> None:
    for label, got in (("log", "Ed25519"), ("tls", "P-256")):
        with pytest.raises(TokenError, match=f"expected secp256k1, got {got}"):
            ChainKey.load(keys.uri(label))


def test_a_wrong_pin_is_offered_once(keys: SoftToken, tmp_path: Path) -> None:
    """A token locks itself after a few; a service that is started again and again would do that."""
    wrong = tmp_path / "wrong"
    write_secret(wrong, "00000000")
    uri = keys.uri("log", token="other", pin=f"file:{wrong}")
    with pytest.raises(TokenError, match=f'^token "other" refuses the PIN in {wrong}$') as refused:
        log_key(uri, ORIGIN)
    assert "00000000" not in repr(refused.value)
    with pytest.raises(TokenError, match="which was not offered again"):
        log_key(uri, ORIGIN)
    wrong.write_text(PIN)
    with pytest.raises(TokenError, match='there is no key "log" in token "other"'):
        log_key(uri, ORIGIN)


def test_a_pin_that_others_can_read_is_refused(keys: SoftToken, tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    token._close(keys.uri("log"))
    for mode in (0o640, 0o604, 0o602):
        pin.chmod(mode)
        with pytest.raises(KeyFileError, match=f"{pin} can be read by others; make it mode 0600"):
            log_key(keys.uri("log", pin=f"file:{pin}"), ORIGIN)


def test_one_token_is_opened_with_one_pin_file(keys: SoftToken, tmp_path: Path) -> None:
    log_key(keys.uri("log"), ORIGIN)
    write_secret(tmp_path / "pin", "00000000")
    with pytest.raises(TokenError, match=f"open with the PIN in {keys.pin_file}, not {tmp_path}/pin"):
        log_key(keys.uri("log", pin=f"file:{tmp_path}/pin"), ORIGIN)


def test_a_public_object_that_is_not_the_keys_is_found_out(keys: SoftToken) -> None:
    ours = keys.uri("ours;id=%07")
    token.generate(ours, token.ED25519)
    token.generate(keys.uri("theirs;id=%07"), token.ED25519)
    with pytest.raises(TokenError, match=r'key "ours" .* has 2 public key objects of its id, expected one'):
        log_key(ours, ORIGIN)
    token._close(ours)
    session = token._login(ours, writing=True)
    wanted = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, pkcs11.Attribute.LABEL: "ours"}
    for found in list(session.get_objects(wanted)):
        found.destroy()
    session.close()
    with pytest.raises(TokenError, match=r'what the key "ours" .* signs does not fit the public key object'):
        log_key(ours, ORIGIN)


def test_without_the_package_the_remedy_is_named(keys: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ledger.token")
    monkeypatch.delattr("ledger.token")
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(TokenError, match=r"needs python-pkcs11: install flexpact\[pkcs11\]"):
        log_key(keys.uri("log"), ORIGIN)
