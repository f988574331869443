"""A PKCS#11 URI (RFC 7512) that names one private key: its token, its object, the module, the PIN's file.

    pkcs11:token=flexpact;object=log?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/flexpact/pin

Read strictly: an attribute that is unknown, empty or given twice is refused by its name. A PIN never stands
in the URI itself, and no message repeats the value of an attribute that could hold one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from ledger.errors import TokenError

SCHEME = "pkcs11:"
TOKEN_NAMES = ("token", "manufacturer", "serial", "model")
_PATH_NAMES = (*TOKEN_NAMES, "object", "id", "type")
_QUERY_NAMES = ("module-path", "pin-source")
_ELSEWHERE = {
    "pin-value": "a PIN is not written down here; name the file that holds it with pin-source=file:/...",
    "module-name": "name the file of the module with module-path=/...",
    "slot-id": "slots are numbered anew; name the token with token=... or serial=...",
}
_FILE = "file:"
_LETTER = r"[A-Za-z0-9\-._~:\[\]@!$'()*+,={more}]|%[0-9A-Fa-f]{{2}}"
_PATH_VALUE = re.compile(rf"(?:{_LETTER.format(more='&')})+")
_QUERY_VALUE = re.compile(rf"(?:{_LETTER.format(more='/?|')})+")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """One private key in a token."""

    module: Path
    """The PKCS#11 module, a shared library."""
    pin_file: Path
    """Holds the user's PIN, one line, mode 0600."""
    token: tuple[tuple[str, str], ...]
    """What the token says of itself: pairs of an attribute of `TOKEN_NAMES` and its value."""
    label: str | None
    id: bytes | None

    def __str__(self) -> str:
        """The key and its token, for people."""
        key = f'"{self.label}"' if self.label is not None else f"of id {(self.id or b'').hex()}"
        return f"key {key} in {self.token_text}"

    @property
    def token_text(self) -> str:
        """The token, for people."""
        return "token " + ", ".join(
            f'"{value}"' if name == "token" else f"{name} {value}" for name, value in self.token
        )

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """The key that a URI names; TokenError names the attribute that is missing or wrong."""
        if not text.startswith(SCHEME):
            raise TokenError(f"a key URI begins with {SCHEME}")
        path, question, query = text.removeprefix(SCHEME).partition("?")
        found = _attributes(path, ";", _PATH_NAMES, _PATH_VALUE)
        asked = _attributes(query, "&", _QUERY_NAMES, _QUERY_VALUE) if question else {}
        if found.get("type", b"private") != b"private":
            raise TokenError("key URI: type must be private, or be left out")
        token = tuple((name, _text(name, found[name])) for name in TOKEN_NAMES if name in found)
        if not {"token", "serial"} & found.keys():
            raise TokenError("key URI: token is missing (or serial): which token holds the key")
        if not {"object", "id"} & found.keys():
            raise TokenError("key URI: object is missing (or id): which key of the token it is")
        module = _absolute("module-path", asked, "")
        label = _text("object", found["object"]) if "object" in found else None
        return cls(module, _absolute("pin-source", asked, _FILE), token, label, found.get("id"))


def _attributes(
    text: str, separator: str, known: tuple[str, ...], value_form: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name in _ELSEWHERE:
            raise TokenError(f"key URI: {name} is refused: {_ELSEWHERE[name]}")
        if name not in known:
            shown = name if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) and equals else "without a name"
            raise TokenError(f"key URI: unknown attribute {shown}, expected one of {', '.join(known)}")
        if name in found:
            raise TokenError(f"key URI: {name} is given twice")
        if not value_form.fullmatch(value):
            raise TokenError(f"key URI: {name} is empty or holds a letter that must be written as %XX")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise TokenError(f"key URI: {name} is not UTF-8") from error
    if not text.isprintable():
        raise TokenError(f"key URI: {name} holds a letter that cannot be printed")
    return text


def _absolute(name: str, found: dict[str, bytes], scheme: str) -> Path:
    """The path in an attribute, behind `scheme`; absolute, since a URI has no folder to count from."""
    if name not in found:
        raise TokenError(f"key URI: {name} is missing, expected {name}={scheme}/...")
    text = _text(name, found[name])
    path = text.removeprefix(scheme).removeprefix("//" if scheme else "")
    if not text.startswith(scheme) or not path.startswith("/"):
        raise TokenError(f"key URI: {name} must be an absolute path, {name}={scheme}/...")
    return Path(path)
