"""Backups: a consistent copy of a database that may be in use, with a manifest, in one file.

The file is a tar archive of mode 0600: `manifest.json`, `aggregator.sqlite`, `erasures.txt` where subjects
were erased (`ledger.tombstone`), and below `keys/` the settings and the secrets that they name, if asked for.
The copy is one view of the database, written anew, so nothing that was deleted lies in free pages of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from aggregator.errors import BackupError
from aggregator.settings import AggregatorSettings
from ledger import offline, tombstone
from ledger.errors import LedgerError

FORMAT = "flexpact-backup/v1"
MANIFEST, DATABASE, ERASURES, KEYS = "manifest.json", "aggregator.sqlite", "erasures.txt", "keys/"
CHUNK = 1 << 20
OPERATIONS = 1000
"""Steps of the database between two looks at how far it is."""

Tell = Callable[[str, int, int], None]
"""Told now and then: what is being done, how many bytes are done, of how many."""


class KeptFile(BaseModel):
    """A file of a backup: where it came from, and by what it is known again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(ge=0, description="its length")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="its SHA-256")
    path: str = Field(default="", description="of settings and secrets: their place, below the settings' own")


class Manifest(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(pattern=f"^{FORMAT}$", description="the format of the backup")
    version: str = Field(max_length=64, description="the version of flexpact that made it")
    schema_revision: str = Field(max_length=64, description="the revision of the database's schema")
    made_at: datetime = Field(description="when it was made")
    origin: str = Field(max_length=128, description="the name of the log")
    log_size: int = Field(ge=0, description="leaves of the log")
    checkpoint: str | None = Field(default=None, description="the newest checkpoint of the log, signed")
    files: dict[str, KeptFile] = Field(description="what lies beside this manifest")

    def lines(self) -> list[str]:
        """The same for a person."""
        signed = self.checkpoint.split("\n")[1] if self.checkpoint else "0"
        made = self.made_at.isoformat(timespec="seconds")
        secrets = sum(name.startswith(KEYS) for name in self.files)
        return [
            f"made at {made} by flexpact {self.version}, schema {self.schema_revision}",
            f"log {self.origin}: {self.log_size} leaves, {signed} of them signed",
            f"database: {self.files[DATABASE].bytes} bytes, SHA-256 {self.files[DATABASE].sha256}",
            f"settings and keys: {f'{secrets} files, guard it as you guard these' if secrets else 'none'}",
        ]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The settings' own file and the secrets that it names, for a backup that shall hold them."""

    config: Path
    files: tuple[Path, ...]

    @classmethod
    def of(cls, config: Path, settings: AggregatorSettings) -> Secrets:
        """Every file that the settings name and that is there, and the key that seals in the database."""
        all_named = {*_paths(settings), settings.sealing_key}
        named = sorted({path for path in all_named if path.is_file()} - {settings.database})
        return cls(config, (config, *named))

    def name(self, path: Path) -> str:
        """A file's place below the settings' folder, or its whole path where it lies elsewhere."""
        whole, folder = path.resolve(), self.config.parent.resolve()
        return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def make(
    settings: AggregatorSettings,
    out: Path,
    *,
    version: str,
    now: datetime,
    secrets: Secrets | None = None,
    tell: Tell = lambda *_: None,
) -> Manifest:
    """Write a backup of the database to a new file; what stands in its manifest.

    BackupError if there is such a file, if there is no database, or if the copy does not check.
    """
    if not settings.database.is_file():
        raise BackupError(f"there is no database {settings.database}")
    if out.exists():
        raise BackupError(f"{out} exists already; a backup is never overwritten")
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        copy = Path(folder) / DATABASE
        _copy(settings.database, copy, tell)
        check_integrity(copy)
        # After the copy: what was erased meanwhile is erased again when this is put back.
        listed = tombstone.path_beside(settings.database)
        files = {DATABASE: copy}
        if listed.exists():
            files[ERASURES] = listed
        for number, file in enumerate(secrets.files if secrets else ()):
            files[f"{KEYS}{number}"] = file
        kept = {name: _kept(file, name, secrets) for name, file in files.items()}
        manifest = _manifest(copy, settings.log.origin, kept, version, now)
        draft = Path(folder) / "draft"
        _pack(draft, manifest, files, tell)
        _give_name(draft, out)
    sync(out.parent)
    return manifest


def _give_name(draft: Path, out: Path) -> None:
    """A rename, but never over a file."""
    try:
        os.link(draft, out)
    except FileExistsError as error:
        raise BackupError(f"{out} exists already; a backup is never overwritten") from error
    except OSError:  # sticks and shares have no links
        draft.rename(out)


def _copy(database: Path, copy: Path, tell: Tell) -> None:
    """One view of the database in a new file; who writes meanwhile waits for nothing."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        (pages,) = conn.execute("PRAGMA page_count").fetchone()
        (page,) = conn.execute("PRAGMA page_size").fetchone()

        def look() -> int:
            tell("copied", copy.stat().st_size if copy.exists() else 0, pages * page)
            return 0

        conn.set_progress_handler(look, OPERATIONS)
        try:
            conn.execute("VACUUM INTO ?", (str(copy),))
        except sqlite3.DatabaseError as error:
            raise BackupError(f"{database} cannot be copied: {error}") from error


def check_integrity(database: Path) -> None:
    """Nothing if SQLite finds no fault in the file, else BackupError."""
    try:
        with closing(sqlite3.connect(database, isolation_level=None)) as conn:
            found = [str(row[0]) for row in conn.execute("PRAGMA integrity_check(1)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise BackupError(f"the database is damaged: {found[0] if found else 'nothing was checked'}")


def _manifest(copy: Path, origin: str, files: dict[str, KeptFile], version: str, now: datetime) -> Manifest:
    try:
        with offline.reading(copy) as conn:
            (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            newest = conn.execute("SELECT note FROM ledger_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
            size = offline.log_size(conn)
    except (sqlite3.DatabaseError, LedgerError) as error:
        raise BackupError(f"this is no database of an aggregator: {error}") from error
    return Manifest(
        format=FORMAT,
        version=version,
        schema_revision=revision,
        made_at=now,
        origin=str(newest[0]).partition("\n")[0] if newest else origin,
        log_size=size,
        checkpoint=str(newest[0]) if newest else None,
        files=files,
    )


def _kept(file: Path, name: str, secrets: Secrets | None) -> KeptFile:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
    place = secrets.name(file) if secrets is not None and name.startswith(KEYS) else ""
    return KeptFile(bytes=file.stat().st_size, sha256=digest.hexdigest(), path=place)


def _pack(out: Path, manifest: Manifest, files: dict[str, Path], tell: Tell) -> None:
    total = sum(kept.bytes for kept in manifest.files.values())
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    done = 0
    with _new_file(out) as raw:
        with tarfile.open(fileobj=raw, mode="w") as archive:
            archive.addfile(_member(MANIFEST, len(text), manifest), io.BytesIO(text))
            for name, file in files.items():
                kept = manifest.files[name]
                with file.open("rb") as content:
                    archive.addfile(_member(name, kept.bytes, manifest), content)
                done += kept.bytes
                tell("packed", done, total)
        raw.flush()
        os.fsync(raw.fileno())


def _new_file(path: Path) -> BinaryIO:
    """A new file for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _member(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(manifest.made_at.timestamp())
    return info


def _paths(value: Any) -> Iterator[Path]:
    """Every path in settings, however deep."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _paths(item)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """A backup's manifest and its archive; BackupError if it is none, or not wholly there."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            yield _read_manifest(path, archive), archive
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror or error}") from error
    except tarfile.TarError as error:
        raise BackupError(f"{path} is no backup, or a part of one: {error}") from error


def _read_manifest(path: Path, archive: tarfile.TarFile) -> Manifest:
    members = {member.name: member for member in archive.getmembers()}
    if MANIFEST not in members or members[MANIFEST].size > CHUNK:
        raise BackupError(f"{path} is no backup: it holds no {MANIFEST}")
    content = archive.extractfile(members.pop(MANIFEST))
    try:
        manifest = Manifest.model_validate_json(content.read() if content else b"")
    except ValueError as error:
        first = error.errors()[0] if hasattr(error, "errors") else {"loc": ("file",), "msg": str(error)}
        where = ".".join(map(str, first["loc"])) or "file"
        raise BackupError(f"{path}: {MANIFEST}: {where}: {first['msg']}") from error
    said = {name: kept.bytes for name, kept in manifest.files.items()}
    found = {name: member.size for name, member in members.items() if member.isreg()}
    if DATABASE not in said or found != said or len(found) != len(members):
        raise BackupError(f"{path} does not hold what its manifest says")
    return manifest


def extract(archive: tarfile.TarFile, manifest: Manifest, name: str, to: Path, tell: Tell) -> None:
    """Write one of the files to a new one of mode 0600; BackupError if it is not what the manifest says."""
    kept, content, done = manifest.files[name], archive.extractfile(name), 0
    if content is None:
        raise BackupError(f"{name} is no file in the backup")
    digest = hashlib.sha256()
    with _new_file(to) as file:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            done += len(chunk)
            tell("unpacked", done, kept.bytes)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != kept.sha256:
        raise BackupError(
            f"{name} in the backup is damaged: its SHA-256 is {digest.hexdigest()}, not {kept.sha256}"
        )


def unpack_secrets(path: Path, out: Path) -> list[str]:
    """Write settings and secrets of a backup below a new folder; a line for each, which says where one that
    did not lie below the settings belongs. BackupError if there are none.
    """
    with opened(path) as (manifest, archive):
        names = [name for name in manifest.files if name.startswith(KEYS)]
        if not names:
            raise BackupError(f"{path} holds no keys: it was made without --with-keys")
        out.mkdir(mode=0o700)
        lines = []
        for name in sorted(names):
            place = PurePosixPath(manifest.files[name].path)
            inside = not place.is_absolute() and ".." not in place.parts
            to = out / place if inside else out / f"{name.removeprefix(KEYS)}-{place.name}"
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            extract(archive, manifest, name, to, lambda *_: None)
            lines.append(str(to) if inside else f"{to} belongs to {place}")
        return lines


def sync(folder: Path) -> None:
    """Make what was renamed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
