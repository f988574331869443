"""A receipt verifies for ever, and not one byte of it, of its record or of the trust file can be changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, SigningKey
from ledger.errors import VerificationError
from ledger.receipt import Receipt
from ledger.record import Record
from ledger.trust import ChainTrust, LogKey, Trust, WitnessTrust
from ledger.verify import Status, Step, Verified, verify_receipt

EXAMPLE = Path(__file__).parent / "example"


def kept(receipt: str, trust: str) -> dict[str, bytes]:
    """A kept example's record, receipt and trust file."""
    names = {"record": "record.json", "receipt": receipt, "trust": trust}
    return {kind: (EXAMPLE / name).read_bytes() for kind, name in names.items()}


PLAIN = kept("receipt.tlog-proof", "trust.toml")
SINCE = kept("receipt.tlog-proof", "trust_since.toml")
SEALED = kept("sealed.tlog-proof", "trust_sealed.toml")
SETS = kept("sealed.tlog-proof", "trust_sets.toml")

RECORD = Record.from_file(PLAIN["record"])
RECEIPT = Receipt.from_file(PLAIN["receipt"])
TRUST = Trust.from_file(PLAIN["trust"])
STEPS = ["record", "inclusion", "checkpoint", "contract", "header", "account", "storage"]


@cache
def parsed(kind: str, raw: bytes) -> Record | Receipt | Trust:
    """A file's content; of thousands of cases two files of three are always the same."""
    kinds: dict[str, type[Record | Receipt | Trust]] = {"record": Record, "receipt": Receipt, "trust": Trust}
    return kinds[kind].from_file(raw)


def verify_files(files: dict[str, bytes]) -> Verified:
    record, receipt, trust = (parsed(kind, files[kind]) for kind in ("record", "receipt", "trust"))
    assert isinstance(record, Record)
    assert isinstance(receipt, Receipt)
    assert isinstance(trust, Trust)
    return verify_receipt(record, receipt, trust)


def statuses(verified: Verified) -> dict[str, Status]:
    return {step.name: step.status for step in verified.steps}


def anchor(**changes: object) -> Receipt:
    return anchor_of(RECEIPT, **changes)


def anchor_of(receipt: Receipt, **changes: object) -> Receipt:
    return replace(receipt, anchor=replace(receipt.anchor, **changes))  # type: ignore[arg-type] # by name


def test_the_kept_example_verifies_completely() -> None:
    verified = verify_files(PLAIN)
    assert [step.name for step in verified.steps] == STEPS
    assert verified.complete


@pytest.mark.parametrize("files", [SEALED, SETS], ids=["one list", "sets"])
def test_the_kept_example_under_seals_verifies_completely(files: dict[str, bytes]) -> None:
    verified = verify_files(files)
    assert [step.name for step in verified.steps] == [*STEPS[:3], "witness", "contract", "seals", *STEPS[4:]]
    assert verified.complete


@pytest.mark.parametrize("files", [PLAIN, SINCE, SEALED, SETS], ids=["plain", "since", "sealed", "sets"])
def test_files_are_written_as_they_were_read(files: dict[str, bytes]) -> None:
    for kind, raw in files.items():
        assert parsed(kind, raw).to_file() == raw


def changed(raw: bytes, chance: random.Random | None) -> Iterator[bytes]:
    """`raw` with each byte changed, dropped or doubled in turn: in every way; or, of large files each third
    byte, in one that is drawn.
    """
    step = 3 if chance and len(raw) > LARGE_BYTES else 1
    for at, old in list(enumerate(raw))[::step]:
        new = {old ^ 1 << bit for bit in range(8)} | {0x20, 0x30}
        ways = [raw[:at] + bytes([byte]) + raw[at + 1 :] for byte in sorted(new - {old})]
        ways += [raw[:at] + raw[at + 1 :], raw[: at + 1] + raw[at:]]
        yield from (way for way in ([chance.choice(ways)] if chance else ways) if way != raw)


LARGE_BYTES = 1000
EVERY_FILE = pytest.mark.parametrize(
    ("files", "kind"),
    [
        pytest.param(PLAIN, "record", id="record"),
        pytest.param(PLAIN, "receipt", id="receipt"),
        pytest.param(PLAIN, "trust", id="trust"),
        pytest.param(SINCE, "trust", id="trust with a time"),
        pytest.param(SEALED, "receipt", id="receipt under seals"),
        pytest.param(SEALED, "trust", id="trust in validators"),
        pytest.param(SETS, "trust", id="trust in sets of validators"),
    ],
)


@EVERY_FILE
def test_no_byte_can_be_changed_dropped_or_doubled(files: dict[str, bytes], kind: str) -> None:
    assert unnoticed(files, kind, random.Random(7)) == []


@pytest.mark.long
@EVERY_FILE
def test_no_byte_can_be_changed_dropped_or_doubled_in_any_way(files: dict[str, bytes], kind: str) -> None:
    assert unnoticed(files, kind, None) == []


def unnoticed(files: dict[str, bytes], kind: str, chance: random.Random | None) -> list[bytes]:
    """Changed files that neither fail nor make the steps say what differs: three seals of four, say, where
    three are enough.
    """
    told = outcome(files)
    assert told is not None
    return [raw for raw in changed(files[kind], chance) if outcome({**files, kind: raw}) == told]


@pytest.mark.parametrize("at", range(2))
def test_a_change_of_a_spare_witness_or_seal_is_said(at: int) -> None:
    """The log's line and three witnesses of which one is needed; four seals of which three are."""
    trust = Trust.from_file(SEALED["trust"])
    assert trust.witness is not None
    files = {**SEALED, "trust": replace(trust, witness=replace(trust.witness, needed=1)).to_file()}
    receipt = Receipt.from_file(SEALED["receipt"])
    if at == 0:
        lines = receipt.checkpoint.cosignatures
        renamed = replace(lines[1], name="witness.example/x")
        point = replace(receipt.checkpoint, cosignatures=(lines[0], renamed, lines[2]))
        changed_receipt, said = replace(receipt, checkpoint=point), "; 1 cosignatures of keys that"
    else:
        sealed = receipt.anchor.sealed()
        other = sealed.seals[0][:-1] + bytes([sealed.seals[0][-1] ^ 1])
        header = receipt.anchor.header.replace(sealed.seals[0], other)
        changed_receipt, said = anchor_of(receipt, header=header), "; 1 seals of keys that"
    told = outcome({**files, "receipt": changed_receipt.to_file()})
    assert told is not None
    assert [step.name for step in told if said in step.text] == [["witness"], ["seals"]][at]


@pytest.mark.parametrize("files", [PLAIN, SEALED], ids=["plain", "sealed"])
@pytest.mark.parametrize("kind", ["record", "receipt", "trust"])
def test_no_line_can_be_dropped_doubled_or_moved(files: dict[str, bytes], kind: str) -> None:
    lines = files[kind].splitlines(keepends=True)
    told = outcome(files)
    for at in range(len(lines)):
        dropped = [*lines[:at], *lines[at + 1 :]]
        doubled = [*lines[:at], lines[at], *lines[at:]]
        moved = [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]]
        for edited in (dropped, doubled, moved):
            if edited != lines:
                assert outcome({**files, kind: b"".join(edited)}) != told, (at, lines[at])


@pytest.mark.parametrize("files", [PLAIN, SEALED], ids=["plain", "sealed"])
@pytest.mark.parametrize("kind", ["record", "receipt", "trust"])
def test_a_file_that_is_cut_short_never_passes(files: dict[str, bytes], kind: str) -> None:
    told = outcome(files)
    for length in range(len(files[kind])):
        found = outcome({**files, kind: files[kind][:length]})
        # Between two lines of witnesses the file is a whole one again, with fewer of them.
        assert found is None or found != told, length


def outcome(files: dict[str, bytes]) -> tuple[Step, ...] | None:
    """The steps, None if one failed; any exception but a named failure is a fault of ours."""
    try:
        return verify_files(files).steps
    except VerificationError as error:
        assert error.step
        assert "\n" not in str(error)
        return None


def test_another_record_fails_at_the_inclusion_with_both_roots() -> None:
    other = replace(RECORD, body={**RECORD.body, "energy_wh": 1})
    with pytest.raises(VerificationError) as caught:
        verify_receipt(other, RECEIPT, TRUST)
    assert caught.value.step == "inclusion"
    assert caught.value.expected == RECEIPT.checkpoint.root.hex()
    assert caught.value.got != caught.value.expected


def test_another_salt_fails_at_the_inclusion() -> None:
    with pytest.raises(VerificationError, match="inclusion"):
        verify_receipt(replace(RECORD, salt=bytes(32)), RECEIPT, TRUST)


def test_a_checkpoint_of_another_key_fails_at_the_checkpoint() -> None:
    forger = SigningKey.generate(TRUST.origin)
    forged = Checkpoint.sign(RECEIPT.checkpoint.size, RECEIPT.checkpoint.root, forger)
    with pytest.raises(VerificationError, match="checkpoint: signed by another key"):
        verify_receipt(RECORD, replace(RECEIPT, checkpoint=forged), TRUST)


def test_a_checkpoint_that_was_never_anchored_fails_at_the_storage() -> None:
    forger = SigningKey.generate(TRUST.origin)
    lonely = replace(RECEIPT, index=0, path=(), checkpoint=Checkpoint.sign(1, RECORD.leaf(), forger))
    with pytest.raises(VerificationError, match="storage: the contract holds another checkpoint"):
        verify_receipt(RECORD, lonely, replace(TRUST, keys=(LogKey(forger.verifier),)))


@pytest.mark.parametrize(
    ("receipt", "message"),
    [
        pytest.param(anchor(chain_id=1), "contract: another chain", id="another chain"),
        pytest.param(anchor(contract=bytes(20)), "contract: another contract", id="another contract"),
        pytest.param(anchor(slot=1), "contract: another storage slot: expected 0, got 1", id="another slot"),
        pytest.param(anchor(header=b"\xc0"), "header: the RLP is not a block header", id="no header"),
        pytest.param(anchor(account_proof=()), "account: a node is missing", id="no account proof"),
        pytest.param(anchor(storage_proof=()), "storage: a node is missing", id="no storage proof"),
        pytest.param(
            anchor(storage_proof=(*RECEIPT.anchor.storage_proof, b"\xc0")),
            "storage: 1 nodes",
            id="a node more",
        ),
        pytest.param(replace(RECEIPT, index=RECEIPT.index + 1), "inclusion", id="another index"),
        pytest.param(
            replace(RECEIPT, index=10**6), "inclusion: the leaf index lies outside", id="an index outside"
        ),
        pytest.param(
            replace(RECEIPT, path=RECEIPT.path[:-1]),
            "inclusion: the path has the wrong length",
            id="short path",
        ),
    ],
)
def test_a_changed_receipt_fails_at_the_step_it_breaks(receipt: Receipt, message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify_receipt(RECORD, receipt, TRUST)


def chain_trust(**changes: object) -> ChainTrust:
    assert TRUST.chain is not None
    return replace(TRUST.chain, **changes)  # type: ignore[arg-type] # fields by name


def test_another_block_fails_at_the_header_with_both_hashes() -> None:
    other = replace(TRUST, chain=chain_trust(header=bytes(32)))
    with pytest.raises(VerificationError, match=f"header: .*expected 0x{'00' * 32}, got 0x"):
        verify_receipt(RECORD, RECEIPT, other)


def test_without_a_chain_in_the_trust_the_anchor_is_not_checked() -> None:
    verified = verify_receipt(RECORD, RECEIPT, replace(TRUST, chain=None))
    assert not verified.complete
    unchecked = {name for name, status in statuses(verified).items() if status is Status.NOT_CHECKED}
    assert unchecked == {"contract", "header", "account", "storage"}


def test_without_a_block_in_the_trust_the_header_is_not_checked() -> None:
    verified = verify_receipt(RECORD, RECEIPT, replace(TRUST, chain=chain_trust(header=None)))
    unchecked = [name for name, status in statuses(verified).items() if status is Status.NOT_CHECKED]
    assert unchecked == ["header"]


def test_header_step_says_who_vouches_for_it() -> None:
    header = next(step for step in verify_files(PLAIN).steps if step.name == "header")
    assert "the aggregator vouches for it" in header.text


def test_a_key_that_began_before_the_anchor_is_checked() -> None:
    verified = verify_files(SINCE)
    assert verified.complete
    assert statuses(verified)["validity"] is Status.CHECKED


EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def timed(**times: datetime) -> Trust:
    """The trust with times for the log's key."""
    return replace(TRUST, keys=(replace(TRUST.keys[0], **times),))  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        (timed(valid_from=LATE), "anchored before the key was valid: expected from 2027-01-01"),
        (timed(valid_until=EARLY), "anchored when the key was no longer valid: expected before 2026-01-01"),
        (timed(lost_at=EARLY), "anchored when the key was declared lost: expected before 2026-01-01"),
    ],
)
def test_a_key_that_did_not_count_when_the_checkpoint_was_anchored_fails(trust: Trust, message: str) -> None:
    with pytest.raises(VerificationError, match=f"validity: {message}.*, got 2026-01-20T18:01:00Z"):
        verify_receipt(RECORD, RECEIPT, trust)


def test_a_key_counts_from_its_beginning_and_not_at_its_end() -> None:
    at = datetime(2026, 1, 20, 18, 1, tzinfo=UTC)
    assert verify_receipt(RECORD, RECEIPT, timed(valid_from=at)).complete
    with pytest.raises(VerificationError, match="no longer valid"):
        verify_receipt(RECORD, RECEIPT, timed(valid_until=at))


def test_of_several_keys_the_one_that_signed_is_taken() -> None:
    other = LogKey(SigningKey.generate(TRUST.origin).verifier, LATE)
    both = replace(TRUST, keys=(other, replace(TRUST.keys[0], valid_until=LATE)))
    assert verify_receipt(RECORD, RECEIPT, both).complete
    with pytest.raises(VerificationError, match=f"another key: expected {other.key.id.hex()}, got "):
        verify_receipt(RECORD, RECEIPT, replace(TRUST, keys=(other,)))


@pytest.mark.parametrize("chain", [None, chain_trust(header=None)])
def test_without_a_trusted_block_a_keys_times_are_not_checked(chain: ChainTrust | None) -> None:
    trust = replace(timed(valid_from=EARLY), chain=chain)
    assert statuses(verify_receipt(RECORD, RECEIPT, trust))["validity"] is Status.NOT_CHECKED


@pytest.mark.parametrize("chain", [None, chain_trust(header=None)])
def test_without_a_trusted_block_a_lost_key_proves_nothing(chain: ChainTrust | None) -> None:
    trust = replace(timed(lost_at=LATE), chain=chain)
    with pytest.raises(VerificationError, match="declared lost, and nothing shows that"):
        verify_receipt(RECORD, RECEIPT, trust)


def test_a_witness_that_is_asked_for_and_missing_fails() -> None:
    witness = WitnessTrust(1, (SigningKey.generate("witness.example").verifier,))
    with pytest.raises(VerificationError, match=r"witness: too few cosignatures .*: expected 1, got 0"):
        verify_receipt(RECORD, RECEIPT, replace(TRUST, witness=witness))


def test_cosignatures_without_a_witness_in_the_trust_are_not_checked() -> None:
    trust = replace(Trust.from_file(SEALED["trust"]), witness=None)
    verified = verify_receipt(RECORD, Receipt.from_file(SEALED["receipt"]), trust)
    unchecked = [step for step in verified.steps if step.status is Status.NOT_CHECKED]
    assert [(step.name, step.text) for step in unchecked] == [
        ("witness", "3 cosignatures, and the trust file names no witness")
    ]
