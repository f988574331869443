"""`flexpact pki`: what it makes, says, asks and refuses."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner, Result

from flexpact.cli import build
from flexpact.pki import PkiError, identity, load, make_authority
from flexpact.revocation import revoke, revoked, start_list
from openadr.certificate import Certificate, KeyKind, Purpose
from openadr.security import read_fingerprint

NOW = datetime.now(UTC)


def pki(*words: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(build(["pki"]), ["pki", *map(str, words)], input=answer)


def refused(*words: object) -> str:
    result = pki(*words)
    assert result.exit_code == 1
    return str(result.exception)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both authorities, a server with both certificates, a VEN; only looked at."""
    directory = tmp_path_factory.mktemp("pki")
    assert pki("init", directory).output.strip() == str(directory / "ca.pem")
    assert pki("issue", directory, "vtn", "--server", "--host", "vtn.example").exit_code == 0
    assert pki("issue", directory, "alice").exit_code == 0
    return directory


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A P-256 authority with a VEN; may be changed."""
    pki("init", tmp_path, "--kind", "p256")
    pki("issue", tmp_path, "alice")
    return tmp_path


def test_a_server_gets_a_pair_of_kinds_each_from_its_own_authority(made: Path) -> None:
    first, second = (load(made / name)[0] for name in ("vtn.pem", "vtn-rsa.pem"))
    assert (first.kind, second.kind) == (KeyKind.EC, KeyKind.RSA)
    authorities = {one.subject: one.kind for one in load(made / "ca.pem")}
    assert [authorities[one.issuer] for one in (first, second)] == [KeyKind.EC, KeyKind.RSA]
    assert {one.names for one in (first, second)} == {("vtn.example",)}
    assert {one.purposes for one in (first, second)} == {frozenset({Purpose.SERVER})}
    for name in ("vtn", "vtn-rsa", "alice"):
        command = ["openssl", "verify", "-CAfile", made / "ca.pem", made / f"{name}.pem"]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_private_keys_are_for_their_owner_alone(made: Path) -> None:
    keys = list(made.glob("*.key"))
    assert len(keys) == 5
    assert [path.name for path in keys if path.stat().st_mode & 0o077] == []


@pytest.mark.criterion("SEC-14", who="ven")
def test_sec_14_show_prints_every_form_of_the_fingerprint(made: Path) -> None:
    output = pki("show", made / "alice.pem").output
    der = ssl.PEM_cert_to_DER_cert((made / "alice.pem").read_text())
    alice = load(made / "alice.pem")[0]
    assert alice.der == der
    words = output.split()
    assert len(alice.short) == 29
    for form in (alice.short, alice.fingerprint, alice.short_2_0a):
        assert form in words
    assert read_fingerprint(alice.short).tail == alice.fingerprint[-20:]


def test_show_of_a_directory_lists_its_certificates_and_what_is_wrong_with_them(small: Path) -> None:
    pki("issue", small, "soon", "--days", "20")
    pki("issue", small, "bob")
    pki("revoke", small, "bob", "--yes")
    with time_machine.travel(NOW + timedelta(days=1), tick=False):
        lines = pki("show", small).output.splitlines()
    states = {Path(line.split(":")[0]).stem: lines[at + 1] for at, line in enumerate(lines) if line[0] != " "}
    assert states.keys() == {"alice", "bob", "ca", "soon"}
    assert "left" not in states["alice"]
    assert "days left)" in states["soon"]
    assert states["bob"].endswith("REVOKED")
    with time_machine.travel(NOW + timedelta(days=40), tick=False):
        assert "EXPIRED" in pki("show", small / "soon.pem").output


def test_renew_keeps_the_old_pair_and_never_loses_a_key(small: Path) -> None:
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    old = load(small / "alice.pem")[0]
    assert pki("renew", small, "alice", "--yes").exit_code == 0
    kept = {path.read_bytes() for path in small.iterdir()}
    assert set(before.values()) <= kept
    new = load(small / "alice.pem")[0]
    assert (new.subject, new.purposes) == (old.subject, old.purposes)
    assert new.fingerprint != old.fingerprint
    assert (small / f"alice.{old.serial:x}.pem").read_bytes() == before["alice.pem"]
    assert len(list(small.glob("*.new"))) == 0
    assert [path.name for path in small.glob("*.key") if path.stat().st_mode & 0o077] == []


def test_renew_of_a_server_renews_both_kinds_for_the_same_names(tmp_path: Path, made: Path) -> None:
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    pki("renew", tmp_path, "vtn", "--yes")
    for name in ("vtn.pem", "vtn-rsa.pem"):
        new, old = load(tmp_path / name)[0], load(made / name)[0]
        assert new.fingerprint != old.fingerprint
        assert (new.kind, new.names, new.issuer) == (old.kind, old.names, old.issuer)


@pytest.mark.parametrize("word", ["renew", "revoke"])
def test_a_dangerous_action_says_what_it_will_do_and_asks_first(small: Path, word: str) -> None:
    before = {path: path.read_bytes() for path in small.iterdir()}
    result = pki(word, small, "alice", answer="n\n")
    assert "nothing was changed" in str(result.exception)
    assert str(small / "alice.pem") in result.output
    assert {path: path.read_bytes() for path in small.iterdir()} == before
    assert pki(word, small, "alice", answer="y\n").exit_code == 0
    assert {path: path.read_bytes() for path in small.iterdir()} != before


def test_a_revoked_certificate_is_on_the_list_that_openssl_reads(small: Path) -> None:
    def verifies() -> bool:
        lists = ["-crl_check", "-CRLfile", small / "crl.pem"]
        command = ["openssl", "verify", "-CAfile", small / "ca.pem", *lists, small / "alice.pem"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    assert verifies()
    pki("issue", small, "bob")
    for name in ("bob", "alice"):
        assert pki("revoke", small, name, "--yes").exit_code == 0
    assert not verifies()
    assert len(revoked(small)) == 2
    assert "revoked already" in refused("revoke", small, "alice", "--yes")


def test_both_authorities_keep_a_list(tmp_path: Path, made: Path) -> None:
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    assert pki("revoke", tmp_path, "vtn", "--yes").exit_code == 0
    assert revoked(tmp_path) == {
        (one.issuer, one.serial) for name in ("vtn.pem", "vtn-rsa.pem") for one in load(tmp_path / name)
    }


def test_a_revocation_leaves_the_list_of_an_authority_whose_key_is_away(tmp_path: Path, made: Path) -> None:
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    assert pki("revoke", tmp_path, tmp_path / "vtn-rsa.pem", "--yes").exit_code == 0
    (tmp_path / "ca-rsa.key").unlink()
    assert pki("revoke", tmp_path, "alice", "--yes").exit_code == 0
    names = ("vtn-rsa.pem", "alice.pem")
    assert revoked(tmp_path) == {(one.issuer, one.serial) for name in names for one in load(tmp_path / name)}


def test_a_revocation_without_its_authoritys_key_names_the_file(tmp_path: Path, made: Path) -> None:
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "ca-rsa.key").unlink()
    before = (tmp_path / "crl.pem").read_bytes()
    assert "ca-rsa.key: No such file" in refused("revoke", tmp_path, tmp_path / "vtn-rsa.pem", "--yes")
    assert "ca-rsa.key: No such file" in refused("issue", tmp_path, "bob", "--kind", "rsa")
    assert (tmp_path / "crl.pem").read_bytes() == before
    (tmp_path / "crl.pem").unlink()  # then the list of the other authority must be begun, too
    assert "ca-rsa.key: No such file" in refused("revoke", tmp_path, "alice", "--yes")
    assert not (tmp_path / "crl.pem").exists()


def test_a_certificate_of_an_authority_that_is_only_trusted_cannot_be_revoked(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other, now = tmp_path_factory.mktemp("other"), datetime.now(UTC)
    foreign = odd_authority(other, now)
    with (small / "ca.pem").open("ab") as file:
        file.write((other / "ca.pem").read_bytes())
    with pytest.raises(PkiError, match="holds no key of CN=foreign"):
        revoke(small, foreign, now)


def odd_authority(directory: Path, now: datetime) -> Certificate:
    """A certificate of an authority with a name of its own, which issued it to itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "foreign")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    (directory / "ca.pem").write_bytes(made.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return load(directory / "ca.pem")[0]


def test_a_certificate_of_another_authority_cannot_be_revoked_here(small: Path, made: Path) -> None:
    other = load(made / "vtn-rsa.pem")[0]
    with pytest.raises(PkiError, match="not issued by an authority in"):
        revoke(small, other, NOW)


def test_the_authoritys_keys_can_have_a_password(tmp_path: Path) -> None:
    secret, wrong = tmp_path / "secret", tmp_path / "wrong"
    secret.touch(mode=0o600)
    wrong.touch(mode=0o600)
    secret.write_text("correct horse\n")
    wrong.write_text("battery staple")
    directory = tmp_path / "pki"
    pki("init", directory, "--kind", "p256", "--password-file", secret)
    assert b"ENCRYPTED" in (directory / "ca.key").read_bytes()
    assert "is encrypted, and no password was given" in refused("issue", directory, "alice")
    assert "does not open with the password given" in refused(
        "issue", directory, "alice", "--password-file", wrong
    )
    assert not (directory / "alice.key").exists()
    assert pki("issue", directory, "alice", "--password-file", secret).exit_code == 0
    assert "missing: No such file" in refused(
        "issue", directory, "b", "--password-file", tmp_path / "missing"
    )


def test_an_empty_password_makes_no_key_that_anybody_can_read(tmp_path: Path) -> None:
    empty, directory = tmp_path / "empty", tmp_path / "pki"
    empty.touch(mode=0o600)
    empty.write_text("\n")
    assert f"{empty} holds no password" in refused("init", directory, "--password-file", empty)
    with pytest.raises(PkiError, match="password is empty"):
        make_authority(directory, NOW, password=b"")
    assert not directory.exists()


def test_what_cannot_be_done_is_one_sentence_that_names_the_file(small: Path, tmp_path: Path) -> None:
    assert f"{small} already holds an authority" in refused("init", small)
    assert f"{small} already holds a certificate of alice" in refused("issue", small, "alice")
    assert f"{small} holds no certificate of bob" in refused("renew", small, "bob")
    assert f"{small} holds no certificate of bob" in refused("revoke", small, "bob")
    assert "nowhere.pem: No such file" in refused("show", tmp_path / "nowhere.pem")
    assert "--host is for a server" in refused("issue", small, "x", "--host", "a.example")
    assert "'dsa'" in refused("issue", small, "x", "--kind", "dsa")
    for host in (
        "bücher.example",
        "",
        "https://vtn.example",
        "vtn.example:8443",
        "a b",
        "a..b",
        "-a",
        "a" * 300,
    ):
        assert "no host name" in refused("issue", small, "x", "--server", f"--host={host}")
    (small / "crl.pem").write_bytes(b"-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----\n")
    assert "crl.pem holds a revocation list that cannot be read" in refused("revoke", small, "alice", "--yes")
    (small / "alice.pem").write_text("nothing")
    assert "alice.pem holds no certificate" in refused("renew", small, "alice", "--yes")


def test_a_key_that_is_not_the_authoritys_is_named(small: Path, made: Path) -> None:
    (small / "ca.key").unlink()
    assert "ca.key: No such file" in refused("issue", small, "bob")
    shutil.copy(made / "ca.key", small / "ca.key")
    assert "ca.key is not that of a certificate in" in refused("issue", small, "bob")


def test_keys_and_passwords_that_others_can_read_are_refused(small: Path, tmp_path: Path) -> None:
    (small / "ca.key").chmod(0o644)
    assert "ca.key holds a private key and is open to others" in refused("issue", small, "bob")
    (tmp_path / "password").write_text("secret")
    said = refused("init", tmp_path / "other", "--password-file", tmp_path / "password")
    assert "password holds a password and is open to others" in said
    assert not (tmp_path / "other").exists()


def test_a_renewal_that_broke_off_is_named(small: Path) -> None:
    (small / "alice.key.new").touch()
    assert "alice.key.new: File exists" in refused("renew", small, "alice", "--yes")


def test_a_directory_where_no_list_can_be_written_is_named(small: Path) -> None:
    alice = load(small / "alice.pem")[0]
    (small / "crl.new").mkdir()
    with pytest.raises(PkiError, match=r"crl\.new: Is a directory"):
        revoke(small, alice, NOW)
    with pytest.raises(PkiError, match="is there already"):
        start_list(small, NOW)
    (small / "crl.pem").unlink()
    (small / "crl.pem").mkdir()
    with pytest.raises(PkiError, match=r"crl\.pem: Is a directory"):
        revoked(small)


def test_the_files_of_a_party_have_its_name(small: Path) -> None:
    assert identity(small, "alice", KeyKind.RSA).key == small / "alice-rsa.key"
