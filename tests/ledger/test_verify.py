"""A receipt verifies for ever, and not one byte of it, of its record or of the trust file can be changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, SigningKey, VerifierKey
from ledger.errors import MalformedError, VerificationError
from ledger.receipt import Anchor, Receipt
from ledger.record import Record
from ledger.trust import ChainTrust, Trust, WitnessTrust
from ledger.verify import Status, Verified, verify_receipt

EXAMPLE = Path(__file__).parent / "example"
FILES = {name: (EXAMPLE / name).read_bytes() for name in ("record.json", "receipt.txt", "trust.toml")}
SINCE = (EXAMPLE / "trust_since.toml").read_bytes()

RECORD = Record.from_file(FILES["record.json"])
RECEIPT = Receipt.from_file(FILES["receipt.txt"])
TRUST = Trust.from_file(FILES["trust.toml"])
STEPS = ["record", "inclusion", "checkpoint", "contract", "header", "account", "storage"]


@cache
def parsed(name: str, raw: bytes) -> Record | Receipt | Trust:
    """A file's content; of thousands of cases two files of three are always the same."""
    kinds: dict[str, type[Record | Receipt | Trust]] = {
        "record.json": Record,
        "receipt.txt": Receipt,
        "trust.toml": Trust,
    }
    return kinds[name].from_file(raw)


def verify_files(files: dict[str, bytes]) -> Verified:
    record, receipt, trust = (parsed(name, files[name]) for name in FILES)
    assert isinstance(record, Record)
    assert isinstance(receipt, Receipt)
    assert isinstance(trust, Trust)
    return verify_receipt(record, receipt, trust)


def statuses(verified: Verified) -> dict[str, Status]:
    return {step.name: step.status for step in verified.steps}


def anchor(**changes: object) -> Receipt:
    return replace(RECEIPT, anchor=replace(RECEIPT.anchor, **changes))  # type: ignore[arg-type] # fields by name


def test_the_kept_example_verifies_completely() -> None:
    verified = verify_files(FILES)
    assert [step.name for step in verified.steps] == STEPS
    assert verified.complete


def test_files_are_written_as_they_were_read() -> None:
    assert RECORD.to_file() == FILES["record.json"]
    assert RECEIPT.to_file() == FILES["receipt.txt"]
    assert TRUST.to_file() == FILES["trust.toml"]


@pytest.mark.parametrize("name", [*FILES, "trust_since.toml"])
def test_no_byte_can_be_changed_dropped_or_doubled(name: str) -> None:
    kept = SINCE if name == "trust_since.toml" else FILES[name]
    slot = "trust.toml" if name == "trust_since.toml" else name
    accepted = []
    for at in range(len(kept)):
        for new in ({kept[at] ^ bit for bit in (0x01, 0x02, 0x20, 0x80)} | {0x20, 0x30}) - {kept[at]}:
            if passes({**FILES, slot: kept[:at] + bytes([new]) + kept[at + 1 :]}):
                accepted.append((at, chr(kept[at]), chr(new)))
        for changed in (kept[:at] + kept[at + 1 :], kept[: at + 1] + kept[at:]):
            if changed != kept and passes({**FILES, slot: changed}):
                accepted.append((at, chr(kept[at]), f"{len(changed)} bytes"))
    assert accepted == []


@pytest.mark.parametrize("name", FILES)
def test_no_line_can_be_dropped_doubled_or_moved(name: str) -> None:
    lines = FILES[name].splitlines(keepends=True)
    for at in range(len(lines)):
        dropped = [*lines[:at], *lines[at + 1 :]]
        doubled = [*lines[:at], lines[at], *lines[at:]]
        moved = [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]]
        for changed in (dropped, doubled, moved):
            if changed != lines:
                assert not passes({**FILES, name: b"".join(changed)}), (at, lines[at])


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_never_passes(name: str) -> None:
    for length in range(len(FILES[name])):
        assert not passes({**FILES, name: FILES[name][:length]}), length


def passes(files: dict[str, bytes]) -> bool:
    """Whether nothing failed; any exception but a named failure is a fault of ours and ends the test."""
    try:
        verified = verify_files(files)
    except VerificationError as error:
        assert error.step
        return False
    # A trust file without its block's hash is a valid one that checks less; that is not acceptance either.
    return verified.complete


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
        verify_receipt(RECORD, lonely, replace(TRUST, key=forger.verifier))


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


@pytest.mark.parametrize("validators", [(), (bytes(20),)])
def test_without_a_block_in_the_trust_the_header_is_not_checked(validators: tuple[bytes, ...]) -> None:
    trust = replace(TRUST, chain=chain_trust(header=None, validators=validators))
    verified = verify_receipt(RECORD, RECEIPT, trust)
    unchecked = [name for name, status in statuses(verified).items() if status is Status.NOT_CHECKED]
    assert unchecked == ["header"]


def test_header_step_says_who_vouches_for_it() -> None:
    header = next(step for step in verify_files(FILES).steps if step.name == "header")
    assert "the aggregator vouches for it" in header.text


def test_a_key_that_began_before_the_anchor_is_checked() -> None:
    verified = verify_files({**FILES, "trust.toml": SINCE})
    assert verified.complete
    assert statuses(verified)["validity"] is Status.CHECKED


def test_a_key_that_began_after_the_anchor_fails() -> None:
    late = replace(TRUST, valid_from=datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(
        VerificationError, match="validity: anchored before the key was valid: expected from 2027"
    ):
        verify_receipt(RECORD, RECEIPT, late)


@pytest.mark.parametrize("chain", [None, chain_trust(header=None)])
def test_without_a_trusted_block_a_keys_beginning_is_not_checked(chain: ChainTrust | None) -> None:
    trust = replace(TRUST, chain=chain, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    assert statuses(verify_receipt(RECORD, RECEIPT, trust))["validity"] is Status.NOT_CHECKED


def test_a_witness_that_is_asked_for_and_missing_fails() -> None:
    witness = WitnessTrust(1, (SigningKey.generate("witness.example").verifier,))
    with pytest.raises(VerificationError, match="witness: too few cosignatures: expected 1, got 0"):
        verify_receipt(RECORD, RECEIPT, replace(TRUST, witness=witness))


TEXT = FILES["receipt.txt"].decode()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param(
            TEXT.replace("/v0", "/v1"),
            "format is not known: expected flexpact-receipt/v0",
            id="a future format",
        ),
        pytest.param("", "format is not known", id="an empty file"),
        pytest.param(TEXT.replace("index ", "index 0"), "plain decimal", id="a leading zero"),
        pytest.param(TEXT.replace("index ", "leaf "), "second line", id="no index"),
        pytest.param(TEXT.replace("\nslot ", "\n\nslot "), "three parts", id="a blank line more"),
        pytest.param(TEXT.replace("\n", "\r\n"), "format is not known", id="line ends of another system"),
        pytest.param(TEXT + "more 1\n", "not chain, contract", id="a line more"),
        pytest.param(
            TEXT.replace("vouched-by aggregator", "vouched-by validators"),
            "nobody known",
            id="an unknown voucher",
        ),
        pytest.param(TEXT.replace("contract 0x", "contract 0X"), "lower-case", id="an address in capitals"),
        pytest.param(
            TEXT.replace("contract 0x", "contract 0xzz"), "not hexadecimal", id="an address that is none"
        ),
        pytest.param(TEXT + " " * 70_000, "larger", id="a huge file"),
    ],
)
def test_a_receipt_in_another_form_is_refused(changed: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        Receipt.from_file(changed.encode())


def test_a_receipt_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedError, match="not UTF-8 at byte 0"):
        Receipt.from_file(b"\xff" + FILES["receipt.txt"])


def test_an_anchor_is_written_as_it_was_read() -> None:
    assert Anchor.parse(RECEIPT.anchor.lines()) == RECEIPT.anchor


TOML = FILES["trust.toml"].decode()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param("# mine\n" + TOML, "line 1 is not in its one form", id="a comment"),
        pytest.param(TOML.replace(" = ", "="), "line 2 is not in its one form", id="other spaces"),
        pytest.param(TOML.replace('"', "'"), "line 2 is not in its one form", id="other quotes"),
        pytest.param(TOML + "x = 1\n", r"\[chain\] has other entries", id="an entry more"),
        pytest.param(
            TOML.replace("origin", "name"), r"\[log\] has other entries", id="an entry of another name"
        ),
        pytest.param(TOML + "[other]\n", "the file has other entries", id="a section more"),
        pytest.param("log = 1\n", "log is not a section", id="no section"),
        pytest.param(TOML.replace("[chain]", "[chain"), "not TOML", id="no TOML"),
        pytest.param(TOML.replace("id = ", "id = -"), "positive number", id="a negative chain"),
        pytest.param(TOML.replace("id = ", "id = 0x"), "in its one form", id="a number in another base"),
        pytest.param(
            TOML.replace('contract = "0x', 'contract = "'), "not 0x and 40", id="an address without 0x"
        ),
        pytest.param(
            TOML.replace('contract = "0x', 'contract = 1 # "'), "is not text", id="an address as a number"
        ),
        pytest.param(TOML + 'validators = "0x00"\n', "list of texts", id="validators as text"),
        pytest.param(TOML + "validators = []\n", "list of texts", id="no validators"),
        pytest.param(TOML + '\n[witness]\nneeded = 1\nkeys = ["x"]\n', "not of the form", id="a bad witness"),
        pytest.param(
            TOML + f'\n[witness]\nneeded = 2\nkeys = ["{TRUST.key}"]\n', "1 to 1, got 2", id="too many needed"
        ),
        pytest.param(
            TOML.replace("\n\n[chain]", "\nvalid_from = 5\n\n[chain]"),
            "not a UTC time",
            id="a time as a number",
        ),
        pytest.param(
            TOML.replace("\n\n[chain]", "\nvalid_from = 2026-01-01T00:00:00\n\n[chain]"),
            "not a UTC time",
            id="a local time",
        ),
        pytest.param(
            TOML.replace("\n\n[chain]", "\nvalid_from = 2026-01-01T00:00:00Z\n\n[chain]"),
            "line 5 is not",
            id="no check value",
        ),
        pytest.param("x = " + "[" * 5000, "not TOML", id="a bomb of brackets"),
        pytest.param(" " * 70_000, "larger", id="a huge file"),
    ],
)
def test_a_trust_file_in_another_form_is_refused(changed: str, reason: str) -> None:
    assert changed != TOML
    with pytest.raises(MalformedError, match=reason):
        Trust.from_file(changed.encode())


def test_a_full_trust_file_is_read_back() -> None:
    keys: tuple[VerifierKey, ...] = tuple(
        SigningKey.generate(f"witness.example/{n}").verifier for n in range(3)
    )
    trust = Trust(
        TRUST.key,
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1),
        chain_trust(validators=(bytes(20), bytes(range(20)))),
        WitnessTrust(2, keys),
    )
    assert Trust.from_file(trust.to_file()) == trust
