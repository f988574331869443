"""Where a follower gets a log's checkpoints: a folder of receipts, or an address that serves C2SP
`tlog-tiles` (the aggregator's, or a witness's, which has no tiles).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from ledger import tile
from ledger.checkpoint import Checkpoint
from ledger.consistency import read_head
from ledger.errors import LedgerError
from ledger.evidence_folder import EvidenceFolder
from ledger.merkle import HASH_BYTES, consistency_ranges, range_hash
from ledger.receipt import MAX_FILE_BYTES, PROOF
from ledger.verify import read_evidence

SUFFIXES = (".receipt.txt", ".tlog-proof", ".checkpoint")
MAX_TILES = 1024
"""Full tiles that are remembered, 8 kB each; they never change."""
MAX_BYTES = max(MAX_FILE_BYTES, tile.WIDTH * HASH_BYTES)


class SourceError(LedgerError):
    """The checkpoints cannot be read now; nothing is known of the log."""


@dataclass(frozen=True, slots=True)
class FoundHead:
    """A checkpoint, whence it came, and whether it came in a receipt, which says that the chain holds it."""

    checkpoint: Checkpoint
    place: str
    anchored: bool = False


class HeadSource(Protocol):
    """Gives checkpoints. `live`: each time the log's newest, so that they never get older."""

    live: bool

    async def heads(self) -> list[FoundHead]:
        """What is there now; SourceError, or VerificationError if it is no checkpoint."""
        ...

    async def path(self, old: int, new: int, size: int) -> Sequence[bytes] | None:
        """The consistency path between two sizes of a log that has `size` leaves; None if nobody tells."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class FolderSource:
    """Receipts and checkpoints in a folder, or the checkpoints of an export of the log."""

    live = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def heads(self) -> list[FoundHead]:
        """Those in files that end as receipts or checkpoints do, and all of an export; SourceError if there
        is none, so that a wrong folder is not taken for a log.
        """
        if not self._folder.is_dir():
            raise SourceError(f"{self._folder} is no folder")
        export = EvidenceFolder(self._folder)
        places = [path for path in sorted(self._folder.iterdir()) if path.name.endswith(SUFFIXES)]
        places += [export.checkpoint_file(size) for size in export.checkpoint_sizes()]
        if not places:
            raise SourceError(f"{self._folder} holds neither receipts nor checkpoints nor an export")
        return [_found(path) for path in places]

    async def path(self, _old: int, _new: int, _size: int) -> None:
        """Files hold no other hashes of the tree."""
        return

    async def close(self) -> None:
        """Nothing is open."""


def _found(path: Path) -> FoundHead:
    raw = read_evidence("receipt", path, MAX_FILE_BYTES)
    return FoundHead(read_head(raw), path.name, raw.startswith(PROOF.encode()))


class UrlSource:
    """The newest checkpoint and the tiles below an address."""

    live = True

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None
        self._full: dict[tile.Place, bytes] = {}

    async def heads(self) -> list[FoundHead]:
        """The newest; none if the log has none yet."""
        raw = await self._get("checkpoint")
        return [] if raw is None else [FoundHead(read_head(raw), f"{self._url}/checkpoint")]

    async def path(self, old: int, new: int, size: int) -> Sequence[bytes] | None:
        """From tiles, which nobody needs to believe: the path is checked against both roots."""
        spans = consistency_ranges(old, new)
        tiles = {}
        for place in tile.places(spans):
            level, index = place
            width = min((size >> tile.HEIGHT * level) - index * tile.WIDTH, tile.WIDTH)
            raw = self._full.get(place) or await self._get(tile_path(level, index, width))
            if raw is None:
                return None
            if len(raw) != width * HASH_BYTES:
                raise SourceError(
                    f"{self._url}: tile {level}/{index} has {len(raw)} bytes, not those of {width}"
                )
            if width == tile.WIDTH:
                if len(self._full) >= MAX_TILES:
                    self._full.clear()
                self._full[place] = raw
            tiles[place] = raw
        return [range_hash(span, lambda subtree: tile.subtree_hash(subtree, tiles)) for span in spans]

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _get(self, path: str) -> bytes | None:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._http.get(f"{self._url}/{path}", allow_redirects=False) as answer:
                raw = b""
                while len(raw) <= MAX_BYTES and (more := await answer.content.readany()):
                    raw += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SourceError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise SourceError(f"{self._url}/{path} answers {answer.status}")
        return raw


def tile_path(level: int, index: int, width: int) -> str:
    """The path of a tile as C2SP writes it: `tile/0/x001/234`, with `.p/WIDTH` if it is not full."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    part = "" if width == tile.WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{part}"
