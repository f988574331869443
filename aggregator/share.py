"""Homes' shares in a statement, sealed so that each can be erased alone.

A statement's record holds a commitment for each home, SHA-256 over a salt of its own and who got how much;
names, amounts and salts are in the detail that is kept beside it. To erase a home, its name, amount and salt
are destroyed and its commitment stays: record, leaf and the other homes' shares hold as before. Who is given
salt and amount can show from the record alone what a home got.

Details from before shares had salts were sealed in one piece; no home can be taken out of these.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

SALT_BYTES = 32
AMOUNTS, SALTS, ERASED = "shares_minor", "share_salts", "erased_shares"
_OWN = (SALTS, ERASED)

Detail = Mapping[str, Any]


def salted(detail: Detail) -> dict[str, Any]:
    """A detail as it is to be kept: with a salt for each home's share."""
    return {**detail, SALTS: {home: secrets.token_hex(SALT_BYTES) for home in detail[AMOUNTS]}}


def same(kept: Detail, made: Detail) -> bool:
    """Whether a detail that was made anew says what the kept one does. Where a home was erased, the others'
    shares would come out otherwise now; what they got stays.
    """
    drop = {AMOUNTS, *_OWN} if kept.get(ERASED) else set(_OWN)
    return _without(kept, drop) == _without(made, drop)


def in_one_piece(detail: Detail) -> bool:
    """Whether the shares were sealed with the detail, so that none can be erased alone."""
    return SALTS not in detail


def sealed(detail: Detail) -> tuple[dict[str, Any], list[str] | None]:
    """What of a detail is sealed by one hash, and the commitments of its shares in order; None where they
    are part of the first.
    """
    if in_one_piece(detail):
        return dict(detail), None
    salts = detail[SALTS]
    own = [commitment(home, minor, salts[home]) for home, minor in detail[AMOUNTS].items()]
    return _without(detail, {AMOUNTS, *_OWN}), sorted([*own, *detail.get(ERASED, ())])


def erased(detail: Detail, home: str) -> tuple[dict[str, Any], str]:
    """The detail without a home's share, and the commitment that stays of it."""
    gone = commitment(home, detail[AMOUNTS][home], detail[SALTS][home])
    return {
        **detail,
        AMOUNTS: _without(detail[AMOUNTS], {home}),
        SALTS: _without(detail[SALTS], {home}),
        ERASED: sorted([*detail.get(ERASED, ()), gone]),
    }, gone


def shown(detail: Detail) -> dict[str, Any]:
    """A detail without its salts: who keeps one could tell an erased share again."""
    return _without(detail, {SALTS})


def opening(detail: Detail, home: str) -> dict[str, Any] | None:
    """What shows from the record alone what this home got; None where its share cannot be shown by itself."""
    if in_one_piece(detail) or home not in detail[AMOUNTS]:
        return None
    minor, salt = detail[AMOUNTS][home], detail[SALTS][home]
    return {"home": home, "minor": minor, "salt": salt, "commitment": commitment(home, minor, salt)}


def commitment(home: str, minor: int, salt: str) -> str:
    """What stands in the record for a home's share."""
    said = json.dumps([home, minor], separators=(",", ":")).encode()
    return sha256(b"\x00" + bytes.fromhex(salt) + said).hexdigest()


def _without(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
