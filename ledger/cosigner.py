"""Asks one witness to cosign the log's checkpoints, each in its turn, by C2SP `tlog-witness`.

A witness that does not answer, or does not cosign, holds up nobody: `step` says so in its state and goes on
from there at the next call. What the witness has cosigned is asked of it after each start; a new one begins
with the newest checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import aiohttp

from ledger import cosignature_store, store
from ledger.checkpoint import Checkpoint, Cosignature, VerifierKey, parse_count
from ledger.errors import LedgerError, MalformedError, VerificationError
from ledger.log import Log
from ledger.witness import request_text

if TYPE_CHECKING:
    from ledger.anchor import Database

MAX_TURNS = 1000
"""Checkpoints that one step asks for; the next goes on."""
MAX_ANSWER_BYTES = 16 * 1024


class CosignStatus(StrEnum):
    """How it stands with one witness."""

    IDLE = "idle"
    """All checkpoints since it came are cosigned."""
    BUSY = "busy"
    """There are more."""
    DOWN = "down"
    """It does not answer."""
    REFUSED = "refused"
    """It does not cosign; a person must look: the text says at what."""


@dataclass(frozen=True, slots=True)
class CosignState:
    """How it stands; `size` is that of the newest checkpoint that it cosigned, None if it is not known."""

    status: CosignStatus
    text: str
    size: int | None


class _DownError(LedgerError):
    """The witness does not answer as one."""


class _RefusedError(LedgerError):
    """The witness does not cosign."""


class Cosigner:
    """Brings checkpoints to one witness. Call `step` from one task, as often as you like; `close` it."""

    def __init__(self, url: str, key: VerifierKey, log: Log, timeout_s: float) -> None:
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._key = key
        self._log = log
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None
        self._size: int | None = None

    @property
    def name(self) -> str:
        """The witness's name."""
        return self._key.name

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def step(self, db: Database, now: datetime) -> CosignState:
        """Ask for all that is missing. Never raises for what a witness or a network does."""
        status, said = CosignStatus.BUSY, "there are more checkpoints to cosign"
        try:
            for _ in range(MAX_TURNS):
                if not await self._turn(db, now):
                    status, said = CosignStatus.IDLE, "every checkpoint is cosigned"
                    break
        except _DownError as error:
            status, said = CosignStatus.DOWN, str(error)
        except LedgerError as error:
            status, said = CosignStatus.REFUSED, str(error)
            self._size = None  # it is asked anew
        return CosignState(status, said, self._size)

    async def _turn(self, db: Database, now: datetime) -> bool:
        """Ask once; False if there is nothing to ask for."""
        old, path = self._size or 0, []
        async with db.read() as conn:
            if self._size is None:
                wanted = await store.newest_checkpoint(conn)
            else:
                wanted = await cosignature_store.next_uncosigned(conn, self._size, str(self._key))
            if wanted is None:
                return False
            if 0 < old < wanted.size:
                path = await self._log.consistency(conn, old, wanted.size)
            held = await store.log_size(conn)
        made = await self._ask(old, request_text(old, path, wanted.text()), wanted, held)
        if made is not None:
            async with db.write() as conn:
                await cosignature_store.add(conn, wanted.size, str(self._key), made, now)
            self._size = wanted.size
        return True

    async def _ask(self, old: int, body: str, wanted: Checkpoint, held: int) -> Cosignature | None:
        """The witness's line; None if it only told up to where it has cosigned."""
        status, text = await self._post(body)
        if status == 409 and (size := self._told(text, held)) != (self._size or -1):
            self._size = size
            return None
        if status >= 500:
            raise _DownError(f"{self.name} answers {status}: {text[:200].strip()}")
        if status != 200:
            raise _RefusedError(
                f"{self.name} does not cosign {wanted.size} leaves after {old}, it answers {status}:"
                f" {text[:200].strip()}"
            )
        for line in text.splitlines():
            try:
                made = Cosignature.parse(line)
            except MalformedError:
                continue  # as C2SP asks: lines of other kinds and keys are ignored
            if (made.name, made.key_id) == (self._key.name, self._key.id):
                made.verify(wanted, self._key)
                return made
        raise VerificationError("witness", f"the answer of {self.name} holds no line of {self._key}")

    def _told(self, text: str, held: int) -> int:
        """Up to where it has cosigned."""
        size = parse_count("witness", text.removesuffix("\n"))
        if size > held:
            raise _RefusedError(
                f"{self.name} has cosigned {size} leaves, and this log has {held}: this database is older"
                " than what was published"
            )
        return size

    async def _post(self, body: str) -> tuple[int, str]:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._http.post(self._url, data=body.encode(), allow_redirects=False) as answer:
                raw = b""
                while len(raw) <= MAX_ANSWER_BYTES and (more := await answer.content.readany()):
                    raw += more
                return answer.status, raw.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _DownError(f"{self.name} does not answer: {error or type(error).__name__}") from error
