"""Who takes part on a chain: an account with the certificate that stands for the same party elsewhere."""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ledger.binding import Binding, Role
from ledger.errors import KeyFileError
from ledger.setup import Party
from openadr.errors import CertificateError
from openadr.private_file import read_key_file

ROLES = {
    "aggregator": Role.AGGREGATOR,
    "node": Role.VIRTUAL_NODE,
    "prosumer": Role.PROSUMER,
    "dso": Role.DSO,
    "auditor": Role.AUDITOR,
}


def party(account: bytes, role: str, cert: Path, key: Path) -> Party:
    """The party of that account, its certificate and key from PEM files; KeyFileError if one holds none."""
    certificate = _certificate(cert)
    try:
        loaded = load_pem_private_key(read_key_file(key), None)
    except CertificateError as error:
        raise KeyFileError(str(error)) from None
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{key} holds no private key that is not encrypted") from error
    except UnsupportedAlgorithm as error:
        raise KeyFileError(f"{key} holds a key that cannot be read: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyFileError(f"{key} holds a key that is neither P-256 nor RSA")
    return Party(account, ROLES[role], certificate, loaded)


def bound_party(account: bytes, role: str, cert: Path, binding: Path) -> Party:
    """The party of that account by its certificate and the binding that it made itself."""
    return Party(account, ROLES[role], _certificate(cert), Binding.from_json(binding.read_bytes()))


def _certificate(cert: Path) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificates(cert.read_bytes())[0]
        certificate.public_key()
    except ValueError as error:
        raise KeyFileError(f"{cert} holds no certificate") from error
    except UnsupportedAlgorithm as error:
        raise KeyFileError(f"{cert} is of a key that cannot be read: {error}") from error
    return certificate
