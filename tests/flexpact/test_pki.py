import asyncio
import hashlib
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flexpact.pki import PkiError, issue, make_authority

NOW = datetime.now(UTC)


async def _greet(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Return what the client reads from a server that greets everybody it lets in."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        said = await reader.read()
        writer.close()
        return said
    finally:
        listener.close()
        await listener.wait_closed()


def _contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    make_authority(tmp_path, NOW)
    vtn, ven = issue(tmp_path, "vtn", NOW, server=True), issue(tmp_path, "node-1", NOW, server=False)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=vtn.ca)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(vtn.cert, vtn.key)
    client = ssl.create_default_context(cafile=ven.ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(ven.cert, ven.key)
    return server, client


async def test_both_ends_accept_each_other_over_mutual_tls(tmp_path: Path) -> None:
    assert await _greet(*_contexts(tmp_path)) == b"hello"


async def test_a_nodes_certificate_does_not_serve(tmp_path: Path) -> None:
    server, client = _contexts(tmp_path)
    server.load_cert_chain(tmp_path / "node-1.pem", tmp_path / "node-1.key")
    with pytest.raises(ssl.SSLCertVerificationError):
        await _greet(server, client)


def test_the_fingerprint_is_that_of_the_der_bytes(tmp_path: Path) -> None:
    make_authority(tmp_path, NOW)
    ven = issue(tmp_path, "node-1", NOW, server=False)
    der = ssl.PEM_cert_to_DER_cert(ven.cert.read_text())
    assert ven.fingerprint == hashlib.sha256(der).hexdigest()
    assert len(ven.fingerprint) == 64


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    make_authority(tmp_path, NOW)
    ven = issue(tmp_path, "node-1", NOW, server=False)
    assert ven.key.stat().st_mode & 0o077 == 0


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    make_authority(tmp_path, NOW)
    issue(tmp_path, "vtn", NOW, server=True)
    with pytest.raises(PkiError, match="already holds an authority"):
        make_authority(tmp_path, NOW)
    with pytest.raises(PkiError, match="already holds a certificate of vtn"):
        issue(tmp_path, "vtn", NOW, server=True)


@pytest.mark.parametrize("name", ["", "..", "a/b", "ca"])
def test_a_name_that_cannot_be_a_file_is_refused(tmp_path: Path, name: str) -> None:
    make_authority(tmp_path, NOW)
    with pytest.raises(PkiError, match="cannot name"):
        issue(tmp_path, name, NOW, server=False)


def test_a_missing_or_broken_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="make an authority first"):
        issue(tmp_path, "node-1", NOW, server=False)
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(PkiError, match="holds no certificate"):
        issue(tmp_path, "node-1", NOW, server=False)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PkiError, match="file"):
        make_authority(tmp_path / "file" / "pki", NOW)
