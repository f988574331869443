"""Keys and passwords are read only from files that nobody else may read."""

import os
from pathlib import Path

import pytest

from openadr.errors import CertificateError
from openadr.private_file import read_key_file, read_password_file

KEY = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
NOBODY = 65_534
OPEN = (0o640, 0o620, 0o604, 0o602, 0o644)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that another user than root owns."""
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.parametrize("content", [KEY, CERTIFICATE + KEY], ids=["alone", "behind a certificate"])
def test_a_key_that_others_may_read_is_refused(secret: Path, content: bytes) -> None:
    secret.write_bytes(content)
    for mode in (0o400, 0o600):
        secret.chmod(mode)
        assert read_key_file(secret) == content
    for mode in OPEN:
        secret.chmod(mode)
        with pytest.raises(CertificateError, match=f"{secret} holds a private key and is open to others"):
            read_key_file(secret)


def test_a_password_that_others_may_read_is_refused_and_not_told(secret: Path) -> None:
    secret.write_bytes(b"correct horse\r\n")
    assert read_password_file(secret) == b"correct horse"
    for mode in OPEN:
        secret.chmod(mode)
        with pytest.raises(CertificateError, match=f"{secret} holds a password and is open") as said:
            read_password_file(secret)
        assert "horse" not in str(said.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of root")
def test_a_group_may_read_what_root_owns(secret: Path) -> None:
    secret.write_bytes(KEY)
    os.chown(secret, 0, NOBODY)
    secret.chmod(0o640)
    assert read_key_file(secret) == KEY
    for mode in (0o660, 0o644, 0o650):
        secret.chmod(mode)
        with pytest.raises(CertificateError, match="make it mode 0600"):
            read_key_file(secret)


def test_a_file_without_a_key_is_no_secret(secret: Path) -> None:
    for content in (CERTIFICATE, b"", b"[vtn]"):
        secret.write_bytes(content)
        secret.chmod(0o644)
        assert read_key_file(secret) == content
