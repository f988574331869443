"""What a contract understands and says: calls, answers, events and refusals, by the interface that its
artefact names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import abi_to_signature, get_abi_input_types, get_abi_output_types

from ledger import contracts
from ledger.errors import CallValueError, ChainError
from ledger.stack import restore_recursion_limit
from ledger.state import keccak256

restore_recursion_limit()


class Interface:
    """The interface of one contract; functions and events by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        abi: Any = contracts.load(name).abi
        self._functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}
        self._events = {entry["name"]: entry for entry in abi if entry["type"] == "event"}
        errors = [entry for entry in abi if entry["type"] == "error"]
        self._errors = {_selector(entry): entry for entry in errors}

    def encode(self, function: str, *arguments: Any) -> bytes:
        """The call data of a function; a struct is a tuple, an account 20 bytes. CallValueError names the
        value that its type cannot hold.
        """
        entry = self._functions[function]
        try:
            return _selector(entry) + encode(get_abi_input_types(entry), arguments)
        except EncodingError as error:
            said = _misfit(entry["inputs"], arguments) or str(error)
            raise CallValueError(f"{self.name}.{function}: {said}") from error

    def decode(self, function: str, answer: bytes) -> tuple[Any, ...]:
        """What a function returned; ChainError if it cannot be that."""
        try:
            return decode(get_abi_output_types(self._functions[function]), answer)
        except (DecodingError, OverflowError) as error:
            raise ChainError(f"the answer of {self.name}.{function} cannot be read: {error}") from error

    def topic(self, event: str) -> bytes:
        """The first topic of an event."""
        return keccak256(abi_to_signature(self._events[event]).encode())

    def data(self, event: str, raw: bytes) -> dict[str, Any]:
        """The fields of an event that are not indexed, by name; ChainError if it cannot be that event."""
        fields = [entry for entry in self._events[event]["inputs"] if not entry["indexed"]]
        try:
            values = decode([entry["type"] for entry in fields], raw)
        except (DecodingError, OverflowError) as error:
            raise ChainError(f"the event {self.name}.{event} cannot be read: {error}") from error
        return {entry["name"]: value for entry, value in zip(fields, values, strict=True)}

    def refusal(self, data: bytes) -> tuple[str, str]:
        """The name of the error that a call was reverted with, and the same with its values."""
        entry = self._errors.get(data[:4])
        if entry is None:
            return "", f"an error without name, 0x{data.hex()}"
        try:
            values = decode(get_abi_input_types(entry), data[4:])
        except (DecodingError, OverflowError):
            return entry["name"], entry["name"]
        names = [field["name"] for field in entry["inputs"]]
        shown = [f"{name} {_shown(value)}" for name, value in zip(names, values, strict=True)]
        return entry["name"], f"{entry['name']}({', '.join(shown)})"


@cache
def interface(name: str) -> Interface:
    """The interface of a contract whose artefact is committed."""
    return Interface(name)


def _selector(entry: Any) -> bytes:
    return keccak256(abi_to_signature(entry).encode())[:4]


def _shown(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)


def _misfit(inputs: Sequence[Any], values: Sequence[Any]) -> str:
    """The first value that its type cannot hold, by name; empty if it is none of them alone."""
    for field, value in zip(inputs, values, strict=False):
        if "components" in field:
            if said := _misfit(field["components"], value):
                return said
            continue
        try:
            encode([field["type"]], [value])
        except EncodingError:
            return f"{field['name']}: {_shown(value)} is no {field['type']}"
    return ""
