"""`trust.toml`: what an auditor takes as given: the log's key, the chain's contract and one of its block
headers.

It is read as strictly as a receipt: a file that differs from what `text` writes is refused, so that a slip
of one character cannot pass for trust. `valid_from` comes with a check value, because any earlier time
would pass as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from ledger.checkpoint import VerifierKey
from ledger.errors import MalformedError
from ledger.receipt import ADDRESS_BYTES, parse_hex
from ledger.record import first_difference

MAX_FILE_BYTES = 64 * 1024
STEP = "trust"


@dataclass(frozen=True, slots=True)
class ChainTrust:
    """The contract that holds the log's checkpoints, and what makes a block header of its chain believable.

    `header` is the hash of a block that the auditor trusts. `validators` are the addresses whose seals
    would be enough instead; this version reads them and reports the header as not checked.
    """

    id: int
    contract: bytes
    header: bytes | None = None
    validators: tuple[bytes, ...] = ()

    def lines(self) -> list[str]:
        """The section of `trust.toml`."""
        lines = ["[chain]", f"id = {self.id}", f'contract = "0x{self.contract.hex()}"']
        if self.header is not None:
            lines.append(f'header = "0x{self.header.hex()}"')
        if self.validators:
            lines.append(
                "validators = [" + ", ".join(f'"0x{address.hex()}"' for address in self.validators) + "]"
            )
        return lines


@dataclass(frozen=True, slots=True)
class WitnessTrust:
    """How many of these witnesses must have cosigned a checkpoint."""

    needed: int
    keys: tuple[VerifierKey, ...]

    def lines(self) -> list[str]:
        """The section of `trust.toml`."""
        return [
            "[witness]",
            f"needed = {self.needed}",
            "keys = [" + ", ".join(f'"{key}"' for key in self.keys) + "]",
        ]


@dataclass(frozen=True, slots=True)
class Trust:
    """The content of `trust.toml`. Without `chain` the anchor cannot be checked; `valid_from` is when the
    key began.
    """

    key: VerifierKey
    valid_from: datetime | None = None
    chain: ChainTrust | None = None
    witness: WitnessTrust | None = None

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.key.name

    def text(self) -> str:
        """The file, in the one form that is read back."""
        lines = ["[log]", f'origin = "{self.origin}"', f'key = "{self.key}"']
        if self.valid_from is not None:
            since = self.valid_from.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat() + "Z"
            lines += [f"valid_from = {since}", f'check = "{_check_value(self.key, since)}"']
        for section in (self.chain, self.witness):
            if section is not None:
                lines += ["", *section.lines()]
        return "\n".join(lines) + "\n"

    def to_file(self) -> bytes:
        """The file's bytes."""
        return self.text().encode()

    @classmethod
    def from_file(cls, raw: bytes) -> Trust:
        """The trust in a file; MalformedError with the place if it is not exactly what `to_file` would
        write.
        """
        if len(raw) > MAX_FILE_BYTES:
            raise MalformedError(STEP, f"the file is larger than {MAX_FILE_BYTES} bytes")
        try:
            sections = tomllib.loads(raw.decode())
        except (ValueError, RecursionError) as error:
            raise MalformedError(STEP, f"the file is not TOML in UTF-8: {error}") from error
        _known(sections, {"log"}, {"chain", "witness"}, "the file")
        trust = cls._from_sections(sections)
        written = trust.to_file()
        if written != raw:
            line = raw.count(b"\n", 0, first_difference(raw, written)) + 1
            expected = written.decode().split("\n")[line - 1 : line]
            raise MalformedError(
                STEP,
                f"line {line} is not in its one form",
                expected=repr("".join(expected)),
                got=repr(raw.decode().split("\n")[line - 1]),
            )
        return trust

    @classmethod
    def _from_sections(cls, sections: Mapping[str, object]) -> Trust:
        log = _table(sections, "log")
        _known(log, {"origin", "key"}, {"valid_from", "check"}, "[log]")
        key = VerifierKey.parse(_text(log, "key"))
        since = log.get("valid_from")
        if since is not None and (not isinstance(since, datetime) or since.utcoffset() != timedelta(0)):
            raise MalformedError(STEP, f"valid_from is not a UTC time: {since}")
        chain = _chain(_table(sections, "chain")) if "chain" in sections else None
        witness = _witness(_table(sections, "witness")) if "witness" in sections else None
        return cls(key, since, chain, witness)


def _chain(table: Mapping[str, object]) -> ChainTrust:
    _known(table, {"id", "contract"}, {"header", "validators"}, "[chain]")
    number = table["id"]
    if type(number) is not int or number < 1:
        raise MalformedError(STEP, f"the chain's id is not a positive number: {number!r}")
    header = parse_hex(STEP, _text(table, "header"), 32) if "header" in table else None
    validators = (
        tuple(parse_hex(STEP, text, ADDRESS_BYTES) for text in _texts(table, "validators"))
        if "validators" in table
        else ()
    )
    return ChainTrust(number, parse_hex(STEP, _text(table, "contract"), ADDRESS_BYTES), header, validators)


def _witness(table: Mapping[str, object]) -> WitnessTrust:
    _known(table, {"needed", "keys"}, set(), "[witness]")
    keys = tuple(VerifierKey.parse(text) for text in _texts(table, "keys"))
    needed = table["needed"]
    if type(needed) is not int or not 1 <= needed <= len(keys):
        raise MalformedError(
            STEP,
            "the number of witnesses needed makes no sense",
            expected=f"1 to {len(keys)}",
            got=str(needed),
        )
    return WitnessTrust(needed, keys)


def _check_value(key: VerifierKey, since: str) -> str:
    return sha256(f"{key}\n{since}\n".encode()).hexdigest()[:16]


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
