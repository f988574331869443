"""The two scripts by which anybody checks a receipt without a line of ours, to be given along with evidence.

They live in docs/verify; an installed wheel has them beside this file.
"""

from __future__ import annotations

from pathlib import Path

LEAF_TO_CHECKPOINT = "leaf_to_checkpoint.py"
CHECKPOINT_TO_HEADER = "checkpoint_to_header.py"
INSTALLED = "outsider_scripts"
_HERE = Path(__file__).parent
_PLACES = (_HERE / INSTALLED, _HERE.parent / "docs" / "verify")


def scripts() -> dict[str, bytes]:
    """Both by their names; FileNotFoundError if this installation lacks them."""
    place = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
    return {name: (place / name).read_bytes() for name in (LEAF_TO_CHECKPOINT, CHECKPOINT_TO_HEADER)}
