"""Passwords: what one must be, and its argon2id hash, made beside the event loop a few at a time.

Rules: an unknown name costs one verification too, against a hash that nothing matches; a hash of weaker
parameters is replaced when its password is next given.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.secret import new_token

T = TypeVar("T")

SHORTEST = 12
LONGEST = 256
MEMORY_KIB = 19_456  # 19 MiB
ROUNDS = 2
AT_ONCE = 2  # hashes; each holds its memory and a core
IN_LINE = 32  # who would wait longer than a second or two is sent away
_WORDS = Path(__file__).with_name("common_passwords.txt")
_DIGITS_FOR_LETTERS = str.maketrans("013457@$!", "oieastasi")


class Passwords:
    """Makes and checks hashes. `checks` counts how many were checked, whatever came of them."""

    def __init__(self, memory_kib: int = MEMORY_KIB, rounds: int = ROUNDS) -> None:
        self._hasher = PasswordHasher(
            time_cost=rounds,
            memory_cost=memory_kib,
            parallelism=1,
            hash_len=RFC_9106_LOW_MEMORY.hash_len,
            salt_len=RFC_9106_LOW_MEMORY.salt_len,
        )
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobody: str | None = None
        self.checks = 0

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        return await self._beside(self._hasher.hash, normal(password))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether it is the password; None costs the same and is never matched."""
        if kept is None and self._nobody is None:
            self._nobody = await self.hash(new_token())
        self.checks += 1
        matched = await self._beside(self._matches, kept or self._nobody or "", normal(password))
        return matched and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters."""
        return self._hasher.check_needs_rehash(kept)

    def _matches(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _beside(self, work: Callable[..., T], *values: str) -> T:
        if self._waiting >= IN_LINE:
            raise RefusedError(503, "too many people sign in at once, try again", retry_after_s=5)
        self._waiting += 1
        try:
            async with self._places:
                return await asyncio.to_thread(work, *values)
        finally:
            self._waiting -= 1


def normal(password: str) -> str:
    """The password in one form, whatever keyboard it was typed on."""
    return unicodedata.normalize("NFKC", password)


def check(password: str, *about: str) -> None:
    """FieldError where it is too short, too long, or easily guessed; `about` are the user's name and ours."""
    password = normal(password)
    if len(password) < SHORTEST:
        raise FieldError("password", f"it has {len(password)} characters, at least {SHORTEST} are needed")
    if len(password) > LONGEST:
        raise FieldError("password", f"it has {len(password)} characters, at most {LONGEST} are taken")
    plain = _plain(password)
    if _repeats(password.casefold()) or _runs(password.casefold()):
        raise FieldError("password", "it is a row or a repetition, which is guessed first")
    for word in (*map(_plain, about), *_common()):
        if len(word) >= 3 and word in plain and len(plain) - len(word) < SHORTEST // 2:
            raise FieldError("password", "it is little more than a name or a word that is guessed first")


def _plain(text: str) -> str:
    """Small letters alone: `P4ssw0rd!23` is `password`."""
    return re.sub(r"[^a-z]", "", text.casefold().translate(_DIGITS_FOR_LETTERS))


def _repeats(text: str) -> bool:
    """Whether it is one short piece again and again, or of three different characters at most."""
    return len(set(text)) <= 3 or any(
        (text[:size] * len(text)).startswith(text) for size in range(1, len(text) // 2 + 1)
    )


def _runs(text: str) -> bool:
    """Whether it is a row of the keyboard or of the alphabet, in either direction."""
    return any(text in row + row or text in (row + row)[::-1] for row in _ROWS)


_ROWS = (
    "0123456789",
    "1234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
)


@cache
def _common() -> tuple[str, ...]:
    """Words that passwords are made of most often, our own list."""
    return tuple(word for word in _WORDS.read_text(encoding="ascii").split("\n") if word and word[0] != "#")
