"""Conformance rules of opts (group OPT), on one message."""

from collections.abc import Iterator

from openadr.event_rules import device_classes
from openadr.finding import Finding
from openadr.opt import CreateOpt


def create_opt(message: CreateOpt) -> Iterator[Finding]:
    """Rules of a schedule or the qualification of an event."""
    if not message.opt_id:
        yield Finding("OPT-04", "optID is empty")
    if message.event_id is not None and (message.availability or message.market_context is not None):
        yield Finding("OPT-02", "an opt for an event has neither vavailability nor marketContext")
    if message.event_id is None and not message.availability:
        yield Finding("OPT-02", "an opt without an event needs vavailability")
    for period in message.availability:
        if any(
            part is not None
            for part in (period.start_after, period.notification, period.ramp_up, period.recovery)
        ):
            yield Finding("OPT-03", "vavailability has dtstart and duration only")
        if period.duration.is_negative:
            yield Finding("OPT-10", "vavailability has a negative duration")
    yield from device_classes(message.device_class, "OPT-09", "oadrDeviceClass")
