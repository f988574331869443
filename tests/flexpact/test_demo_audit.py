"""The audits at the end of a demo: complete and signed, or the first trouble in a sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from flexpact.demo.audit import audit_boxes
from flexpact.demo.layout import Layout
from tests.feid.test_audit import BODIES, DEEDS, KEY, RECORDS, VEN, report, source
from tests.ven.site import NOW
from ven.registration import Registration
from ven.saved import Saved
from ven.store import Store

NODE = "node-1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """What a demo leaves of one node whose reports are signed."""
    made = Layout(tmp_path, tmp_path)
    made.pki.mkdir()
    (made.pki / f"{NODE}.pem").write_bytes(certificate_of(KEY).public_bytes(Encoding.PEM))
    made.receipts.mkdir()
    (tmp_path / "state").mkdir()
    store = Store.open(tmp_path / "state" / f"{NODE}-ven.sqlite")
    store.save(Saved(registration=Registration(VEN, "r", "vtn", 10.0)), deeds=DEEDS[:3])
    store.delivered(0, *DEEDS[3:])
    store.close()
    signed = [report(number, source=source(BODIES[number])) for number in (0, 1)]
    for index, record in enumerate((*RECORDS[:2], *signed)):
        (made.receipts / f"{index:06d}.record.json").write_bytes(record.to_file())
    return made


def certificate_of(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NODE)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    times = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return times.public_key(key.public_key()).sign(key, hashes.SHA256())


def held(layout: Layout, *nodes: str) -> tuple[list[bool], str]:
    names = nodes or (NODE,)
    checks = audit_boxes(layout, names, NOW + timedelta(hours=1)).checks(len(names))
    return [check.held for check in checks], " ".join(check.sentence for check in checks)


def test_a_day_of_which_all_is_in_the_log_and_signed_holds(layout: Layout) -> None:
    assert held(layout) == ([True, True], "1 of 1 audits find all;  2 of 2 reports are signed")


def test_a_leaf_that_is_gone_is_the_trouble(layout: Layout) -> None:
    (layout.receipts / "000001.record.json").unlink()
    checks, said = held(layout)
    assert checks == [False, True]
    assert "0 of 1 audits find all; node-1: missing: opt e1/0/optIn/200" in said


def test_a_report_of_the_box_whose_answer_was_lost_is_not_forged(layout: Layout) -> None:
    lost = report(2, source=source(BODIES[2]))
    (layout.receipts / "000009.record.json").write_bytes(lost.to_file())
    assert held(layout) == ([True, True], "1 of 1 audits find all;  3 of 3 reports are signed")


@pytest.mark.parametrize("signature", ["unsigned", "broken"])
def test_a_report_that_is_not_signed_is_counted(layout: Layout, signature: str) -> None:
    other = report(1) if signature == "unsigned" else report(1, source=source(b"x"))
    (layout.receipts / "000003.record.json").write_bytes(replace(other).to_file())
    checks, said = held(layout)
    assert checks == [signature == "unsigned", False]
    assert "1 of 2 reports are signed" in said


def test_a_box_without_a_memory_is_the_trouble(layout: Layout) -> None:
    checks, said = held(layout, NODE, "node-2")
    assert checks == [False, True]
    assert "node-2-ven.sqlite cannot be read" in said
