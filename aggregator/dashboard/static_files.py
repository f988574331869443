"""The files that pages load: read once at the start, compressed once, and served under a name that holds
their hash, so that browsers keep them for ever and never show an old one.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web

from aggregator.access.permission import Permission
from aggregator.dashboard import assets
from aggregator.dashboard.page import Page, Visit
from vtn.errors import StartupError

HERE = Path(__file__).parent / "static"
PREFIX = "/static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".woff2": "font/woff2",
    ".LICENSE": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_WORTH_IT = 400  # bytes; smaller ones fit one packet anyway


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes | None
    kind: str
    etag: str


class StaticFiles:
    """All of them in memory: a few hundred kB. One revision names all, so that files may import each other
    by relative names.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name: _file(name, content) for name, content in sorted(files.items())}
        marks = "".join(f"{name} {file.etag}\n" for name, file in self._files.items())
        self.revision = hashlib.sha256(marks.encode()).hexdigest()[:16]

    @classmethod
    def load(cls) -> StaticFiles:
        """Our own and the third-party files; StartupError says what to run if those are missing."""
        if not assets.complete():
            raise StartupError(
                f"the dashboard's third-party files are missing or of another version: run {assets.COMMAND}"
            )
        return cls(
            {
                str(path.relative_to(HERE)): path.read_bytes()
                for path in HERE.rglob("*")
                if path.is_file() and path.suffix in _TYPES
            }
        )

    def url(self, name: str) -> str:
        """The path of a file; KeyError if there is none of this name."""
        if name not in self._files:
            raise KeyError(f"there is no static file {name}")
        return f"{PREFIX}/{self.revision}/{name}"

    def pages(self) -> tuple[Page, ...]:
        """Where they are served, to anybody: the sign-in page needs them too."""
        return (
            Page(
                method=hdrs.METH_GET,
                path=f"{PREFIX}/{{revision}}/{{name:.+}}",
                name="static file",
                permission=Permission.ANYBODY,
                handle=self._serve,
            ),
        )

    async def _serve(self, visit: Visit) -> web.StreamResponse:
        request = visit.request
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound(text="There is no such file.")
        current = request.match_info["revision"] == self.revision
        headers = {
            hdrs.CONTENT_TYPE: file.kind,
            hdrs.ETAG: f'"{file.etag}"',
            # a page from before an update asks for the old name: it gets today's file, and asks again
            hdrs.CACHE_CONTROL: _FOR_EVER if current else "no-cache",
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
        }
        if any(tag.value in {file.etag, "*"} for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if file.packed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            return web.Response(body=file.packed, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
        return web.Response(body=file.content, headers=headers)


def _file(name: str, content: bytes) -> _File:
    packed = gzip.compress(content, 9, mtime=0) if len(content) > _WORTH_IT else None
    etag = hashlib.sha256(content).hexdigest()[:24]
    return _File(content, packed, _TYPES[Path(name).suffix], etag)
