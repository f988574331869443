"""Market contexts are URIs: one form of each, for comparison (RFC 3986 section 6.2, GEN-13)."""

import re
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@lru_cache(maxsize=1024)
def normal(text: str) -> str:
    """The URI with scheme and host in lower case, `%7E` as `~`, without dot segments and default port.

    What is no URI stays as it is but for white space around it; nothing that a peer sends makes this raise.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    scheme = parts.scheme.lower()
    user, at, host = parts.netloc.rpartition("@")
    netloc = user + at + host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))
    path = _escapes(parts.path)
    if parts.netloc:
        path = _without_dots(path)
    return urlunsplit((scheme, netloc, path, _escapes(parts.query), _escapes(parts.fragment)))


def _escapes(text: str) -> str:
    """Letters, digits and `-._~` in plain, other escapes in upper case: `%2f` is no `/`."""

    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(plain, text)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", "..") and kept:
        kept.append("")
    return "/" + "/".join(kept)
