"""Files that hold a secret: the key of a certificate, the password of a key. Others may not read them.

A group may read what root owns: so Debian gives keys to services (`ssl-cert`), which cannot change them.
"""

import os
from pathlib import Path

from openadr.errors import CertificateError

_KEY = b"PRIVATE KEY-----"
_OTHERS = 0o077
_OTHERS_THAN_ROOTS_GROUP = 0o037


def read_key_file(path: Path) -> bytes:
    """What a PEM file holds; CertificateError if there is a private key in it and others may read it, OSError
    if it cannot be read.
    """
    content, is_open = _read(path)
    if is_open and _KEY in content:
        raise CertificateError(f"{path} holds a private key and is open to others; make it mode 0600")
    return content


def read_password_file(path: Path) -> bytes:
    """The password in a file, without the end of its line; CertificateError if others may read it, OSError if
    it cannot be read.
    """
    content, is_open = _read(path)
    if is_open:
        raise CertificateError(f"{path} holds a password and is open to others; make it mode 0600")
    return content.rstrip(b"\r\n")


def _read(path: Path) -> tuple[bytes, bool]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        others = _OTHERS if status.st_uid else _OTHERS_THAN_ROOTS_GROUP
        return file.read(), bool(status.st_mode & others)
