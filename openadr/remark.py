"""What the checker says of one side of a conversation."""

from dataclasses import dataclass
from enum import StrEnum

from openadr.finding import Finding


class Party(StrEnum):
    """Who said it."""

    VEN = "VEN"
    VTN = "VTN"


@dataclass(frozen=True, slots=True)
class Remark:
    """A broken rule, and who broke it."""

    party: Party
    finding: Finding


def of_ven(rule: str, text: str, *, warning: bool = False) -> Remark:
    """The VEN broke this rule."""
    return Remark(Party.VEN, Finding(rule, text, warning))


def of_vtn(rule: str, text: str, *, warning: bool = False) -> Remark:
    """The VTN broke this rule."""
    return Remark(Party.VTN, Finding(rule, text, warning))
