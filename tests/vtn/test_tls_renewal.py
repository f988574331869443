"""Certificates that change, end or are revoked while connections are open (SEC-10, SEC-15, SEC-17)."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from flexpact.pki import identity, issue, load, renew
from flexpact.revocation import revoke
from openadr import Poll, Response, encode
from openadr.certificate import KeyKind
from openadr.enums import ProfileName
from tests.vtn.secure import (
    BOTH,
    NOW,
    RUNNERS,
    Connection,
    Run,
    context_of,
    odd_certificate,
    serving,
    vtn_settings,
)
from vtn import certificate, registration, renewal
from vtn.errors import StartupError
from vtn.renewal import Renewal
from vtn.server import Server
from vtn.store import Database
from vtn.tls import server_tls

POLL = encode(Poll(ven_id="x"))


def of(pki: Path, name: str) -> ssl.SSLContext:
    return context_of(pki, identity(pki, name, KeyKind.EC))


def cert_of(pki: Path, name: str, kind: KeyKind = KeyKind.EC) -> bytes:
    return load(identity(pki, name, kind).cert)[0].der


async def shown_now(server: Server, context: ssl.SSLContext) -> bytes:
    connection = await Connection.open(server, context)
    shown = connection.shown
    await connection.close()
    return shown


@pytest.mark.goal(16)
@pytest.mark.parametrize("run", RUNNERS)
def test_goals_16_new_connections_get_the_new_certificates_and_open_ones_go_on(
    run: Run, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
            alice, rsa_only = of(pki, "alice"), of(pki, "alice")
            rsa_only.set_ciphers("AES128-SHA256")
            rsa_only.maximum_version = ssl.TLSVersion.TLSv1_2
            old = {kind: cert_of(pki, "vtn", kind) for kind in BOTH}
            first = await Connection.open(server, alice)
            assert first.shown == old[KeyKind.EC]
            assert (await first.post("OadrPoll", POLL))[0] == 200
            for kind in BOTH:
                renew(identity(pki, "vtn", kind), kind, NOW)
            server.reload()
            assert await shown_now(server, alice) == cert_of(pki, "vtn") != old[KeyKind.EC]
            assert await shown_now(server, rsa_only) == cert_of(pki, "vtn", KeyKind.RSA) != old[KeyKind.RSA]
            assert (await first.post("OadrPoll", POLL))[0] == 200
            await first.close()

    run(scene())


@pytest.mark.goal(16)
async def test_a_file_that_was_replaced_counts_without_being_asked(
    pki: Path, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 0.005)
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        renew(identity(pki, "vtn", KeyKind.EC), KeyKind.EC, NOW)
        new = cert_of(pki, "vtn")
        async with asyncio.timeout(30):
            while (shown := await shown_now(server, of(pki, "alice"))) != new:
                pass
        assert shown == new


@pytest.mark.goal(16)
async def test_a_revocation_counts_on_an_open_connection_without_being_asked(
    pki: Path, database_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert renewal.LOOK_EVERY_S <= 1.0
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 0.005)
    async with serving(vtn_settings(pki, crl=pki / "crl.pem"), database_path, lambda: NOW) as server:
        alice, bob = [await Connection.open(server, of(pki, name)) for name in ("alice", "bob")]
        revoke(pki, load(pki / "bob.pem")[0], NOW)
        async with asyncio.timeout(30):
            while (answer := await bob.post("OadrPoll", POLL))[0] == 200:
                pass
        assert answer == (403, b"")
        assert (await alice.post("OadrPoll", POLL))[0] == 200
        for connection in (alice, bob):
            await connection.close()


async def test_files_that_cannot_be_used_change_nothing_and_are_named(pki: Path, database_path: Path) -> None:
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        old = cert_of(pki, "vtn")
        (pki / "vtn.key").write_text("nothing")
        with capture_logs() as logs:
            server.reload()
        assert logs[-1]["error"] == f"{pki / 'vtn.key'} holds no private key"
        assert await shown_now(server, of(pki, "alice")) == old


@pytest.mark.goal(16)
@pytest.mark.criterion("SEC-17")
@pytest.mark.parametrize("run", RUNNERS)
def test_goals_16_a_revoked_client_is_cut_off_and_the_others_go_on(
    run: Run, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        settings = vtn_settings(pki, crl=pki / "crl.pem")
        async with serving(settings, database_path, lambda: NOW) as server:
            alice, bob = [await Connection.open(server, of(pki, name)) for name in ("alice", "bob")]
            for connection in (alice, bob):
                assert (await connection.post("OadrPoll", POLL))[0] == 200
            revoke(pki, load(pki / "bob.pem")[0], NOW)
            server.reload()
            assert await bob.post("OadrPoll", POLL) == (403, b"")
            assert await bob.ended()
            assert (await alice.post("OadrPoll", POLL))[0] == 200
            assert await taken(server, of(pki, "alice"))
            assert not await taken(server, of(pki, "bob"))
            for connection in (alice, bob):
                await connection.close()

    run(scene())


async def taken(server: Server, context: ssl.SSLContext) -> bool:
    """Whether a new connection gets an answer."""
    try:
        connection = await Connection.open(server, context)
    except (ssl.SSLError, ConnectionError):
        return False
    try:
        return (await connection.post("OadrPoll", POLL))[0] == 200
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        await connection.close()


@pytest.mark.criterion("SEC-17")
async def test_without_a_list_nobody_is_looked_up(pki: Path, database_path: Path) -> None:
    revoke(pki, load(pki / "bob.pem")[0], NOW)
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        assert await taken(server, of(pki, "bob"))
    shutil.copy(database_path, pki / "second.db")
    settings = vtn_settings(pki, crl=pki / "crl.pem")
    async with serving(settings, pki / "second.db", lambda: NOW) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):  # in the handshake already
            await Connection.open(server, of(pki, "bob"))
        assert await taken(server, of(pki, "carol-rsa"))


@pytest.mark.goal(16)
@pytest.mark.parametrize("run", RUNNERS)
def test_sec_10_no_answer_once_the_certificate_of_an_open_connection_has_expired(
    run: Run, pki: Path, database_path: Path
) -> None:
    async def scene() -> None:
        ends = load(pki / "alice.pem")[0].not_after
        now = [NOW]
        async with serving(vtn_settings(pki), database_path, lambda: now[0]) as server:
            connection = await Connection.open(server, of(pki, "alice"))
            for instant in (NOW, ends - timedelta(seconds=1)):
                now[0] = instant
                assert (await connection.post("OadrPoll", POLL))[0] == 200
            now[0] = ends
            assert await connection.post("OadrPoll", POLL) == (403, b"")
            assert await connection.ended()
            await connection.close()

    run(scene())


async def test_sec_14_a_short_form_of_sha_1_binds_the_first_certificate_that_fits(
    pki: Path, database_path: Path
) -> None:
    """The form of 2.0a, which cannot be had from the principal."""
    alice = load(pki / "alice.pem")[0]
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        database = await Database.open(database_path)
        async with database.write() as conn:
            await registration.enrol(conn, "alice", alice.short_2_0a, NOW, profile=ProfileName.A)
        for name, fingerprint in (("bob", None), ("alice", alice.fingerprint)):
            connection = await Connection.open(server, of(pki, name))
            reply = await connection.say("OadrPoll", Poll(ven_id=""))
            assert isinstance(reply, Response)  # 463: nobody has registered yet
            await connection.close()
            async with database.read() as conn:
                (known,) = await certificate.enrolled(conn)
            assert known.fingerprint == fingerprint
        await database.close()


@pytest.mark.goal(82)
async def test_warnings_come_once_for_30_7_and_1_days_of_the_server_and_its_vens(
    made: Path, database: Database
) -> None:
    now = [NOW]
    tls = server_tls(vtn_settings(made))
    assert tls is not None
    watch = Renewal(tls, database, lambda: now[0])
    ends = tls.own[0].not_after
    async with database.write() as conn:
        await registration.enrol(conn, "alice", "a1" * 32, NOW)
        await certificate.seen(conn, {"a1" * 32: ends})
    told = []
    for days in (31, 29, 28, 6, 5, 0.5, 0.25):
        now[0] = ends - timedelta(days=days)
        with capture_logs() as logs:
            await watch.warn(now[0])
        told.append(sorted(entry["whose"] for entry in logs if entry["event"] == "a certificate ends soon"))
    every = ["alice", "the server", "the server"]
    assert told == [[], every, [], every, [], every, []]


async def test_when_a_clients_certificate_expires_is_known_after_it_came(
    pki: Path, database_path: Path
) -> None:
    alice = load(pki / "alice.pem")[0]
    database = await Database.open(database_path)
    async with database.write() as conn:
        await registration.enrol(conn, "alice", alice.fingerprint, NOW)
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        assert await taken(server, of(pki, "alice"))
    async with database.read() as conn:
        (known,) = await certificate.enrolled(conn)
    assert known.expires_at == alice.not_after
    await database.close()


@pytest.mark.criterion("SEC-05")
async def test_a_server_with_one_certificate_says_so(made: Path, database_path: Path) -> None:
    for kinds, warnings in ((BOTH, 0), ((KeyKind.EC,), 1)):
        with capture_logs() as logs:
            async with serving(vtn_settings(made, *kinds), database_path, lambda: NOW):
                pass
        assert len([entry for entry in logs if "SEC-05" in entry["event"]]) == warnings


def broken(pki: Path) -> dict[str, tuple[dict[str, object], str]]:
    """Settings that cannot work, and the sentence about them."""
    plain, locked, wrong, good = (pki / name for name in ("plain.pem", "locked.key", "wrong", "good"))
    odd_certificate(pki, "weak-ec", NOW, ec.generate_private_key(ec.SECP224R1()), usage=SERVER)
    for secret in (plain, wrong, good):
        secret.touch(mode=0o600)
    plain.write_text("nothing")
    good.write_text("secret\n")
    wrong.write_text("guess")
    lock(pki / "vtn.key", locked, b"secret")
    bare, told = Path(shutil.copy(pki / "vtn.key", pki / "bare")), Path(shutil.copy(good, pki / "told"))
    bare.chmod(0o644)
    told.chmod(0o644)
    return {
        "a key of another": ({"key": pki / "bob.key"}, f"the key in {pki / 'bob.key'} is not that of the"),
        "no certificate": ({"cert": plain}, f"{plain} holds no certificate"),
        "no key": ({"key": plain}, f"{plain} holds no private key"),
        "no authority": ({"ca": plain}, f"the ca file {plain} holds no certificate"),
        "no list": ({"crl": plain}, f"the crl file {plain} holds no revocation list"),
        "locked": ({"key": locked}, f"the key in {locked} is encrypted, and no password was given"),
        "wrong": (
            {"key": locked, "key_password_file": wrong},
            f"the key in {locked} does not open with the password given",
        ),
        "an open key": ({"key": bare}, f"{bare} holds a private key and is open to others"),
        "an open password": (
            {"key": locked, "key_password_file": told},
            f"{told} holds a password and is open to others",
        ),
        "a client's": (
            {"cert": pki / "alice.pem", "key": pki / "alice.key"},
            f"{pki / 'alice.pem'} is not for a server",
        ),
        "weak": (
            {"cert": pki / "weak-ec.pem", "key": pki / "weak-ec.key"},
            f"{pki / 'weak-ec.pem'} holds an EC key of 224 bits, expected at least 256",
        ),
        "one kind twice": (
            {"rsa_cert": pki / "vtn.pem", "rsa_key": pki / "vtn.key"},
            "cert and rsa_cert both hold an EC key",
        ),
        "half a pair": ({"rsa_cert": None}, "rsa_cert and rsa_key belong together"),
        "a missing list": ({"crl": pki / "nowhere"}, f"the crl file {pki / 'nowhere'} does not exist"),
    }


SERVER = x509.oid.ExtendedKeyUsageOID.SERVER_AUTH


def lock(key: Path, to: Path, password: bytes) -> None:
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415 - for this one file

    loaded = s.load_pem_private_key(key.read_bytes(), None)
    encryption = s.BestAvailableEncryption(password)
    to.touch(mode=0o600)
    to.write_bytes(loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, encryption))


@pytest.mark.criterion("SEC-07", who="vtn")
def test_files_that_cannot_be_used_are_one_sentence_that_names_them(pki: Path) -> None:
    for name, (changes, text) in broken(pki).items():
        with pytest.raises(StartupError) as error:
            server_tls(vtn_settings(pki, **changes))
        assert text in str(error.value), name
        assert "\n" not in str(error.value)
    fine = vtn_settings(pki, key=pki / "locked.key", key_password_file=pki / "good")
    assert server_tls(fine) is not None


def test_a_file_that_may_not_be_read_is_named(pki: Path) -> None:
    tls = server_tls(vtn_settings(pki))
    assert tls is not None
    (pki / "vtn.pem").unlink()
    assert tls.changed()
    with pytest.raises(StartupError, match=r"vtn\.pem cannot be read: No such file"):
        tls.reload()


def test_a_chain_that_openssl_does_not_take_is_named(pki: Path) -> None:
    """A list in the place of an authority's certificates, beside a good one."""
    both = pki / "both.pem"
    broken_block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    both.write_bytes((pki / "ca.pem").read_bytes() + broken_block.encode())
    with pytest.raises(StartupError, match=r"both\.pem"):
        server_tls(vtn_settings(pki, ca=both))


@pytest.mark.goal(82)
async def test_a_new_certificate_of_a_ven_needs_no_new_registration(pki: Path, database_path: Path) -> None:
    """SEC-15 on the wire is in test_certificate.py; here the old and the new one are real."""
    alice = load(pki / "alice.pem")[0]
    database = await Database.open(database_path)
    async with database.write() as conn:
        ven_id = await registration.enrol(conn, "alice", alice.fingerprint, NOW)
    old_context = of(pki, "alice")
    issue(pki, "alice-2", NOW, server=False)
    async with serving(vtn_settings(pki), database_path, lambda: NOW) as server:
        async with database.write() as conn:
            assert await registration.enrol(conn, "alice", load(pki / "alice-2.pem")[0].short, NOW) == ven_id
        for context in (old_context, of(pki, "alice-2")):
            assert await taken(server, context)
    async with database.read() as conn:
        assert {one.ven_id for one in await certificate.enrolled(conn)} == {ven_id}
        assert None not in {one.fingerprint for one in await certificate.enrolled(conn)}
    await database.close()
