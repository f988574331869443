"""Random texts that open something, and what is kept of them: a hash, which opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets

TOKEN_BYTES = 32


def new_token(prefix: str = "") -> str:
    """A text of 256 random bits that fits into addresses and cookies."""
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def new_id(prefix: str) -> str:
    """A random id that opens nothing and says nothing of whom it is for."""
    return f"{prefix}_{secrets.token_hex(8)}"


def digest(token: str) -> str:
    """What is kept of a random text. It has no salt, because it cannot be guessed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def csrf_of(token: str) -> str:
    """What every form carries of a browser whose cookie is `token`; a page of another site cannot know it."""
    return hmac.new(token.encode(errors="replace"), b"flexpact form", hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Whether two texts are one, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode(errors="replace"))
