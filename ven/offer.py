"""What a site offers to report, as metadata. Pure."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from openadr import Duration, ItemBase, RegisterReport, Report, ReportDescription, SamplingRate, Target
from openadr.enums import ReadingType, ReportType
from ven.facility import Capability, Unit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """The capabilities of one report specifier."""

    capabilities: tuple[Capability, ...]

    @property
    def first(self) -> Capability:
        """The one that stands for all in name, unit of status, periods, history and horizon."""
        return self.capabilities[0]

    @property
    def is_history(self) -> bool:
        """Whether it answers about the past at once, in parts."""
        return self.first.report_name.startswith("HISTORY_")

    @property
    def is_status(self) -> bool:
        """Whether its values are states of a resource at an instant, not quantities of a period."""
        return self.first.unit is Unit.STATUS


_LONGEST = timedelta(days=1)


@dataclass(slots=True)
class Pace:
    """When metadata that the VTN does not take are offered again: after twice as long each time, within a
    day. Without them it never asks for reports; a VTN that cannot take them is not asked at each poll.
    """

    first: timedelta
    """The pause after the first time."""
    pause: timedelta = timedelta(0)
    since: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether the pause is over; a clock that was set back ends it."""
        return self.since is None or abs(now - self.since) >= self.pause

    def answered(self, *, taken: bool, now: datetime) -> None:
        """Takes note of what became of an offer."""
        self.since = now
        self.pause = timedelta(0) if taken else min(_LONGEST, max(self.first, 2 * self.pause))
        if not taken:
            log.warning("the VTN did not take our metadata: they are offered again in %s", self.pause)


def offers(capabilities: Iterable[Capability]) -> dict[str, Offer]:
    """Capabilities by report specifier, in their order; ValueError where an rID comes twice (RPT-05)."""
    grouped: dict[str, list[Capability]] = {}
    for capability in capabilities:
        members = grouped.setdefault(capability.specifier_id, [])
        if any(capability.r_id == member.r_id for member in members):
            raise ValueError(f"rID {capability.r_id!r} is twice in report {capability.specifier_id!r}")
        members.append(capability)
    return {specifier: Offer(tuple(members)) for specifier, members in grouped.items()}


def digest(capabilities: Sequence[Capability]) -> str:
    """A text that changes when the metadata does."""
    return sha256(repr(tuple(capabilities)).encode()).hexdigest()


def metadata(
    capabilities: Sequence[Capability], request_id: str, ven_id: str, now: datetime, answering: str | None
) -> RegisterReport:
    """Everything that the site can report (RPT-03); `answering` is the METADATA request's id (RPT-04)."""
    return RegisterReport(
        request_id=request_id,
        reports=tuple(described(specifier, offer, now) for specifier, offer in offers(capabilities).items()),
        ven_id=ven_id,
        report_request_id=answering,
    )


def described(specifier: str, offer: Offer, now: datetime) -> Report:
    """The metadata of one report."""
    name = offer.first.report_name
    return Report(
        # how far back the data reach, or ahead; never shorter than a sampling period (RPT-06)
        duration=Duration.of(max(offer.first.history, offer.first.ahead, offer.first.max_period)),
        report_descriptions=tuple(_description(capability) for capability in offer.capabilities),
        report_request_id="0",
        report_specifier_id=specifier,
        # the schema has no METADATA_ form of a name of our own: `x-` names stand for themselves
        report_name=name if name.startswith("x-") else f"METADATA_{name}",
        created_date_time=now,
    )


def _description(capability: Capability) -> ReportDescription:
    resource, device = capability.resource_id, capability.device_class
    status = capability.unit is Unit.STATUS
    return ReportDescription(
        r_id=capability.r_id,
        report_subject=Target(end_device_asset=(device,)) if device else None,
        report_data_source=Target(resource_id=(resource,)) if resource else None,
        report_type=ReportType.RESOURCE_STATUS if status else capability.report_type,
        item_base=_UNITS[capability.unit],
        reading_type=ReadingType.NOT_APPLICABLE if status else capability.reading_type,
        market_context=capability.market_context,
        sampling_rate=SamplingRate(
            min_period=Duration.of(capability.min_period),
            max_period=Duration.of(capability.max_period),
            on_change=capability.report_name.startswith("TELEMETRY_"),  # RPT-19
        ),
    )


_UNITS = {Unit.ENERGY_WH: ItemBase.energy_real(), Unit.POWER_W: ItemBase.power(), Unit.STATUS: None}
