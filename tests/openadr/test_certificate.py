"""What is read of a certificate, and which pairs of certificate and key are refused (SEC-07)."""

from __future__ import annotations

import ssl
import subprocess
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from openadr.certificate import Certificate, KeyKind, Purpose, read_der, read_key, read_pair, read_pem
from openadr.errors import CertificateError

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEM, PKCS8, PLAIN = (
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def certificate(key: Key, *extensions: x509.ExtensionType) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW, NOW + timedelta(days=9))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def pem(key: Key, *extensions: x509.ExtensionType) -> bytes:
    return certificate(key, *extensions).public_bytes(PEM)


P256 = ec.generate_private_key(ec.SECP256R1())
STRENGTHS = [
    (P256, None),
    (ec.generate_private_key(ec.SECP384R1()), None),
    (rsa.generate_private_key(65537, 2048), None),
    (rsa.generate_private_key(65537, 1024), "x holds an RSA key of 1024 bits, expected at least 2048"),
    (ec.generate_private_key(ec.SECP224R1()), "x holds an EC key of 224 bits, expected at least 256"),
    (ed25519.Ed25519PrivateKey.generate(), "x holds a key that is neither RSA nor EC"),
]


@pytest.mark.criterion("SEC-07", who="both")
@pytest.mark.parametrize(
    ("key", "refusal"), STRENGTHS, ids=["P-256", "P-384", "RSA 2048", "RSA 1024", "P-224", "Ed25519"]
)
def test_sec_07_short_keys_are_refused(key: Key, refusal: str | None) -> None:
    if refusal is None:
        (one,) = read_pem(pem(key), "x")
        assert one.kind is (KeyKind.RSA if isinstance(key, rsa.RSAPrivateKey) else KeyKind.EC)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        assert one.bits == key.key_size
        return
    with pytest.raises(CertificateError) as error:
        read_pem(pem(P256) + pem(key), "x")
    assert str(error.value) == refusal


def test_sec_07_a_certificate_of_version_1_is_refused(tmp_path: Path) -> None:
    key, request, made = tmp_path / "k", tmp_path / "r", tmp_path / "c"
    for command in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key],
        ["req", "-new", "-key", key, "-subj", "/CN=old", "-out", request],
        ["x509", "-req", "-in", request, "-signkey", key, "-out", made],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    with pytest.raises(CertificateError, match="x holds a certificate of version 1, expected version 3"):
        read_pem(made.read_bytes(), "x")


def usage(*oids: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(oids)


SERVER, CLIENT = x509.oid.ExtendedKeyUsageOID.SERVER_AUTH, x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("extensions", "purposes"),
    [
        ((), {Purpose.SERVER, Purpose.CLIENT}),
        ((usage(SERVER),), {Purpose.SERVER}),
        ((usage(CLIENT),), {Purpose.CLIENT}),
        ((usage(SERVER, CLIENT),), {Purpose.SERVER, Purpose.CLIENT}),
        ((usage(x509.oid.ExtendedKeyUsageOID.CODE_SIGNING),), set()),
        ((x509.BasicConstraints(ca=True, path_length=None), usage(SERVER)), set()),
    ],
)
def test_what_a_certificate_is_for(
    extensions: tuple[x509.ExtensionType, ...], purposes: set[Purpose]
) -> None:
    pair = (pem(P256, *extensions), "c"), (P256.private_bytes(PEM, PKCS8, PLAIN), "k"), None
    assert read_pem(pair[0][0], "c")[0].purposes == purposes
    for purpose in Purpose:
        if purpose in purposes:
            assert read_pair(*pair, purpose).purposes == purposes
        else:
            with pytest.raises(CertificateError, match=f"the certificate in c is not for a {purpose}"):
                read_pair(*pair, purpose)


def test_what_is_read_of_a_certificate() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("vtn.example")])
    one = read_pem(pem(P256, names), "x")[0]
    assert (one.subject, one.issuer, one.serial, one.names) == ("CN=alice", "CN=alice", 7, ("vtn.example",))
    assert (one.not_before, one.not_after) == (NOW, NOW + timedelta(days=9))
    assert [one.days_left(NOW + timedelta(days=days)) for days in (0, 8.5, 9, 9.5)] == [9, 0, 0, -1]
    assert read_der(one.der, "x") == one
    assert one.fingerprint == certificate_of(one).fingerprint(hashes.SHA256()).hex()


def certificate_of(one: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(one.der)


def test_a_key_is_found_among_other_things_and_not_asked_for_a_password() -> None:
    key = P256.private_bytes(PEM, PKCS8, PLAIN)
    traditional = P256.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, PLAIN)
    for content in (key, pem(P256) + key, b"-----BEGIN EC PARAMETERS-----\nAA\n" + traditional):
        for password in (None, b"needless"):
            found = read_key(content, "k", password)
            assert found.private_numbers() == P256.private_numbers()  # type: ignore[union-attr] - an EC key


@pytest.mark.parametrize(
    ("content", "password", "text"),
    [
        (b"", None, "k holds no private key"),
        (pem(P256), None, "k holds no private key"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            None,
            "the key in k cannot be read",
        ),
        (
            P256.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"a")),
            None,
            "the key in k is encrypted, and no password was given",
        ),
        (
            P256.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"a")),
            b"b",
            "the key in k does not open with the password given",
        ),
    ],
    ids=["nothing", "a certificate", "no key at all", "locked", "wrong password"],
)
def test_a_key_that_cannot_be_used_is_named(content: bytes, password: bytes | None, text: str) -> None:
    with pytest.raises(CertificateError) as error:
        read_key(content, "k", password)
    assert str(error.value) == text


def test_a_pair_that_does_not_fit_is_named() -> None:
    for other in (ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()):
        key = other.private_bytes(PEM, PKCS8, PLAIN)
        with pytest.raises(CertificateError, match="the key in k is not that of the certificate in c"):
            read_pair((pem(P256), "c"), (key, "k"), None, Purpose.CLIENT)


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_bytes_that_are_no_certificate_are_refused(cut: int) -> None:
    der = certificate(P256).public_bytes(serialization.Encoding.DER)
    with pytest.raises(CertificateError, match="x holds a certificate that cannot be read"):
        read_der(der[:cut], "x")
    with pytest.raises(CertificateError, match="x holds no certificate that can be read"):
        read_pem(der[:cut], "x")


ODD = certificate(
    P256,
    x509.BasicConstraints(False, None),
    usage(CLIENT),
    x509.SubjectAlternativeName([x509.DNSName("a.example")]),
).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a003020102", "a00302012e"),
        ("2a8648ce3d030107", "2a8648ce3d030e07"),
        ("0603551d25", "0603551d13"),
        ("8209612e6578616d706c65", "a309612e6578616d706c65"),
        ("8209612e6578616d706c65", "8209ff2e6578616d706c65"),
        ("170d3236", "170dff36"),
    ],
    ids=["unknown version", "unknown curve", "the same twice", "name of no kind", "no ASCII", "no time"],
)
def test_odd_certificates_are_refused_like_any_that_cannot_be_read(old: str, new: str) -> None:
    odd = ODD.hex().replace(old, new)
    assert odd != ODD.hex()
    with pytest.raises(CertificateError, match="x holds a certificate that cannot be read"):
        read_der(bytes.fromhex(odd), "x")
    armed = ssl.DER_cert_to_PEM_cert(bytes.fromhex(odd)).encode()
    with pytest.raises(CertificateError, match="x holds no certificate that can be read"):
        read_pem(armed, "x")


def test_no_change_of_bytes_makes_anything_but_a_certificate_or_a_refusal() -> None:
    random = Random(20260302)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and numbers that are old-fashioned only
        for _ in range(3000):
            odd = bytearray(ODD)
            for _ in range(random.choice((1, 1, 2, 3))):
                odd[random.randrange(len(odd))] = random.randrange(256)
            try:
                read_der(bytes(odd), "x")
            except CertificateError as error:
                assert str(error).startswith("x holds ")
