"""What a box knows of its own key and of its own past."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from feid.audit import Present, Tally, compare
from feid.evidence import xml_certificate
from feid.guard import Limits
from feid.settings import DriverSettings, FeidSettings
from ledger.record import Record
from tests.ven.site import NOW
from ven.deed import Deed, Kind
from ven.registration import Registration
from ven.saved import Saved
from ven.settings import VenSettings
from ven.store import Store, recollect


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


def test_what_was_done_under_another_id_is_looked_for_under_that_until_it_was_found(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "v.db")
    for number in (1, 2):
        done = Deed(Kind.OPT, NOW, f"e{number}/0/optIn/200")
        registered = Registration(f"ven-{number}", f"r-{number}", "vtn", 10.0)
        store.save(Saved(registration=registered), deeds=[done])
    store.close()
    body: dict[str, object] = {"event_id": "e1", "modification_number": 0, "opt_type": "optIn", "code": "200"}
    before = Record("opt", "opt/ven-1/e1/0/1", NOW, {"ven_id": "ven-1", **body})
    since = Record("opt", "opt/ven-2/e2/0/1", NOW, {"ven_id": "ven-2", **body, "event_id": "e2"})
    memory, young = recollect(tmp_path / "v.db"), Present(NOW + timedelta(minutes=1), patience=timedelta(0))
    assert compare(memory, [before, since], young) == Tally(opts=2)
    hidden = compare(memory, [since], young)
    assert [str(each.fault) for each in hidden.findings] == ["missing"]
    assert "e1/0/optIn/200, done at 2026-" in hidden.findings[0].text
    assert hidden.findings[0].text.endswith(" as ven-1, is not in the log")
    found = replace(young, found_until=NOW)  # an audit has found it when that was the box's id
    assert compare(memory, [since], found) == Tally(opts=1)
