"""Leap seconds on the wire: `23:59:60` is a time that the standard's type allows and XML Schema does not."""

import re
from datetime import datetime, timedelta

_LEAP = re.compile(rb"(?<=>)(\s*\d{4}-\d\d-\d\dT\d\d:\d\d):60(?:\.\d*)?(?=Z?\s*<)")
_OF_TIME = re.compile(rb"<[^\s<>/]*(?:date-time|DateTime)(?:\s[^<>]*)?>")
_LONGEST_TAG = 256


def without_leap_seconds(raw: bytes) -> bytes:
    """The same document with the start of the next minute in place of each leap second.

    Without it a message in which one event begins at a leap second would be refused as a whole.
    """
    return _LEAP.sub(_next_minute, raw) if b":60" in raw else raw


def _next_minute(found: re.Match[bytes]) -> bytes:
    tag_at = found.string.rfind(b"<", max(0, found.start() - _LONGEST_TAG), found.start())
    if tag_at < 0 or not _OF_TIME.fullmatch(found.string, tag_at, found.start()):
        return found[0]  # a name that looks like a time stays a name
    try:
        minute = datetime.fromisoformat(found[1].decode().strip())
        return (minute + timedelta(minutes=1)).isoformat().encode()
    except (ValueError, OverflowError):  # no such day: the schema says so
        return found[0]
