"""A disk that loses power: an SQLite VFS in memory which knows what was synced and what was not.

Registered as SQLite's default VFS it serves every connection of the process, `sqlite3`'s included, because
both share the system's SQLite library. What a power cut leaves: all that was synced, and of each later
write all, nothing, or any of its 512-byte sectors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import apsw

SECTOR = 512
POWERSAFE_OVERWRITE = 0x1000  # as SQLite's own VFS for Unix says: a torn write harms no byte beside it


class PowerCutError(Exception):
    """The power is gone."""


@dataclass
class Content:
    """One file: what is on the platter, what programs see, and the writes between the two."""

    platter: bytearray = field(default_factory=bytearray)
    seen: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def left(self, chance: random.Random) -> bytes:
        """What a power cut now leaves of the file."""
        image = bytearray(self.platter)
        for at, data in self.unsynced:
            fate = chance.choice(("whole", "lost", "torn"))
            if fate == "lost":
                continue
            if data is None:
                del image[at:]
                continue
            for start in range(0, len(data), SECTOR):
                if fate == "whole" or chance.random() < 0.5:
                    put(image, at + start, data[start : start + SECTOR])
        return bytes(image)


def put(image: bytearray, at: int, data: bytes) -> None:
    """Write into a file's image, growing it with zeros."""
    image.extend(bytes(max(0, at + len(data) - len(image))))
    image[at : at + len(data)] = data


class Disk:
    """All files of one run; the power fails at the `cut_at`-th write or sync."""

    def __init__(self, files: dict[str, bytes], cut_at: int, seed: int) -> None:
        self.files = {name: Content(bytearray(data), bytearray(data)) for name, data in files.items()}
        self.steps = 0
        self.dead = False
        self.left: dict[str, bytes] = {}
        self._cut_at = cut_at
        self._chance = random.Random(seed)

    def step(self) -> None:
        """Count a write or sync; at the chosen one the power fails, and the disk is dead from then on."""
        self.alive()
        self.steps += 1
        if self.steps == self._cut_at:
            self.cut()
            raise PowerCutError

    def cut(self) -> None:
        """Lose power now."""
        self.dead = True
        self.left = {name: content.left(self._chance) for name, content in self.files.items()}

    def alive(self) -> None:
        """Raise PowerCutError once the power is gone."""
        if self.dead:
            raise PowerCutError


class File:
    """An open file, as SQLite's VFS interface wants it."""

    def __init__(self, disk: Disk, content: Content) -> None:
        self._disk = disk
        self._content = content

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - the interface's names, here and below
        self._disk.alive()
        return bytes(self._content.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.alive()
        self._content.unsynced.append((offset, bytes(data)))
        self._disk.step()
        put(self._content.seen, offset, data)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.alive()
        self._content.unsynced.append((size, None))
        self._disk.step()
        del self._content.seen[size:]

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._disk.step()
        self._content.platter[:] = self._content.seen
        self._content.unsynced.clear()

    def xFileSize(self) -> int:  # noqa: N802
        self._disk.alive()
        return len(self._content.seen)

    def xLock(self, _level: int) -> None:  # noqa: N802
        """One process, one connection that writes: nothing to lock."""

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        """As above."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return POWERSAFE_OVERWRITE

    def xClose(self) -> None:  # noqa: N802
        """Nothing to give back."""

    def excepthook(self, *_: Any) -> None:
        """SQLite gets an error code; the exception itself is expected."""


class CrashVFS(apsw.VFS):
    """SQLite's default VFS from here on; `insert` a disk before opening a database."""

    def __init__(self) -> None:
        super().__init__("crash", "", makedefault=True)
        self._disk = Disk({}, 0, 0)

    def insert(self, disk: Disk) -> None:
        """Use this disk for all files that are opened from now on."""
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        self._disk.alive()
        flags[1] = flags[0]
        return File(self._disk, self._disk.files.setdefault(_text(name), Content()))

    def xAccess(self, name: Any, _flags: int) -> bool:  # noqa: N802
        return _text(name) in self._disk.files

    def xDelete(self, name: Any, _sync: bool) -> None:  # noqa: N802
        self._disk.step()
        self._disk.files.pop(_text(name), None)

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def excepthook(self, *_: Any) -> None:
        """As for a file."""


def _text(name: Any) -> str:
    return str(name.filename() if hasattr(name, "filename") else name)
