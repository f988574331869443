"""Trust files: one form, and nothing that would let an auditor trust more than he wrote."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.checkpoint import COSIGNATURE, SigningKey
from ledger.errors import MalformedError
from ledger.trust import LogKey, Trust, WitnessTrust

EXAMPLE = Path(__file__).parent / "example"
TOML = (EXAMPLE / "trust.toml").read_text(encoding="utf-8")
SEALED = (EXAMPLE / "trust_sealed.toml").read_text(encoding="utf-8")
TRUST = Trust.from_file(TOML.encode())
KEY = str(TRUST.keys[0].key)
OTHER = str(SigningKey.generate(TRUST.origin).verifier)
WITNESS = str(SigningKey.generate("witness.example", COSIGNATURE).verifier)


def checked(text: str) -> str:
    """A file with the check value that belongs to its lines."""
    head, _, body = text.partition("\n\n")
    return f'{head.split(chr(10))[0]}\ncheck = "{sha256(body.encode()).hexdigest()[:16]}"\n\n{body}'


def with_times(*lines: str) -> str:
    """The file with more lines about the log's key."""
    return TOML.replace(f'key = "{KEY}"\n', "\n".join([f'key = "{KEY}"', *lines]) + "\n")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param("# mine\n" + TOML, "line 1 is not in its one form", id="a comment"),
        pytest.param(TOML.replace("v1", "v2"), "expected flexpact-trust/v1, got 'flex", id="a future format"),
        pytest.param(TOML.replace("format", "version"), "got 'no format'", id="no format"),
        pytest.param(TOML.replace("chain]", "chain]\n"), "line 11 is not in its one form", id="a line more"),
        pytest.param(TOML.replace(" = ", "="), "line 1 is not in its one form", id="other spaces"),
        pytest.param(TOML.replace('"', "'"), "line 1 is not in its one form", id="other quotes"),
        pytest.param(TOML.replace('check = "', 'check = "0'), "value in line 2", id="another check"),
        pytest.param(with_times("valid_from = 2026-01-01T00:00:00Z"), "the check value", id="no new check"),
        pytest.param(TOML + "x = 1\n", r"\[chain\] has other entries", id="an entry more"),
        pytest.param(
            TOML.replace("origin", "name"), r"\[log\] has other entries", id="an entry of another name"
        ),
        pytest.param(
            TOML.replace("[[log.keys]]\nkey = ", "keys = 1 # "),
            r"not sections \[\[log.keys\]\]",
            id="no keys",
        ),
        pytest.param(with_times("until = 1"), r"\[\[log.keys\]\] has other entries", id="another time"),
        pytest.param(TOML.replace(KEY, WITNESS), "expected a log, got a witness", id="a witness"),
        pytest.param(
            with_times("", "[[log.keys]]", f'key = "{KEY}"'), "key's id stands there twice", id="a key twice"
        ),
        pytest.param(
            with_times("", "[[log.keys]]", f'key = "{SigningKey.generate("other").verifier}"'),
            "a key is another log's: expected example.org/flexpact, got other",
            id="another log's key",
        ),
        pytest.param(
            with_times("valid_from = 2026-01-02T00:00:00Z", "valid_until = 2026-01-02T00:00:00Z"),
            "ends before it begins: expected valid_until after 2026-01-02T00:00:00Z",
            id="a key without a time",
        ),
        pytest.param(SEALED.replace("needed = 3", "needed = 4"), "1 to 3, got 4", id="too many needed"),
        pytest.param(SEALED.replace("needed = 3", "needed = 0"), "1 to 3, got 0", id="none needed"),
        pytest.param(TOML + "[other]\n", "the file has other entries", id="a section more"),
        pytest.param(
            'format = "flexpact-trust/v1"\ncheck = "0"\nlog = 1\n', "log is not a section", id="no section"
        ),
        pytest.param(TOML.replace("[chain]", "[chain"), "not TOML", id="no TOML"),
        pytest.param(TOML.replace("id = ", "id = -"), "positive number", id="a negative chain"),
        pytest.param(TOML.replace("id = ", "id = 0x"), "the check value", id="another number"),
        pytest.param(
            TOML.replace('contract = "0x', 'contract = "'), "not 0x and 40", id="an address without 0x"
        ),
        pytest.param(
            TOML.replace('contract = "0x', 'contract = 1 # "'), "is not text", id="an address as a number"
        ),
        pytest.param(TOML + 'validators = "0x00"\n', "list of texts", id="validators as text"),
        pytest.param(TOML + "validators = []\n", "list of texts", id="no validators"),
        pytest.param(TOML + '\n[witness]\nneeded = 1\nkeys = ["x"]\n', "not of the form", id="a bad witness"),
        pytest.param(with_times("valid_from = 5"), "valid_from is not a UTC time", id="a number as time"),
        pytest.param(
            with_times("lost_at = 2026-01-01T00:00:00"), "lost_at is not a UTC time", id="a local time"
        ),
        pytest.param(
            with_times("valid_until = 2026-01-01T00:00:00.5Z"), "value in line 2", id="half a second"
        ),
        pytest.param("x = " + "[" * 5000, "not TOML", id="a bomb of brackets"),
        pytest.param(" " * 70_000, "larger", id="a huge file"),
    ],
)
def test_a_trust_file_in_another_form_is_refused(changed: str, reason: str) -> None:
    assert changed != TOML
    with pytest.raises(MalformedError, match=reason):
        Trust.from_file(changed.encode())


def test_the_check_value_is_over_all_lines_below_it() -> None:
    text = with_times("valid_from = 2026-01-01T00:00:00Z")
    assert Trust.from_file(checked(text).encode()).keys[0].valid_from == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (0, 1, "witness's name stands there twice"),
        (0, 2, "validator stands there twice"),
    ],
)
def test_nobody_counts_twice(old: int, new: int, reason: str) -> None:
    trust = Trust.from_file(SEALED.encode())
    assert trust.chain is not None
    assert trust.witness is not None
    names = [str(key) for key in trust.witness.keys]
    if "validator" in reason:
        names = [f"0x{address.hex()}" for address in trust.chain.validators]
    with pytest.raises(MalformedError, match=reason):
        Trust.from_file(checked(SEALED.replace(names[old], names[new])).encode())


def test_a_witness_with_the_logs_own_key_is_refused() -> None:
    own = replace(TRUST.keys[0].key, name="witness.example", kind=COSIGNATURE)
    text = replace(TRUST, witness=WitnessTrust(1, (own,))).to_file()
    with pytest.raises(MalformedError, match="a key stands there twice"):
        Trust.from_file(text)


def test_a_witness_under_two_names_is_refused() -> None:
    one = SigningKey.generate("witness.example/1", COSIGNATURE).verifier
    text = replace(TRUST, witness=WitnessTrust(2, (one, replace(one, name="witness.example/2")))).to_file()
    with pytest.raises(MalformedError, match="a key stands there twice"):
        Trust.from_file(text)


def test_a_full_trust_file_is_read_back() -> None:
    witnesses = tuple(
        SigningKey.generate(f"witness.example/{number}", COSIGNATURE).verifier for number in range(3)
    )
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    keys = (
        LogKey(TRUST.keys[0].key, begin, begin + timedelta(hours=1), begin + timedelta(minutes=1)),
        LogKey(SigningKey.generate(TRUST.origin).verifier, begin + timedelta(hours=1)),
    )
    assert TRUST.chain is not None
    chain = replace(TRUST.chain, validators=(bytes(20), bytes(range(20))))
    trust = Trust(keys, chain, WitnessTrust(2, witnesses))
    assert Trust.from_file(trust.to_file()) == trust
