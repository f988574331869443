"""What a rule found in a message."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken conformance rule, by its ID. A warning is tolerated on receive and reported all the same."""

    rule: str
    text: str
    warning: bool = False
