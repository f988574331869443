"""The costliest bodies that the limits let in, each as large as its kind can be (GOALS 12).

Everything is as a VEN with the metadata of `tests.vtn.desk` may send it. `turn` makes each one new, so that
nothing of an earlier one is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from openadr.codec import payload_element
from openadr.parser import DEFAULT_LIMITS, count_nodes, parse
from openadr.wire import NAMESPACES
from tests.vtn.desk import NOW, USAGE

NAMES = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
CREATED = "<ei:createdDateTime>2026-03-02T{:02}:00:00Z</ei:createdDateTime>"
MINUTE = timedelta(minutes=1)
Make = Callable[[str, int, int], bytes]


@dataclass(frozen=True, slots=True)
class Kind:
    """Bodies of one shape: `make(ven_id, count, turn)` for a service."""

    make: Make
    service: str = "EiReport"
    alike: bool = False
    """Whether its intervals are read by their example, of which more are let in."""

    def largest(self, ven_id: str, turn: int) -> bytes:
        """The one with as many parts as the limits allow."""
        return self.make(ven_id, self.most(ven_id, turn), turn)

    def most(self, ven_id: str, turn: int) -> int:
        """How many parts the limits allow: size, elements and intervals grow evenly with them."""
        small, more = (self._measure(self.make(ven_id, count, turn)) for count in (10, 20))
        allowed = self._limits(self.make(ven_id, 10, turn))
        each = [(b - a) / 10 for a, b in zip(small, more, strict=True)]
        counts = [
            10 + (limit - a) / step for limit, a, step in zip(allowed, small, each, strict=True) if step > 0
        ]
        return int(min(counts))

    def _measure(self, raw: bytes) -> tuple[int, int, int, int]:
        """Bytes, nodes with the weight of parts, nodes of metadata, intervals."""
        root = parse(raw)
        payload = payload_element(root)
        parts = sum(1 for _ in payload.iterchildren("{*}oadrReport", "{*}oadrReportRequest"))
        extra = parts * DEFAULT_LIMITS.part_nodes if parts > 1 else 0
        # of intervals that are alike the signs are counted, and so are declarations of namespaces
        nodes = _signs(raw) if self.alike else count_nodes(root)
        metadata = nodes if b"oadrRegisterReport" in raw else 0
        return len(raw), nodes + extra, metadata, sum(1 for _ in root.iter("{*}interval"))

    def _limits(self, raw: bytes) -> tuple[int, int, int, int]:
        limits = DEFAULT_LIMITS
        large = b"oadrUpdateReport" in raw or b"oadrRegisterReport" in raw
        return (
            limits.max_report_bytes if large else limits.max_bytes,
            limits.max_alike_nodes if self.alike else limits.max_nodes,
            limits.max_metadata_nodes,
            limits.max_intervals,
        )


def _signs(raw: bytes) -> int:
    return raw.count(b"<") - raw.count(b"</") + raw.count(b"=")


def _body(name: str, inner: str) -> bytes:
    return (
        f"<oadr:oadrPayload {NAMES}><oadr:oadrSignedObject>"
        f'<oadr:{name} ei:schemaVersion="2.0b">{inner}</oadr:{name}>'
        "</oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


def _value(r_id: str, number: object) -> str:
    return (
        f"<oadr:oadrReportPayload><ei:rID>{r_id}</ei:rID>"
        f"<ei:payloadFloat><ei:value>{number}</ei:value></ei:payloadFloat></oadr:oadrReportPayload>"
    )


def _interval(number: int, values: str) -> str:
    start = (NOW - (number + 1) * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<ei:interval><xcal:dtstart><xcal:date-time>{start}</xcal:date-time></xcal:dtstart>"
        f"<xcal:duration><xcal:duration>PT1M</xcal:duration></xcal:duration>{values}</ei:interval>"
    )


def _report(intervals: str, turn: int) -> str:
    return (
        "<oadr:oadrReport><xcal:dtstart><xcal:date-time>2026-03-01T00:00:00Z</xcal:date-time></xcal:dtstart>"
        f"<strm:intervals>{intervals}</strm:intervals>"
        f"<ei:reportRequestID>ask-{USAGE}</ei:reportRequestID>"
        f"<ei:reportSpecifierID>spec-{USAGE}</ei:reportSpecifierID>"
        f"<ei:reportName>{USAGE}</ei:reportName>{CREATED.format(turn)}</oadr:oadrReport>"
    )


def _update(ven_id: str, reports: str) -> bytes:
    return _body(
        "oadrUpdateReport", f"<pyld:requestID>u</pyld:requestID>{reports}<ei:venID>{ven_id}</ei:venID>"
    )


def day(ven_id: str, points: int, turn: int) -> bytes:
    """A legitimate day: 96 quarter hours of so many values."""
    values = "".join(_value(("load", "home-01")[n % 2], turn + n) for n in range(points))
    return _update(ven_id, _report("".join(_interval(n, values) for n in range(96)), turn))


def _alike(ven_id: str, count: int, turn: int) -> bytes:
    """Values in an interval each: every one becomes a row."""
    return _update(
        ven_id, _report("".join(_interval(n, _value("load", turn + n)) for n in range(count)), turn)
    )


def _alike_pairs(ven_id: str, count: int, turn: int) -> bytes:
    """Two values in each interval: the most rows."""
    both = [_value("load", turn) + _value("home-01", turn)] * count
    return _update(ven_id, _report("".join(_interval(n, v) for n, v in enumerate(both)), turn))


def _intervals(ven_id: str, count: int, turn: int) -> bytes:
    """The same but for the last interval, so that nothing is won by their being alike."""
    return _with_another_last(_alike(ven_id, count, turn))


def _pairs(ven_id: str, count: int, turn: int) -> bytes:
    """Two values in each of such intervals."""
    return _with_another_last(_alike_pairs(ven_id, count, turn))


def _with_another_last(raw: bytes) -> bytes:
    return b"PT60S".join(raw.rsplit(b"PT1M", 1))


def _not_numbers(ven_id: str, count: int, turn: int) -> bytes:
    """The most values: all of one interval, none of them a number."""
    return _update(ven_id, _report(_interval(turn, _value("load", "NaN") * count), turn))


def _unknown_points(ven_id: str, count: int, turn: int) -> bytes:
    """The same with points that were never asked for, under names as long as fits."""
    values = "".join(_value(f"{n:06}{turn}" + "-&amp;-" * 20, n) for n in range(count))
    return _update(ven_id, _report(_interval(turn, values), turn))


def _small_reports(ven_id: str, count: int, turn: int) -> bytes:
    """The most reports: each a journal fact."""
    return _update(
        ven_id, "".join(_report(_interval(n, _value("load", turn)), turn) for n in range(max(count, 2)))
    )


def _large_reports(ven_id: str, count: int, turn: int) -> bytes:
    """Ten reports that are as large as fits together."""
    values = [_value("load", turn + n) for n in range(count)]
    return _update(
        ven_id,
        "".join(
            _report("".join(_interval(count * k + n, v) for n, v in enumerate(values)), turn)
            for k in range(10)
        ),
    )


def _feed(ven_id: str, count: int, turn: int) -> bytes:
    """A foreign tree: Green Button, with as many attributes as elements."""
    link = '<a:link href="u" rel="r"/>'
    feed = (
        '<oadr:oadrGBPayload><a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:id>urn:x</a:id>'
        f"{link * count}</a:feed></oadr:oadrGBPayload>"
    )
    return _update(ven_id, _report(_interval(turn, feed), turn))


def _metadata(ven_id: str, reports: int, points: int, turn: int) -> bytes:
    described = "".join(
        f"<oadr:oadrReportDescription><ei:rID>r{n:05}</ei:rID><ei:reportType>usage</ei:reportType>"
        "<ei:readingType>Direct Read</ei:readingType></oadr:oadrReportDescription>"
        for n in range(points)
    )
    made = "".join(
        f"<oadr:oadrReport><xcal:duration><xcal:duration>PT1H</xcal:duration></xcal:duration>{described}"
        f"<ei:reportRequestID>0</ei:reportRequestID><ei:reportSpecifierID>s{n:05}</ei:reportSpecifierID>"
        f"<ei:reportName>x-LOAD</ei:reportName>{CREATED.format(turn)}</oadr:oadrReport>"
        for n in range(reports)
    )
    return _body(
        "oadrRegisterReport", f"<pyld:requestID>{turn}</pyld:requestID>{made}<ei:venID>{ven_id}</ei:venID>"
    )


def _many_points(ven_id: str, count: int, turn: int) -> bytes:
    """Metadata of one report with the most data points."""
    return _metadata(ven_id, 1, count, turn)


def _many_metadata(ven_id: str, count: int, turn: int) -> bytes:
    """Metadata of the most reports."""
    return _metadata(ven_id, max(count, 2), 1, turn)


def _answers(ven_id: str, count: int, turn: int) -> bytes:
    """The most answers, every other one to the event that there is."""
    made = "".join(
        "<ei:eventResponse><ei:responseCode>200</ei:responseCode><pyld:requestID>d</pyld:requestID>"
        f"<ei:qualifiedEventID><ei:eventID>{'e1' if n % 2 else f'{n:06}'}</ei:eventID>"
        "<ei:modificationNumber>0</ei:modificationNumber></ei:qualifiedEventID>"
        f"<ei:optType>{('optIn', 'optOut')[turn % 2]}</ei:optType></ei:eventResponse>"
        for n in range(count)
    )
    return _body(
        "oadrCreatedEvent",
        "<pyld:eiCreatedEvent><ei:eiResponse><ei:responseCode>200</ei:responseCode><pyld:requestID/>"
        f"</ei:eiResponse><ei:eventResponses>{made}</ei:eventResponses><ei:venID>{ven_id}</ei:venID>"
        "</pyld:eiCreatedEvent>",
    )


def _requests(ven_id: str, count: int, turn: int) -> bytes:
    """The most report requests, all for our metadata."""
    made = "".join(
        f"<oadr:oadrReportRequest><ei:reportRequestID>q{turn}-{n:05}</ei:reportRequestID><ei:reportSpecifier>"
        "<ei:reportSpecifierID>METADATA</ei:reportSpecifierID>"
        "<xcal:granularity><xcal:duration>PT0S</xcal:duration></xcal:granularity>"
        "<ei:reportBackDuration><xcal:duration>PT0S</xcal:duration></ei:reportBackDuration>"
        "<ei:specifierPayload><ei:rID>0</ei:rID><ei:readingType>x-notApplicable</ei:readingType>"
        "</ei:specifierPayload></ei:reportSpecifier></oadr:oadrReportRequest>"
        for n in range(max(count, 2))
    )
    return _body(
        "oadrCreateReport", f"<pyld:requestID>{turn}</pyld:requestID>{made}<ei:venID>{ven_id}</ei:venID>"
    )


KINDS = {
    "alike": Kind(_alike, alike=True),
    "alike pairs": Kind(_alike_pairs, alike=True),
    "intervals": Kind(_intervals),
    "pairs": Kind(_pairs),
    "not numbers": Kind(_not_numbers),
    "unknown points": Kind(_unknown_points),
    "small reports": Kind(_small_reports),
    "large reports": Kind(_large_reports),
    "green button": Kind(_feed),
    "data points": Kind(_many_points),
    "metadata": Kind(_many_metadata),
    "answers": Kind(_answers, "EiEvent"),
    "report requests": Kind(_requests),
}
REFERENCE = "pairs"
"""The kind whose bare parsing and validation is the measure of all others."""
