"""Where an integrator joins in: a look at each message, which may refuse it by a code and words of its own.

A hook runs inside the transaction of its message, after the checks of who speaks and before anything is
done; a refusal undoes what the hook itself has written, and sits in the payload that fits the request
(ERR-03). Where strangers enrol by themselves, the hook sees the registration as the new VEN's, whom a refusal
leaves a stranger; of other strangers nothing is taken that it could judge. Polls that find nothing are
answered from memory: no hook sees them.
"""

from __future__ import annotations

import inspect
from datetime import datetime
from importlib import import_module
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr import Message, ProtocolError
from vtn.errors import StartupError
from vtn.registration import Ven


class Refusal(ProtocolError):  # noqa: N818 - the name says what happened
    """A refusal with the integrator's own response code and description (ERR-05).

    The description goes to the peer: no secrets, at most `MOST_CHARS` of it.
    """

    MOST_CHARS = 250

    def __init__(self, code: str, description: str) -> None:
        """ValueError where the code is not 4xx or 5xx."""
        if not (len(code) == 3 and code.isascii() and code.isdigit() and code[0] in "45"):
            raise ValueError(f"the code of a refusal is 4xx or 5xx, not {code!r}")
        super().__init__(description[: self.MOST_CHARS])
        self.code = code


class Review(Protocol):
    """What an integrator gives to the server: see `Server`."""

    async def __call__(self, message: Message, ven: Ven, conn: AsyncConnection, now: datetime, /) -> None:
        """Let the message of this VEN pass, or raise `Refusal`."""


async def pass_all(_message: Message, _ven: Ven, _conn: AsyncConnection, _now: datetime) -> None:
    """The hook of a server without one."""


def find(name: str) -> Review:
    """The hook of the setting `review`, such as `mysite.programme:review`; StartupError where it is none."""
    module, _, function = name.partition(":")
    try:
        found: Review = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise StartupError(f"the hook {name} cannot be found: {error}") from error
    except Exception as error:
        raise StartupError(f"the module of the hook {name} fails: {error!r}") from error
    if not inspect.iscoroutinefunction(found):
        raise StartupError(f"the hook {name} is no async function")
    return found
