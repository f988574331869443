"""Files that hold a secret: made new, readable by their owner only, never overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from ledger.errors import KeyFileError

MAX_BYTES = 4096


def write_secret(path: Path, text: str) -> None:
    """Write one line of secret text to a new file of mode 0600; KeyFileError if the file exists or cannot
    be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already; a key file is never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path) -> str:
    """The one line of a secret file; KeyFileError if it is absent, readable by others, or not one line of
    text.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise KeyFileError(f"{path} can be read by others; make it mode 0600")
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} does not hold text") from error
    line = text.removesuffix("\n")
    if not line or "\n" in line or len(raw) > MAX_BYTES:
        raise KeyFileError(f"{path} does not hold exactly one key")
    return line
