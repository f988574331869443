"""The Solidity contracts and what they compile to; the compiled form is committed, so users need no
compiler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Artefact:
    """A compiled contract: its interface and the code of the transaction that creates it."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: str


def load(name: str) -> Artefact:
    """The committed artefact of a contract."""
    content = json.loads(resources.files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return Artefact(content["contract"], content["abi"], content["bytecode"])
