"""Texts as one zip file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime


def zipped(files: Mapping[str, str], now: datetime) -> bytes:
    """The files by name, all of the same time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            add(archive, name, content.encode(), now)
    return packed.getvalue()


def add(archive: zipfile.ZipFile, name: str, content: bytes, now: datetime) -> None:
    """Put one more file in, which anybody on the reader's machine may read."""
    entry = zipfile.ZipInfo(name, now.astimezone(UTC).timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
