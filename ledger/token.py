"""Private keys inside PKCS#11 tokens (hardware modules, or SoftHSM): found, checked once, then asked to sign.

Rules: one login for each token, shared by its keys, because a logout ends them all. A PIN that the token
refused is not offered again while its file is the same: tokens lock themselves after few wrong ones. A
session that was lost (the module was restarted) is opened anew at the next signature.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from ledger.errors import TokenError
from ledger.keyfile import read_secret
from ledger.token_uri import TokenUri

_CHECK = sha256(b"flexpact: does this key sign?").digest()
_OCTET_STRING = 4
_UNCOMPRESSED = b"\x04"


@dataclass(frozen=True, slots=True)
class Curve:
    """A kind of key, as tokens name it."""

    name: str
    kind: KeyType
    params: tuple[bytes, ...]
    """CKA_EC_PARAMS: the curve's OID in DER, or (Edwards curves only) its name; the first one makes keys."""
    signs: Mechanism
    makes: Mechanism
    public_bytes: int


ED25519 = Curve(
    "Ed25519",
    KeyType.EC_EDWARDS,
    (b"\x13\x0cedwards25519", bytes.fromhex("06032b6570")),
    Mechanism.EDDSA,
    Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    32,
)
SECP256K1 = Curve(
    "secp256k1",
    KeyType.EC,
    (bytes.fromhex("06052b8104000a"),),
    Mechanism.ECDSA,
    Mechanism.EC_KEY_PAIR_GEN,
    64,
)
_P256 = bytes.fromhex("06082a8648ce3d030107")
_NAMES = {_P256: "P-256", **{params: curve.name for curve in (ED25519, SECP256K1) for params in curve.params}}


@dataclass(slots=True)
class _Login:
    session: Any
    pin_file: Path


_lock = threading.RLock()
_logins: dict[tuple[Path, bytes], _Login] = {}
_refused: dict[tuple[Path, bytes], bytes] = {}
"""By token, the SHA-256 of the PIN that it refused last."""


class TokenKey:
    """A `ledger.signer.Signer` whose private half never leaves its token."""

    def __init__(self, uri: TokenUri, curve: Curve) -> None:
        """Opens the token and lets the key sign once; TokenError says what stands in the way."""
        self._uri, self._curve = uri, curve
        with _lock, _one_sentence(uri):
            self._session = _session(uri)
            self._private = _private(self._session, uri, curve)
            self.public = _public(self._session, self._private, uri, curve)
            _check(self.public, self._private.sign(_CHECK, mechanism=curve.signs), uri, curve)

    def sign(self, octets: bytes) -> bytes:
        """64 bytes, see `ledger.signer.Signer`; TokenError if the token does not answer."""
        with _lock, _one_sentence(self._uri):
            session = _session(self._uri)
            if session is not self._session:
                self._session, self._private = session, _private(session, self._uri, self._curve)
            return bytes(self._private.sign(octets, mechanism=self._curve.signs))


def generate(uri: TokenUri, curve: Curve) -> None:
    """Make the key that `uri` names, never to leave its token; TokenError if there is one already."""
    if uri.label is None:
        raise TokenError("key URI: object is missing: a new key needs a label")
    with _lock, _one_sentence(uri):
        _close(uri)
        session = _login(uri, writing=True)
        try:
            if list(session.get_objects(_named(uri, ObjectClass.PRIVATE_KEY))):
                raise TokenError(f"there is a {uri} already; a key is never overwritten")
            domain = session.create_domain_parameters(
                curve.kind, {Attribute.EC_PARAMS: curve.params[0]}, local=True
            )
            domain.generate_keypair(
                mechanism=curve.makes,
                store=True,
                label=uri.label,
                id=uri.id or secrets.token_bytes(16),
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
        finally:
            session.close()


def _private(session: Any, uri: TokenUri, curve: Curve) -> Any:
    found = list(session.get_objects(_named(uri, ObjectClass.PRIVATE_KEY)))
    if len(found) != 1:
        raise TokenError(
            f"there is no {uri}" if not found else f"there are {len(found)} of {uri}: name its id"
        )
    params = (
        bytes(found[0][Attribute.EC_PARAMS]) if found[0].key_type in {KeyType.EC, KeyType.EC_EDWARDS} else b""
    )
    if params not in curve.params:
        got = _NAMES.get(params) or found[0].key_type.name
        raise TokenError(f"the {uri} is of another type: expected {curve.name}, got {got}")
    return found[0]


def _public(session: Any, private: Any, uri: TokenUri, curve: Curve) -> bytes:
    """From the public object of the same id: what a private one says of its public half is not standard."""
    wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: private.id}
    found = list(session.get_objects(wanted))
    if len(found) != 1:
        raise TokenError(f"the {uri} has {len(found)} public key objects of its id, expected one")
    point = bytes(found[0][Attribute.EC_POINT])
    if len(point) >= 2 and point[0] == _OCTET_STRING and point[1] == len(point) - 2:
        point = point[2:]
    if curve is SECP256K1:
        point = point.removeprefix(_UNCOMPRESSED)
    if len(point) != curve.public_bytes:
        raise TokenError(f"the public key of the {uri} has {len(point)} bytes, expected {curve.public_bytes}")
    return point


def _check(public: bytes, signature: bytes, uri: TokenUri, curve: Curve) -> None:
    try:
        if curve is ED25519:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _CHECK)
        else:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), _UNCOMPRESSED + public)
            halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(*halves), _CHECK, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError) as error:
        raise TokenError(f"what the {uri} signs does not fit the public key object of its id") from error


def _named(uri: TokenUri, kind: ObjectClass) -> dict[Attribute, Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if uri.label is not None:
        wanted[Attribute.LABEL] = uri.label
    if uri.id is not None:
        wanted[Attribute.ID] = uri.id
    return wanted


def _session(uri: TokenUri) -> Any:
    """The session of the key's token, logged in; a new one where the module has lost it."""
    place = _place(uri)
    if place in _logins and not _is_open(_logins[place].session):
        _close(uri)
    login = _logins.get(place)
    if login is None:
        login = _logins[place] = _Login(_login(uri), uri.pin_file)
    if login.pin_file != uri.pin_file:
        raise TokenError(f"{uri.token_text} is open with the PIN in {login.pin_file}, not {uri.pin_file}")
    return login.session


def _is_open(session: Any) -> bool:
    """Asked by what every session may do and that leaves nothing behind when it fails."""
    try:
        session.generate_random(64)
    except pkcs11.RandomNoRNG:
        return True
    except pkcs11.PKCS11Error:
        return False
    return True


def _close(uri: TokenUri) -> None:
    login = _logins.pop(_place(uri), None)
    if login is not None:
        with suppress(pkcs11.PKCS11Error):
            login.session.close()


def _login(uri: TokenUri, *, writing: bool = False) -> Any:
    place = _place(uri)
    pin = read_secret(uri.pin_file)
    mark = sha256(pin.encode()).digest()
    if _refused.get(place) == mark:
        raise TokenError(f"{uri.token_text} refused the PIN in {uri.pin_file}, which was not offered again")
    try:
        return _token(uri).open(rw=writing, user_pin=pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        _refused[place] = mark
        # from None: no traceback shall come near the call that held the PIN
        raise TokenError(f"{uri.token_text} refuses the PIN in {uri.pin_file}") from None


def _place(uri: TokenUri) -> tuple[Path, bytes]:
    return uri.module, bytes(_token(uri).serial)


def _token(uri: TokenUri) -> Any:
    found = [token for token in _library(uri.module).get_tokens() if _fits(token, uri)]
    if len(found) != 1:
        text = f"{len(found)} tokens are" if found else "there is no"
        raise TokenError(f"{text} {uri.token_text} in {uri.module}")
    return found[0]


def _library(module: Path) -> Any:
    if not module.is_file():
        raise TokenError(f"there is no PKCS#11 module {module}")
    try:
        return pkcs11.lib(str(module))
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise TokenError(f"{module} cannot be used as a PKCS#11 module") from error


def _fits(token: Any, uri: TokenUri) -> bool:
    says = {
        "token": token.label,
        "serial": bytes(token.serial).decode("utf-8", "replace"),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
    }
    return all(says[name].strip() == value.strip() for name, value in uri.token)


_SENTENCES: dict[type[pkcs11.PKCS11Error], str] = {
    pkcs11.PinLocked: "is locked after too many wrong PINs",
    pkcs11.PinExpired: "wants a new PIN",
    pkcs11.UserPinNotInitialized: "has no user PIN yet",
    pkcs11.UserAlreadyLoggedIn: "is open already in this process",
    pkcs11.MechanismInvalid: "does not know this kind of key",
    pkcs11.DeviceRemoved: "was taken away",
    pkcs11.TokenNotPresent: "is not there",
}


@contextmanager
def _one_sentence(uri: TokenUri) -> Iterator[None]:
    try:
        yield
    except pkcs11.PKCS11Error as error:
        said = _SENTENCES.get(type(error), f"answers {type(error).__name__}")
        raise TokenError(f"{uri.token_text} {said}") from None
