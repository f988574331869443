"""What the checker says of our own VEN and VTN: nothing. Else it would accuse others of what is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

from openadr import ActivePeriod, Duration, encode
from openadr.conversation import Conversation
from openadr.enums import OptType
from openadr.trace import Exchange, judge_exchange
from tests.pair import Pair
from tests.ven.messages import ask
from tests.ven.site import HISTORY, NOW, QUARTER, USAGE
from tests.ven.test_report_pair import STATUS, RichSite
from tests.ven.wire import plain
from tests.vtn.desk import anything_goes, make_event, request_all
from ven.voice import Voice
from vtn import event, registration, report_request
from vtn.store import Database

HOUR = timedelta(hours=1)


def remarks(pair: Pair) -> list[tuple[str, str, str]]:
    conversation, found = Conversation(), []
    for number, (asked, answer) in enumerate(pair.said):
        found += [
            (remark.party.value, remark.finding.rule, remark.finding.text)
            for remark in judge_exchange(conversation, Exchange(str(number), encode(asked), encode(answer)))
        ]
    return found


class Life:
    """The operator's hand, and the site's."""

    def __init__(self, pair: Pair, site: RichSite) -> None:
        self.pair, self.site, self.now = pair, site, NOW

    @property
    def ven_id(self) -> str:
        known = self.pair.session.saved.registration
        assert known is not None
        return known.ven_id

    async def on(self, step: timedelta = QUARTER) -> None:
        """Both talk when so much time has passed."""
        self.now += step
        self.site.complete_until = self.now
        await self.pair.run(self.now)

    async def events(self) -> None:
        made = make_event(start=NOW + 4 * HOUR)
        async with self.pair.db.write() as conn:
            await event.publish(conn, made, self.ven_id, self.now, anything_goes)
            other = make_event("e2", NOW + 9 * HOUR)
            await event.publish(conn, other, self.ven_id, self.now, anything_goes)
        await self.on()
        ids = (f"opt-{number}" for number in count())
        site = Voice(self.pair.session, lambda: next(ids), lambda: self.now, lambda: None)
        site.change("e1", OptType.OPT_OUT)
        site.qualify("e2", OptType.OPT_OUT)
        tonight = ActivePeriod(dtstart=NOW + 20 * HOUR, duration=Duration(3600))
        opt_id = site.declare(OptType.OPT_OUT, [tonight])
        await self.on()
        site.withdraw(opt_id)
        async with self.pair.db.write() as conn:
            urgent = replace(made, descriptor=replace(made.descriptor, priority=1))
            await event.modify(conn, urgent, self.ven_id, self.now, anything_goes)
            await event.cancel(conn, "e2", self.ven_id, self.now)
        await self.on()

    async def reports(self) -> None:
        async with self.pair.db.write() as conn:
            for request in (
                ask(USAGE, request_id="once", back=timedelta(0), start=None),
                ask(STATUS, request_id="state", r_ids=("state",), back=HOUR),
                ask(HISTORY, request_id="past", back=timedelta(0), start=NOW - HOUR, length=HOUR),
            ):
                await report_request.request_report(conn, self.ven_id, request, self.now)
        for _ in range(5):
            await self.on()
        async with self.pair.db.write() as conn:
            await report_request.cancel_report(conn, self.ven_id, ["state"], True, self.now)
        await self.on()

    async def registrations(self) -> None:
        self.pair.session.query()
        async with self.pair.db.write() as conn:
            await registration.ask_to_register_again(conn, self.ven_id, self.now)
        await self.on()
        self.site.offered.pop()
        self.pair.restart()  # with other metadata
        await self.on()


async def test_the_checker_has_nothing_to_say_of_a_whole_life(database: Database, tmp_path: Path) -> None:
    site = RichSite()
    life = Life(await Pair.join(database, plain(1, tmp_path / "unused"), site, request_all, NOW), site)
    await life.on(timedelta(0))
    await life.events()
    await life.reports()
    await life.registrations()
    for _ in range(10):  # the event comes and goes
        await life.on()
    life.pair.session.leave()
    await life.on()
    said = {type(message).__name__ for exchange in life.pair.said for message in exchange}
    assert len(said) > 20, said
    assert remarks(life.pair) == []
