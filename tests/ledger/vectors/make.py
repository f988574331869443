"""Makes the published vectors and the example files again: `python -m tests.ledger.vectors.make [DIRECTORY]`.

Everything comes from fixed keys, so each run writes the same bytes; a gate test compares them with what is
kept. Who changes a frozen format sees it there.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from coincurve import PrivateKey

from ledger import merkle
from ledger.checkpoint import Checkpoint, SigningKey, to_base64
from ledger.errors import VerificationError
from ledger.receipt import FORMAT, Receipt, commitment, squeeze
from ledger.record import Record
from ledger.state import rlp_encode
from ledger.trust import LogKey, Trust
from ledger.verify import verification_steps
from tests.ledger import evidence as made
from tests.ledger.evidence import Evidence, evidence
from tests.ledger.vectors import joined

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "example"
Files = dict[str, str]

PLAIN = evidence()
SEALED = evidence(witnesses=made.WITNESSES, sealers=made.VALIDATOR_KEYS)
BEFORE, AFTER = made.BLOCK_AT - timedelta(days=20), made.BLOCK_AT + timedelta(days=20)


def with_key(case: Evidence, **times: datetime) -> Evidence:
    """The same with times of the log's key in the trust file."""
    return replace(case, trust=replace(case.trust, keys=(LogKey(made.LOG_KEY.verifier, **times),)))


def with_receipt(case: Evidence, **changes: object) -> Evidence:
    """The same with another field of the receipt."""
    return replace(case, receipt=replace(case.receipt, **changes))  # type: ignore[arg-type] # fields by name


def with_anchor(case: Evidence, **changes: object) -> Evidence:
    """The same with another field of the anchor."""
    anchor = replace(case.receipt.anchor, **changes)  # type: ignore[arg-type] # fields by name
    return with_receipt(case, anchor=anchor)


def with_chain(case: Evidence, **changes: object) -> Evidence:
    """The same with another field of the trust in the chain."""
    assert case.trust.chain is not None
    chain = replace(case.trust.chain, **changes)  # type: ignore[arg-type] # fields by name
    return replace(case, trust=replace(case.trust, chain=chain))


def with_checkpoint(case: Evidence, **changes: object) -> Evidence:
    """The same with another field of the checkpoint, which nobody signed."""
    changed = replace(case.receipt.checkpoint, **changes)  # type: ignore[arg-type] # fields by name
    return with_receipt(case, checkpoint=changed)


def good() -> Iterator[tuple[str, Evidence]]:
    """Evidence in which nothing fails."""
    yield "a block that the auditor trusts", PLAIN
    yield "a log of one leaf", evidence(0, 1)
    yield "the last leaf of a million", evidence(999_999, 1_000_000)
    yield (
        "three witnesses, four seals, a million leaves",
        evidence(777_777, 1_000_000, witnesses=made.WITNESSES, sealers=made.VALIDATOR_KEYS),
    )
    yield (
        "three seals of four, in the second round",
        evidence(sealers=made.VALIDATOR_KEYS[1:], round_number=2),
    )
    vote = [made.VALIDATOR_ADDRESSES[3], b"\xff"]
    yield "a header with a vote", evidence(sealers=made.VALIDATOR_KEYS, vote=vote)
    both = with_chain(SEALED, header=SEALED.receipt.anchor.block().hash)
    yield "a trusted block and validators", both
    assert SEALED.trust.witness is not None
    two = replace(SEALED.trust.witness, needed=1, keys=SEALED.trust.witness.keys[1:])
    yield (
        "a witness that the auditor does not know",
        replace(SEALED, trust=replace(SEALED.trust, witness=two)),
    )
    yield "a key that began before", with_key(PLAIN, valid_from=BEFORE)
    yield "a key that was rotated later", with_key(SEALED, valid_from=BEFORE, valid_until=AFTER)
    yield "a key that was lost later", with_key(SEALED, lost_at=AFTER)
    keys = (LogKey(made.NEXT_LOG_KEY.verifier, AFTER), LogKey(made.LOG_KEY.verifier, None, AFTER))
    yield "two keys of the log", replace(PLAIN, trust=replace(PLAIN.trust, keys=keys))
    other = replace(made.RECORD, key='report/"é"/\u2028\x01', body={"min": -(2**53) + 1, "a": [{}, [], ""]})
    yield "a record with every kind of text", of_record(other)
    yield "not checked: no chain in the trust file", replace(PLAIN, trust=Trust(PLAIN.trust.keys))
    yield (
        "not checked: no chain and no witness in the trust file",
        replace(SEALED, trust=Trust(SEALED.trust.keys)),
    )
    yield "not checked: no block in the trust file", with_chain(PLAIN, header=None)
    yield (
        "not checked: no validators in the trust file",
        with_chain(SEALED, header=SEALED.receipt.anchor.block().hash, validators=()),
    )
    yield "not checked: no time for the key", with_chain(with_key(PLAIN, valid_from=BEFORE), header=None)


def of_record(record: Record) -> Evidence:
    """A receipt for another record."""
    path, root = made.path_of(record, made.INDEX, 7)
    signed = made.checkpoint(root)
    proof = made.anchor(signed)
    return Evidence(record, Receipt(made.INDEX, path, signed, proof), made.trust_in(proof))


def bad() -> Iterator[tuple[str, Evidence]]:
    """Evidence in its right form that proves nothing."""
    anchor, signed = PLAIN.receipt.anchor, PLAIN.receipt.checkpoint
    yield "another record", replace(PLAIN, record=replace(made.RECORD, body={"energy_wh": 2031}))
    yield "another salt", replace(PLAIN, record=replace(made.RECORD, salt=bytes(32)))
    yield "another index", with_receipt(PLAIN, index=2)
    yield "an index outside the tree", with_receipt(PLAIN, index=7)
    yield "a path without its last hash", with_receipt(PLAIN, path=PLAIN.receipt.path[:-1])
    yield "another log's checkpoint", with_receipt(PLAIN, checkpoint=other_log())
    unknown = made.checkpoint(signed.root, key=SigningKey(made.ORIGIN, made.seed("unknown")))
    yield "a checkpoint by an unknown key", with_receipt(PLAIN, checkpoint=unknown)
    yield "a checkpoint with another signature", with_checkpoint(PLAIN, signature=bytes(64))
    lines = SEALED.receipt.checkpoint.cosignatures
    yield "a witness too few", with_checkpoint(SEALED, cosignatures=lines[:2])
    late = replace(lines[0], time=lines[0].time + 1)
    yield "a cosignature of another time", with_checkpoint(SEALED, cosignatures=(late, *lines[1:]))
    yield "another chain", with_anchor(PLAIN, chain_id=1)
    yield "another contract", with_anchor(PLAIN, contract=bytes(20))
    yield "another slot", with_anchor(PLAIN, slot=1)
    yield "another block", with_chain(PLAIN, header=bytes(32))
    yield "two seals of four", evidence(sealers=made.VALIDATOR_KEYS[:2])
    strange = PrivateKey(made.seed("nobody"))
    yield "two seals of four and a stranger's", evidence(sealers=[*made.VALIDATOR_KEYS[:2], strange])
    yield "a seal twice", evidence(sealers=[*made.VALIDATOR_KEYS[:3], made.VALIDATOR_KEYS[0]])
    yield "no seals where validators are trusted", with_chain(PLAIN, validators=made.VALIDATOR_ADDRESSES)
    plain = anchor.header
    yield "a header without seals that claims them", with_anchor(SEALED, header=plain)
    yield "no node of the account's proof", with_anchor(PLAIN, account_proof=())
    changed = (anchor.account_proof[0][:-1] + b"\x01", *anchor.account_proof[1:])
    yield "a changed node of the account's proof", with_anchor(PLAIN, account_proof=changed)
    yield "a node too many", with_anchor(PLAIN, storage_proof=(*anchor.storage_proof, b"\xc0"))
    older = made.checkpoint(merkle.EMPTY_ROOT, 0)
    held = with_receipt(PLAIN, anchor=made.anchor(older))
    yield "a contract that holds an older checkpoint", replace(held, trust=made.trust_in(held.receipt.anchor))
    yield "a key that began later", with_key(PLAIN, valid_from=AFTER)
    yield "a key that ended before", with_key(SEALED, valid_until=made.BLOCK_AT)
    yield "a key that was lost before", with_key(SEALED, lost_at=BEFORE)
    yield "a lost key without a trusted block", with_chain(with_key(PLAIN, lost_at=AFTER), header=None)


def other_log() -> Checkpoint:
    """A checkpoint of a log of another name."""
    key = SigningKey("example.org/other", made.seed("other"))
    return made.checkpoint(PLAIN.receipt.checkpoint.root, key=key)


def texts(case: Evidence) -> Files:
    """The three files as text."""
    return {name: raw.decode() for name, raw in case.files().items()}


def malformed() -> Iterator[tuple[str, Files]]:
    """Files in another form than the one that is allowed."""
    record, receipt, trust = ((name, texts(SEALED)[name]) for name in ("record", "receipt", "trust"))
    yield "record: a future version", edited(record, "flexpact-record/v1", "flexpact-record/v2")
    yield "record: the version before", edited(record, "flexpact-record/v1", "flexpact-record/v0")
    yield "record: a field more", edited(record, '"at"', '"a": 1,\n "at"')
    yield "record: a space more", edited(record, '"at": ', '"at":  ')
    yield "record: a number that is no integer", edited(record, "2030", "2030.0")
    yield "record: a short salt", edited(record, SEALED.record.salt.hex(), "00")
    yield "receipt: a future version", edited(receipt, "tlog-proof@v1", "tlog-proof@v2")
    yield "receipt: the version before", edited(receipt, "c2sp.org/tlog-proof@v1", "flexpact-receipt/v0")
    extra = SEALED.receipt.anchor.text()
    yield "receipt: an anchor of a future version", edited(receipt, extra, wrapped(extra, b"/v1", b"/v2"))
    yield "receipt: no anchor", edited(receipt, f"extra {extra}\n", "")
    yield "receipt: zeros in another form", edited(receipt, extra, wrapped(extra, b"\0\x20", b"\0\x1f\0\1"))
    nobody = rlp_encode([b"\x01", bytes(20), b"", [], [], b"", b"nobody"])
    yield "receipt: an unknown voucher", edited(receipt, extra, packed(nobody))
    yield "receipt: an anchor with a field less", edited(receipt, extra, packed(rlp_encode([b"\x01"])))
    yield "receipt: an index with a leading zero", edited(receipt, "index 3", "index 03")
    yield (
        "receipt: line ends of another system",
        {**texts(SEALED), "receipt": receipt[1].replace("\n", "\r\n")},
    )
    yield "receipt: a line at the end", {**texts(SEALED), "receipt": receipt[1] + "more\n"}
    own, first = receipt[1].split("\n")[-5:-3]
    yield "checkpoint: an extension line", edited(receipt, "\n\n— ", "\nmore\n\n— ")
    yield "checkpoint: the log's line is not the first", edited(receipt, f"{own}\n{first}", f"{first}\n{own}")
    yield "checkpoint: a witness twice", edited(receipt, first, f"{first}\n{first}")
    yield "checkpoint: seventeen signature lines", edited(receipt, first, "\n".join([first] * 14))
    yield "trust: a future version", edited(trust, "flexpact-trust/v1", "flexpact-trust/v2")
    yield "trust: no version", edited(trust, 'format = "flexpact-trust/v1"\n', "")
    yield "trust: fewer witnesses needed", edited(trust, "needed = 3", "needed = 2")
    yield "trust: a comment", edited(trust, "[chain]", "[chain] # ours")
    first_witness = str(made.WITNESSES[0].verifier)
    yield "trust: a log's key as witness", edited(trust, first_witness, str(made.NEXT_LOG_KEY.verifier))
    yield "trust: a witness twice", edited(trust, str(made.WITNESSES[1].verifier), first_witness)
    validators = [f"0x{address.hex()}" for address in made.VALIDATOR_ADDRESSES]
    yield "trust: a validator twice", edited(trust, validators[1], validators[0])


def edited(file: tuple[str, str], old: str, new: str) -> Files:
    """All files, one of them with a piece replaced."""
    name, text = file
    if text.count(old) != 1:
        raise ValueError(f"{old!r} is {text.count(old)} times in the {name}")
    return {**texts(SEALED), name: text.replace(old, new)}


def wrapped(extra: str, old: bytes, new: bytes) -> str:
    """An extra line with the first such piece of its bytes replaced."""
    raw = base64.b64decode(extra)
    if old not in raw:
        raise ValueError(f"{old!r} is not in the anchor")
    return to_base64(raw.replace(old, new, 1))


def packed(fields: bytes) -> str:
    """An extra line around these fields."""
    return to_base64(FORMAT.encode() + b"\n" + squeeze(fields))


def judged(name: str, files: Files) -> dict[str, object]:
    """A case as it is published: the files, the steps that did not fail, and what failed."""
    steps: list[dict[str, str]] = []
    case: dict[str, object] = {"name": name, **files, "steps": steps}
    try:
        for step in verification_steps(
            Record.from_file(files["record"].encode()),
            Receipt.from_file(files["receipt"].encode()),
            Trust.from_file(files["trust"].encode()),
        ):
            steps.append({"name": step.name, "status": str(step.status), "text": step.text})
    except VerificationError as error:
        names = ("step", "text", "expected", "got")
        case["failed"] = {name: getattr(error, name) for name in names}
    return case


def formats() -> dict[str, object]:
    """Records and their leaves, trees and their proofs, keys and signed texts."""
    records = [case.record for _, case in good() if case.record != made.RECORD]
    leaves = [sha256(b"\0" + bytes([number])).digest() for number in range(8)]

    def root(span: merkle.Range) -> bytes:
        return merkle.range_hash(
            span, lambda tree: merkle.complete_root(leaves[tree[1] << tree[0] : (tree[1] + 1) << tree[0]])
        )

    def proof(spans: list[merkle.Range]) -> list[str]:
        return [root(span).hex() for span in spans]

    signed = SEALED.receipt.checkpoint
    return {
        "records": [
            {
                "file": record.to_file().decode(),
                "canonical": record.canonical().decode(),
                "leaf": record.leaf().hex(),
            }
            for record in [made.RECORD, *records]
        ],
        "tree": {
            "leaf_inputs": [f"{number:02x}" for number in range(8)],
            "roots": [root((0, size)).hex() for size in range(9)],
            "inclusion": [
                {"index": index, "size": size, "path": proof(merkle.inclusion_ranges(index, size))}
                for size in range(1, 9)
                for index in range(size)
            ],
            "consistency": [
                {"old": old, "new": new, "path": proof(merkle.consistency_ranges(old, new))}
                for new in range(1, 9)
                for old in range(1, new + 1)
            ],
        },
        "checkpoint": {
            "log_key": str(made.LOG_KEY.verifier),
            "log_seed": made.LOG_KEY.seed.hex(),
            "witness_keys": [str(key.verifier) for key in made.WITNESSES],
            "witness_seeds": [key.seed.hex() for key in made.WITNESSES],
            "note": signed.text(),
            "commitment": commitment(signed.size, signed.root).hex(),
        },
    }


def written(value: object) -> bytes:
    """JSON as it is kept."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def validator_sets() -> dict[str, object]:
    """Evidence under validators that changed."""
    bad = [*((name, texts(case)) for name, case in joined.bad()), *joined.malformed()]
    return {
        "good": [judged(name, texts(case)) for name, case in joined.good()],
        "bad": [judged(name, files) for name, files in bad],
    }


def all_files() -> dict[str, bytes]:
    """Every kept file by its name, seen from the folder of the vectors."""
    cases = [(name, texts(case)) for name, case in bad()]
    since = with_key(PLAIN, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    plain, sealed = PLAIN.files(), SEALED.files()
    return {
        "formats.json": written(formats()),
        "good.json": written([judged(name, texts(case)) for name, case in good()]),
        "bad.json": written([judged(name, files) for name, files in [*cases, *malformed()]]),
        "validator_sets.json": written(validator_sets()),
        "../example/record.json": plain["record"],
        "../example/receipt.tlog-proof": plain["receipt"],
        "../example/trust.toml": plain["trust"],
        "../example/trust_since.toml": since.files()["trust"],
        "../example/sealed.tlog-proof": sealed["receipt"],
        "../example/trust_sealed.toml": sealed["trust"],
        "../example/trust_sets.toml": joined.with_sets(SEALED).files()["trust"],
    }


def main(target: Path, show: Callable[[str], object] = print) -> None:
    """Write all files below a folder."""
    for name, content in all_files().items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        show(f"{len(content):7} {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
