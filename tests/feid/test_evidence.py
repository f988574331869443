"""What a box knows of its own key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from feid.evidence import xml_certificate
from feid.guard import Limits
from feid.settings import DriverSettings, FeidSettings
from tests.ven.site import NOW
from ven.settings import VenSettings


@pytest.mark.parametrize(("curve", "is_alone"), [(ec.SECP256R1(), False), (ec.SECP384R1(), True)])
def test_only_a_key_that_cannot_sign_bytes_signs_in_the_xml_alone(
    tmp_path: Path, curve: ec.EllipticCurve, is_alone: bool
) -> None:
    key, name = ec.generate_private_key(curve), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    cert = tmp_path / "cert.pem"
    cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    ven = VenSettings(
        vtn_url="https://localhost", ven_name="n", state_path=tmp_path / "v.db", cert=cert, key=cert, ca=cert
    )
    settings = FeidSettings(
        "n", tmp_path, DriverSettings("simulated", tmp_path), Limits(connection_capacity_kw=1.0), ven
    )
    assert xml_certificate(settings) is None
    signing = replace(settings, ven=replace(ven, xml_signature=True))
    wanted = certificate.fingerprint(hashes.SHA256()).hex() if is_alone else None
    assert xml_certificate(signing) == wanted
