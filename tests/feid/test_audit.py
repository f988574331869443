"""What the box remembers, held against records: one thing changed at a time; the command and its codes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from feid import outcome
from feid.audit import Fault, Present, Tally, compare
from feid.voice import Desk
from flexpact.commands.feid_audit import EXIT_ALARM, EXIT_NOT_CHECKED, app
from ledger.checkpoint import Checkpoint, SigningKey
from ledger.receipt import Anchor, Receipt
from ledger.record import Record
from ledger.trust import LogKey, Trust
from openadr.http_signature import SIGNATURE, SIGNATURE_INPUT, BodySigner
from tests.ven.conversation import ready
from tests.ven.site import NOW
from ven.deed import Deed, Kind
from ven.registration import Registration
from ven.saved import Saved
from ven.store import Recollection, Store
from ven.voice import Voice

UNIT = Path(__file__).parents[2] / "deploy" / "flexpact-feid-audit.service"
LONG_AGO = "2020-01-01T00:00:00Z"
VEN, MINUTE = "ven-1", timedelta(minutes=1)
KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
BODIES = [f"report {number}".encode() for number in range(4)]
EVENT = hashlib.sha256(b"what the event says").digest()


def key_sha256(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def source(body: bytes, key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    signer = BodySigner.of(key, "ab" * 32)
    assert signer is not None
    head = signer.headers(body, NOW)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "algorithm": "ecdsa-p256-sha256",
        "public_key": base64.b64encode(der).decode(),
        "parameters": head[SIGNATURE_INPUT].partition("=")[2],
        "signature": head[SIGNATURE].removeprefix("flexpact=:").removesuffix(":"),
    }


def report(number: int, **changes: object) -> Record:
    body: dict[str, object] = {
        "ven_id": VEN,
        "report_request_id": "ask",
        "created_at": f"2026-03-02T12:0{number}:00Z",
        "readings": 4,
        "quarantined": 0,
        "raw_sha256": hashlib.sha256(BODIES[number]).hexdigest(),
    }
    return Record("report", f"report/{VEN}/ask/{number}", NOW + number * MINUTE, {**body, **changes})


def signal(event_id: str = "e1", number: int = 0, digest: bytes | None = EVENT) -> Record:
    body: dict[str, object] = {"ven_id": VEN, "event_id": event_id, "modification_number": number}
    body |= {"event_sha256": digest.hex()} if digest else {}
    return Record("signal", f"signal/{VEN}/{event_id}/{number}", NOW, body)


def opt(opt_type: str = "optIn", number: int = 0, **mark: str) -> Record:
    body: dict[str, object] = {"ven_id": VEN, "event_id": "e1", "modification_number": number}
    body |= {"opt_type": opt_type, **(mark or {"code": "200"})}
    return Record("opt", f"opt/{VEN}/e1/{number}/1", NOW + MINUTE, body)


def sent(number: int, **changes: object) -> Deed:
    digest, created = hashlib.sha256(BODIES[number]).digest(), f"2026-03-02T12:0{number}:00Z"
    return replace(Deed(Kind.REPORT, NOW + number * MINUTE, f"ask/{created}", digest), **changes)  # type: ignore[arg-type] - fields by name


DEEDS = (
    Deed(Kind.SIGNAL, NOW, "e1/0", EVENT),
    Deed(Kind.SAID, NOW, "e1/0/optIn/200"),
    Deed(Kind.OPT, NOW, "e1/0/optIn/200"),
    sent(0),
    sent(1),
)
OLDER = Deed(Kind.SAID, NOW - timedelta(hours=1), "e0/0/optIn/200")
"""So that the memory did not begin just now."""
MEMORY = Recollection(VEN, (OLDER, *DEEDS), frozenset())
RECORDS = [signal(), opt(), report(0), report(1)]
PRESENT = Present(NOW + 10 * MINUTE, {key_sha256(KEY)})


def found(tally: Tally) -> list[Fault]:
    return [each.fault for each in tally.findings]


def test_a_log_that_has_it_all_is_complete() -> None:
    others = [replace(each, body={**each.body, "ven_id": "ven-2"}) for each in RECORDS]
    tally = compare(MEMORY, [*RECORDS, *others], PRESENT)
    assert tally == Tally(reports=2, signals=1, opts=1)
    assert tally.holds


@pytest.mark.parametrize("gone", range(4))
def test_what_is_not_in_the_log_is_pending_at_first_and_missing_later(gone: int) -> None:
    records = [each for number, each in enumerate(RECORDS) if number != gone]
    young = compare(MEMORY, records, PRESENT)
    assert (young.pending, found(young)) == (1, [])
    late = compare(MEMORY, records, replace(PRESENT, now=NOW + timedelta(hours=2)))
    assert (late.pending, found(late)) == (0, [Fault.MISSING])


def test_what_the_log_has_gone_on_after_is_missing_however_young() -> None:
    memory = replace(MEMORY, deeds=(*MEMORY.deeds, sent(2, at=NOW + 24 * MINUTE)))
    later = replace(report(2), at=NOW + 24 * MINUTE)
    tally = compare(memory, [signal(), opt(), report(1), later], replace(PRESENT, now=NOW + 25 * MINUTE))
    (finding,) = tally.findings
    assert finding.fault is Fault.MISSING
    assert hashlib.sha256(BODIES[0]).hexdigest() in finding.text


def test_of_an_empty_log_everything_is_pending_until_it_is_missing() -> None:
    assert compare(MEMORY, [], PRESENT).pending == 4
    assert len(compare(MEMORY, [], replace(PRESENT, patience=timedelta(0))).findings) == 4


WRONG: dict[str, tuple[Fault, list[Record]]] = {
    "another report in the place of ours": (
        Fault.DIFFERENT,
        [signal(), opt(), report(0), report(1, raw_sha256="ab" * 32)],
    ),
    "our bytes under another report's name": (
        Fault.DIFFERENT,
        [signal(), opt(), report(0), report(1, created_at=LONG_AGO)],
    ),
    "a report that was never sent": (Fault.FORGED, [*RECORDS, report(2)]),
    "a report that somebody else has signed": (
        Fault.FORGED,
        [*RECORDS, report(2, source=source(BODIES[2], OTHER))],
    ),
    "two records of one report": (Fault.FORGED, [*RECORDS, replace(report(1), key="report/again")]),
    "a signature that does not hold": (
        Fault.BROKEN,
        [signal(), opt(), report(0), report(1, source=source(b"x"))],
    ),
    "another content of an event": (Fault.DIFFERENT, [signal(digest=bytes(32)), *RECORDS[1:]]),
    "an opt that was never said": (Fault.FORGED, [*RECORDS, opt("optOut")]),
    "another answer than ours": (Fault.FORGED, [*RECORDS, opt(code="400")]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_in_the_log_is_found_and_told_apart(what: str) -> None:
    fault, records = WRONG[what]
    tally = compare(MEMORY, records, PRESENT)
    assert found(tally) == [fault]


def test_a_report_that_our_key_has_signed_is_ours_though_its_answer_was_lost() -> None:
    tally = compare(MEMORY, [*RECORDS, report(2, source=source(BODIES[2]))], PRESENT)
    assert (tally.reports, found(tally)) == (2, [])


def test_a_report_sent_again_under_another_signature_is_not_missing() -> None:
    first = hashlib.sha256(b"the same, signed before").hexdigest()
    records = [*RECORDS[:3], report(1, raw_sha256=first, source=source(b"the same, signed before"))]
    tally = compare(MEMORY, records, replace(PRESENT, patience=timedelta(0)))
    assert (tally.reports, found(tally)) == (1, [])


@pytest.mark.parametrize(
    ("ours", "number", "faults"),
    [
        ("ab" * 32, 1, []),
        ("cd" * 32, 1, [Fault.DIFFERENT]),
        (None, 1, [Fault.DIFFERENT]),
        ("ab" * 32, 2, [Fault.FORGED, Fault.MISSING]),
    ],
)
def test_a_signature_in_the_xml_alone_speaks_for_what_was_sent_and_for_no_more(
    ours: str | None, number: int, faults: list[Fault]
) -> None:
    named = {"algorithm": "xmldsig", "certificate": "ab" * 32, "signed_at": "2026-03-02T12:01:00Z"}
    records = [*RECORDS[:3], report(number, raw_sha256="12" * 32, source=named)]
    tally = compare(MEMORY, records, replace(PRESENT, patience=timedelta(0), xml_certificate=ours))
    assert (tally.unjudged, found(tally)) == (int(not faults), faults)


def test_a_report_that_may_be_on_its_way_is_ours() -> None:
    memory = replace(MEMORY, unacknowledged=frozenset({hashlib.sha256(BODIES[2]).digest()}))
    assert compare(memory, [*RECORDS, report(2)], PRESENT).holds


def test_an_opt_whose_answer_was_lost_is_ours_and_need_not_be_in_the_log() -> None:
    memory = replace(MEMORY, deeds=(*MEMORY.deeds, Deed(Kind.SAID, NOW, "e1/0/optOut/o-1")))
    assert compare(memory, RECORDS, replace(PRESENT, patience=timedelta(0))).holds
    assert compare(memory, [*RECORDS, opt("optOut", opt_id="o-1")], PRESENT).holds


def test_two_empty_reports_of_one_second_are_one_fact() -> None:
    twin = sent(1, sha256=bytes(32))
    empty = [*RECORDS[:3], report(1, readings=0)]
    late = replace(PRESENT, patience=timedelta(0))
    assert compare(replace(MEMORY, deeds=(*MEMORY.deeds, twin)), empty, late).holds


def test_what_is_older_than_the_memory_is_not_judged() -> None:
    before = [replace(each, at=NOW - timedelta(days=1)) for each in (report(2), opt("optOut"), signal("e0"))]
    tally = compare(MEMORY, [*RECORDS, *before], PRESENT)
    assert (tally.unjudged, tally.never_came, found(tally)) == (3, 0, [])


def test_an_event_that_never_came_is_said_and_one_without_a_hash_is_not_judged() -> None:
    tally = compare(MEMORY, [*RECORDS, signal("e2")], PRESENT)
    assert (tally.never_came, found(tally)) == (1, [])
    tally = compare(MEMORY, [signal(digest=None), *RECORDS[1:]], PRESENT)
    assert (tally.unjudged, tally.signals, found(tally)) == (1, 0, [])


# the command


class Box:
    """A box with its settings and memory, and an export of the log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = SigningKey.generate("example.org/log")
        (folder / "export").mkdir()
        (folder / "trust.toml").write_text(Trust((LogKey(self.key.verifier),)).text(), encoding="utf-8")
        (folder / "feid.toml").write_text(
            'node = "node-1"\nstate = "feid.sqlite"\nsocket = "feid.sock"\n'
            '[driver]\nkind = "simulated"\nsocket = "sim.sock"\n[limits]\n'
            '[ven]\nvtn_url = "http://127.0.0.1:1"\ninsecure_dev = true\n'
            'ven_name = "n"\nstate_path = "v.db"\n',
            encoding="utf-8",
        )
        store = Store.open(folder / "v.db")
        store.save(Saved(registration=Registration(VEN, "r", "vtn", 10.0)), deeds=(OLDER, *DEEDS[:3]))
        store.delivered(0, *DEEDS[3:])
        store.close()
        for record in RECORDS:
            self.put(record)

    def put(self, record: Record) -> Path:
        """Adds a record with a receipt, under a checkpoint of its own."""
        checkpoint = Checkpoint.sign(1, record.leaf(), self.key)
        anchor = Anchor(1, bytes(20), 0, (b"a",), (b"s",), b"h")
        name = record.key.replace("/", "-")
        path = self.folder / "export" / f"{name}.record.json"
        path.write_bytes(record.to_file())
        receipt = Receipt(0, (), checkpoint, anchor)
        path.with_name(f"{name}.receipt.txt").write_bytes(receipt.to_file())
        return path

    def audit(self, *more: str) -> tuple[int, str]:
        words = ["--config", "feid.toml", "--trust", "trust.toml", "--from", "export"]
        named = [str(self.folder / word) if "." in word or word == "export" else word for word in words]
        asked = [*named, "--as-of", PRESENT.now.isoformat(), *more]
        result = CliRunner().invoke(app, asked)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    def status(self) -> object:
        desk = Desk(lambda: NOW, self.folder / "feid.sqlite.audit.json")
        desk.hear(Voice(ready(), lambda: "id", lambda: NOW, lambda: None))
        return json.loads(desk.answer(b'{"op": "status"}'))["result"]["audit"]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_the_command_says_what_is_complete_and_which_step_is_open(box: Box) -> None:
    assert box.status() is None
    code, said = box.audit()
    assert code == 3  # this trust file names no chain
    assert "complete: 2 reports, 1 events and 1 opts are in the log" in said
    assert "4 receipts rest on a step" in said
    status = box.status()
    assert isinstance(status, dict)
    assert (status["holds"], status["reports"], status["alarms"]) == (True, 2, 0)


def test_an_alarm_is_an_exit_code_a_line_of_the_log_and_in_the_status(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    box.put(replace(opt("optOut"), key="opt/x"))
    code, said = box.audit("--json")
    assert code == 1
    assert json.loads(said)["findings"][0]["fault"] == "forged"
    assert "audit: forged: opt/x" in caplog.text
    status = box.status()
    assert isinstance(status, dict)
    assert (status["holds"], status["alarms"]) == (False, 1)


def _swapped(box: Box) -> None:
    (box.folder / "export" / "report-ven-1-ask-1.record.json").write_bytes(report(1).to_file())


def _no_receipt(box: Box) -> None:
    (box.folder / "export" / "report-ven-1-ask-1.receipt.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"), [(_swapped, "path leads to another root"), (_no_receipt, "format is not known")]
)
def test_a_record_whose_receipt_does_not_hold_is_an_alarm(
    box: Box, spoil: Callable[[Box], None], said: str
) -> None:
    spoil(box)
    code, output = box.audit()
    assert code == 1
    assert said in output


def test_the_receipts_of_others_are_their_own_affair(box: Box) -> None:
    other = box.put(Record("report", "report/ven-2/x", NOW, {"ven_id": "ven-2"}))
    other.with_name("report-ven-2-x.receipt.txt").unlink()
    code, said = box.audit()
    assert (code, "4 receipts rest on a step" in said) == (3, True)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("trust.toml", "x", "trust: "),
        ("trust.toml", None, "trust.toml cannot be read"),
        ("feid.toml", None, "No such file"),
        ("v.db", None, "v.db cannot be read"),
        ("v.db", "x" * 4096, "v.db cannot be read"),
        ("export", None, "holds no *.record.json"),
    ],
)
def test_an_audit_that_cannot_be_made_is_no_alarm_and_says_why(
    box: Box, file: str, content: str | None, said: str
) -> None:
    path = box.folder / file
    if file == "export":
        path.rename(box.folder / "elsewhere")
    elif content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    code, output = box.audit()
    assert code == 2
    assert said in output
    assert box.status() is None


def test_the_unit_fails_for_an_alarm_and_tries_again_what_could_not_be_made() -> None:
    unit = ConfigParser(interpolation=None)
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    assert unit["Service"]["RestartPreventExitStatus"] == str(EXIT_ALARM)
    assert unit["Service"]["SuccessExitStatus"] == str(EXIT_NOT_CHECKED)
    assert unit["Service"]["Restart"] == "on-failure"  # what is left: EXIT_NOT_MADE, and a crash
    assert "StartLimitBurst" in unit["Unit"]


def test_a_box_that_is_not_registered_needs_its_id(tmp_path: Path) -> None:
    box = Box(tmp_path)
    store = Store.open(tmp_path / "v.db")
    store.save(replace(store.load(), registration=None))
    store.close()
    code, said = box.audit()
    assert (code, "not registered" in said) == (2, True)
    assert box.audit("--ven-id", VEN)[0] == 3


@pytest.mark.parametrize("text", ["noon", "2026-03-02T12:00"])
def test_a_time_that_is_none_is_refused(box: Box, text: str) -> None:
    code, said = box.audit("--as-of", text)
    assert (code, "--as-of" in said) == (2, True)


def test_a_result_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text("{", encoding="utf-8")
    assert outcome.read(path) is None
