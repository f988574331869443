"""Texts that the database holds and that open nothing without a key beside it: AES-256-GCM.

Rules: the key lies in a file of its own, its owner's alone, made at the first start; a text is bound to what
it is of, so that it opens nothing where somebody puts it elsewhere; which key sealed it stands in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aggregator.access.errors import SealError
from openadr.errors import CertificateError
from openadr.private_file import read_password_file
from vtn.errors import StartupError

KEY_BYTES = 32
NONCE_BYTES = 12
MARK = "v1."


class SealingKey:
    """One key. `name` tells it from others and says nothing of it."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.name = hashlib.sha256(b"flexpact sealing key" + key).hexdigest()[:12]

    @classmethod
    def at(cls, path: Path) -> SealingKey:
        """The key in the file, which is made where there is none; StartupError where it cannot be used."""
        try:
            if not path.exists():
                _make(path)
            key = base64.urlsafe_b64decode(read_password_file(path))
        except CertificateError as error:
            raise StartupError(str(error)) from None
        except OSError as error:
            raise StartupError(f"the sealing key {path}: {error.strerror or error}") from error
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise StartupError(f"{path} holds no sealing key: put the one of your backup back")
        return cls(key)

    def seal(self, of: str, text: str) -> str:
        """The text sealed; it opens again with the same `of` alone."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), of.encode())
        return f"{MARK}{self.name}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, of: str, sealed: str) -> str:
        """The text; SealError where another key sealed it, or it is of something else, or was changed."""
        if not self.sealed(sealed):
            raise SealError(f"the text was not sealed with the key {self.name}")
        try:
            raw = base64.urlsafe_b64decode(sealed.rpartition(".")[2])
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], of.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SealError("the sealed text was changed, or is of something else") from error

    def sealed(self, text: str) -> bool:
        """Whether this key sealed it."""
        return text.startswith(f"{MARK}{self.name}.")


def _make(path: Path) -> None:
    """A new key, whole from its first instant on; one that is there meanwhile stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
