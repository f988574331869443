"""The reports that a session makes, beside its conversation. No clock: times are given."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from openadr import UpdateReport
from ven import report
from ven.facility import Capability, Facility
from ven.offer import Offer
from ven.report import Limits
from ven.request import Reporting, make_reports, next_due
from ven.saved import Saved
from ven.settings import VenSettings


@dataclass(frozen=True, slots=True)
class Reporter:
    """What makes reports of a site, whatever is asked for."""

    settings: VenSettings
    facility: Facility
    offers: dict[str, Offer]
    new_id: Callable[[], str]

    @classmethod
    def of(
        cls,
        settings: VenSettings,
        facility: Facility,
        capabilities: tuple[Capability, ...],
        new_id: Callable[[], str],
    ) -> "Reporter":
        """The reporter of a site that can report this."""
        return cls(settings, facility, report.offers(capabilities), new_id)

    def make(self, saved: Saved, now: datetime, busy: Collection[str]) -> tuple[Saved, list[UpdateReport]]:
        """The reports that can be made now, at most one for each request, and what is remembered with them.

        `busy`: requests whose earlier reports still wait to be sent.
        """
        known, settings = saved.registration, self.settings
        if known is None or not saved.requests:
            return saved, []
        limits = Limits(settings.report_parts, settings.report_readings_limit, settings.catch_up)
        desk = Reporting(self.facility, self.offers, limits, known.ven_id, self.new_id, now)
        requests, made = make_reports(saved.requests, desk, busy)
        return (saved if requests == saved.requests else replace(saved, requests=requests)), made

    def next_at(self, saved: Saved) -> datetime | None:
        """When the next report falls due; its data may come later. None while nothing is asked for."""
        return next_due(saved.requests, self.offers)
