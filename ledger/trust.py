"""`trust.toml`: what an auditor takes as given: the log's keys and their times, the chain's contract with a
block header or the validators (one list, or a set for each stretch of blocks), and the witnesses. Format
`flexpact-trust/v1`.

It is read as strictly as a receipt: a file that differs from what `text` writes is refused, so that a slip
of one character cannot pass for trust. Its second line is a check value over all lines below, because many
slips (an earlier time, a witness less) would still be a valid file that trusts more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise

from ledger.checkpoint import COSIGNATURE, ED25519, KINDS, MAX_SIZE, VerifierKey
from ledger.errors import MalformedError, VerificationError
from ledger.receipt import parse_hex
from ledger.record import first_difference
from ledger.state import ADDRESS_BYTES

FORMAT = "flexpact-trust/v1"
MAX_FILE_BYTES = 64 * 1024
STEP = "trust"
_TIMES = ("valid_from", "valid_until", "lost_at")


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key of the log and when its signatures count, by the time of the block that anchors a checkpoint.

    From `valid_from` on and before `valid_until`, each if it is there. `lost_at` declares it lost: from then
    on somebody else may sign with it, so that its checkpoints count only if a trusted block is older.
    """

    key: VerifierKey
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    lost_at: datetime | None = None

    @property
    def bounded(self) -> bool:
        """Whether the key counts at certain times only."""
        return any(at is not None for at in (self.valid_from, self.valid_until, self.lost_at))

    def lines(self) -> list[str]:
        """The section of `trust.toml`."""
        lines = ["[[log.keys]]", f'key = "{self.key}"']
        for name in _TIMES:
            at: datetime | None = getattr(self, name)
            if at is not None:
                lines.append(f"{name} = {_time_text(at)}")
        return lines


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Validators of a chain, a quorum of whom seals each block from `from_block` on, until the next set
    begins. Without `from_block` they are those of every block.
    """

    addresses: tuple[bytes, ...]
    from_block: int | None = None

    @property
    def text(self) -> str:
        """Who they are, in a sentence."""
        since = "" if self.from_block is None else f" from block {self.from_block} on"
        return f"the {len(self.addresses)} validators{since} in the trust file"

    def lines(self) -> list[str]:
        """The section of a set that begins at a block."""
        addresses = _list("addresses", (f"0x{address.hex()}" for address in self.addresses))
        return ["[[chain.validators]]", f"from_block = {self.from_block}", addresses]


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """The contract that holds the log's checkpoints, and what makes a block header of its chain believable.

    `header` is the hash of a block that the auditor trusts. `validators` are the addresses of which a quorum
    must have sealed the header, whichever block it is of; `validator_sets` stand in their place where they
    changed, in ascending order of blocks. Where a block and validators are given, both must hold.
    """

    id: int
    contract: bytes
    header: bytes | None = None
    validators: tuple[bytes, ...] = ()
    validator_sets: tuple[ValidatorSet, ...] = ()

    @property
    def names_validators(self) -> bool:
        """Whether a block needs seals to be believed."""
        return bool(self.validators or self.validator_sets)

    def validators_of(self, block: int) -> ValidatorSet:
        """The validators of whom a quorum must have sealed the block of that number, nobody if the file names
        none; VerificationError if all sets begin later.
        """
        if not self.validator_sets:
            return ValidatorSet(self.validators)
        holding = [each for each in self.validator_sets if (each.from_block or 0) <= block]
        if not holding:
            raise VerificationError(
                "seals",
                "no validators in the trust file are those of this block",
                expected=f"a block from {self.validator_sets[0].from_block} on",
                got=f"block {block}",
            )
        return holding[-1]

    def lines(self) -> list[str]:
        """The section of `trust.toml`, with a section of its own for each set of validators."""
        lines = ["[chain]", f"id = {self.id}", f'contract = "0x{self.contract.hex()}"']
        if self.header is not None:
            lines.append(f'header = "0x{self.header.hex()}"')
        if self.validators:
            lines.append(_list("validators", (f"0x{address.hex()}" for address in self.validators)))
        for each in self.validator_sets:
            lines += ["", *each.lines()]
        return lines

    @classmethod
    def from_section(cls, raw: bytes) -> ChainTrust:
        """The trust in a file that holds this section alone, as a network's operator hands it out;
        MalformedError if it is not exactly what `lines` would write.
        """
        sections = _toml(raw)
        _known(sections, {"chain"}, set(), "the file")
        chain = _chain(_table(sections, "chain"))
        _check_form(raw, ("\n".join(chain.lines()) + "\n").encode())
        return chain


@dataclass(frozen=True, slots=True)
class WitnessTrust:
    """How many of these witnesses must have cosigned a checkpoint."""

    needed: int
    keys: tuple[VerifierKey, ...]

    def lines(self) -> list[str]:
        """The section of `trust.toml`."""
        return ["[witness]", f"needed = {self.needed}", _list("keys", map(str, self.keys))]


@dataclass(frozen=True, slots=True)
class Trust:
    """The content of `trust.toml`. Without `chain` the anchor cannot be checked, without `witness` no
    cosignature. All keys bear the log's name.
    """

    keys: tuple[LogKey, ...]
    chain: ChainTrust | None = None
    witness: WitnessTrust | None = None

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.keys[0].key.name

    def text(self) -> str:
        """The file, in the one form that is read back."""
        lines = ["[log]", f'origin = "{self.origin}"']
        for section in (*self.keys, self.chain, self.witness):
            if section is not None:
                lines += ["", *section.lines()]
        body = "\n".join(lines) + "\n"
        return f'format = "{FORMAT}"\ncheck = "{_check_value(body)}"\n\n{body}'

    def to_file(self) -> bytes:
        """The file's bytes."""
        return self.text().encode()

    @classmethod
    def from_file(cls, raw: bytes) -> Trust:
        """The trust in a file; MalformedError with the place if it is not exactly what `to_file` would
        write.
        """
        sections = _toml(raw)
        if sections.get("format") != FORMAT:
            got = repr(sections.get("format", "no format"))[:40]
            raise MalformedError(STEP, "format is not known", expected=FORMAT, got=got)
        _known(sections, {"format", "check", "log"}, {"chain", "witness"}, "the file")
        trust = cls._from_sections(sections)
        _check_form(raw, trust.to_file())
        return trust

    @classmethod
    def _from_sections(cls, sections: Mapping[str, object]) -> Trust:
        log = _table(sections, "log")
        _known(log, {"origin", "keys"}, set(), "[log]")
        tables = log["keys"]
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise MalformedError(STEP, f"keys of the log are not sections [[log.keys]]: {str(tables)[:80]}")
        keys = tuple(_log_key(table) for table in tables)
        for key in keys[1:]:
            if key.key.name != keys[0].key.name:
                raise MalformedError(
                    STEP, "a key is another log's", expected=keys[0].key.name, got=key.key.name
                )
        _different("key's id", (key.key.id.hex() for key in keys))
        chain = _chain(_table(sections, "chain")) if "chain" in sections else None
        witness = _witness(_table(sections, "witness")) if "witness" in sections else None
        # The same key as log and witness, or under two names, would let one party count as two.
        publics = [key.key.public for key in keys] + [key.public for key in (witness.keys if witness else ())]
        _different("key", (public.hex() for public in publics))
        return cls(keys, chain, witness)


def _toml(raw: bytes) -> Mapping[str, object]:
    if len(raw) > MAX_FILE_BYTES:
        raise MalformedError(STEP, f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        return tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedError(STEP, f"the file is not TOML in UTF-8: {error}") from error


def _check_form(raw: bytes, written: bytes) -> None:
    """Nothing if both are the same file, else MalformedError with the line in which they differ."""
    if written == raw:
        return
    line = raw.count(b"\n", 0, first_difference(raw, written)) + 1
    expected = "".join(written.decode().split("\n")[line - 1 : line])
    got = raw.decode().split("\n")[line - 1]
    fault = f"line {line} is not in its one form"
    if expected.startswith("check = ") and got.startswith("check = "):
        fault = f"the check value in line {line} is not that of the lines below it"
    raise MalformedError(STEP, fault, expected=repr(expected), got=repr(got[:200]))


def _log_key(table: Mapping[str, object]) -> LogKey:
    _known(table, {"key"}, set(_TIMES), "[[log.keys]]")
    times = {name: _time(table, name) for name in _TIMES}
    key = LogKey(_key(_text(table, "key"), ED25519), **times)
    if key.valid_from and key.valid_until and key.valid_from >= key.valid_until:
        raise MalformedError(
            STEP,
            "a key ends before it begins",
            expected=f"valid_until after {_time_text(key.valid_from)}",
            got=_time_text(key.valid_until),
        )
    return key


def _chain(table: Mapping[str, object]) -> ChainTrust:
    _known(table, {"id", "contract"}, {"header", "validators"}, "[chain]")
    number = table["id"]
    if type(number) is not int or number < 1:
        raise MalformedError(STEP, f"the chain's id is not a positive number: {number!r}")
    header = parse_hex(STEP, _text(table, "header"), 32) if "header" in table else None
    validators, sets = _validators(table["validators"]) if "validators" in table else ((), ())
    return ChainTrust(
        number, parse_hex(STEP, _text(table, "contract"), ADDRESS_BYTES), header, validators, sets
    )


def _validators(value: object) -> tuple[tuple[bytes, ...], tuple[ValidatorSet, ...]]:
    """One list for all blocks, or sets that each begin at a block."""
    if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
        return _addresses({"validators": value}, "validators"), ()
    if not all(isinstance(each, dict) for each in value):
        raise MalformedError(STEP, "validators are neither a list of texts nor sections [[chain.validators]]")
    sets = tuple(_validator_set(table) for table in value)
    for before, after in pairwise(sets):
        if (after.from_block or 0) <= (before.from_block or 0):
            raise MalformedError(
                STEP,
                "the sets of validators are not in the order of their blocks",
                expected=f"from_block above {before.from_block}",
                got=str(after.from_block),
            )
        if set(before.addresses) == set(after.addresses):
            raise MalformedError(
                STEP,
                f"the set from block {after.from_block} on is the one before it again",
                expected="other validators",
                got=f"those from block {before.from_block} on",
            )
    return (), sets


def _validator_set(table: Mapping[str, object]) -> ValidatorSet:
    _known(table, {"from_block", "addresses"}, set(), "[[chain.validators]]")
    block = table["from_block"]
    if type(block) is not int or not 0 <= block <= MAX_SIZE:
        raise MalformedError(
            STEP, "from_block is not the number of a block", expected=f"0 to {MAX_SIZE}", got=repr(block)[:80]
        )
    if table["addresses"] == []:
        raise MalformedError(STEP, f"the set of validators from block {block} on is empty")
    return ValidatorSet(_addresses(table, "addresses"), block)


def _addresses(table: Mapping[str, object], name: str) -> tuple[bytes, ...]:
    texts = _texts(table, name)
    _different("validator", texts)
    return tuple(parse_hex(STEP, text, ADDRESS_BYTES) for text in texts)


def _witness(table: Mapping[str, object]) -> WitnessTrust:
    _known(table, {"needed", "keys"}, set(), "[witness]")
    keys = tuple(_key(text, COSIGNATURE) for text in _texts(table, "keys"))
    _different("witness's name", (key.name for key in keys))
    needed = table["needed"]
    if type(needed) is not int or not 1 <= needed <= len(keys):
        raise MalformedError(
            STEP,
            "the number of witnesses needed makes no sense",
            expected=f"1 to {len(keys)}",
            got=str(needed),
        )
    return WitnessTrust(needed, keys)


def _check_value(body: str) -> str:
    return sha256(body.encode()).hexdigest()[:16]


def _time_text(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def _list(name: str, values: Iterable[str]) -> str:
    return f"{name} = [" + ", ".join(f'"{value}"' for value in values) + "]"


def _key(text: str, kind: bytes) -> VerifierKey:
    key = VerifierKey.parse(text)
    if key.kind != kind:
        raise MalformedError(
            STEP, f"key of {key.name} is of another kind", expected=KINDS[kind], got=KINDS[key.kind]
        )
    return key


def _different(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise MalformedError(STEP, f"a {what} stands there twice", expected="once", got=value)
        seen.add(value)


def _time(table: Mapping[str, object], name: str) -> datetime | None:
    at = table.get(name)
    if at is not None and (not isinstance(at, datetime) or at.utcoffset() != timedelta(0)):
        raise MalformedError(STEP, f"{name} is not a UTC time: {at}")
    return at


def _known(table: Mapping[str, object], needed: set[str], allowed: set[str], where: str) -> None:
    if not needed <= table.keys() <= needed | allowed:
        raise MalformedError(
            STEP,
            f"{where} has other entries",
            expected=", ".join(sorted(needed | allowed)),
            got=", ".join(sorted(table)),
        )


def _table(sections: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = sections[name]
    if not isinstance(table, dict):
        raise MalformedError(STEP, f"{name} is not a section")
    return table


def _text(table: Mapping[str, object], name: str) -> str:
    value = table[name]
    if not isinstance(value, str):
        raise MalformedError(STEP, f"{name} is not text: {value!r}")
    return value


def _texts(table: Mapping[str, object], name: str) -> list[str]:
    values = table[name]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise MalformedError(STEP, f"{name} is not a list of texts: {values!r}")
    return values
