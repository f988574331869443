"""Programme templates: every one makes events that keep the rules and that a VEN can read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from openadr import DistributeEvent, decode, encode
from openadr.enums import SignalName, SignalType
from openadr.rules import check
from tests.vtn.desk import NOW
from vtn.programme import PROGRAMMES, Programme, SignalTemplate, draft

KINDS = {
    "critical-peak-pricing",
    "capacity-bidding",
    "residential-thermostat",
    "fast-dispatch",
    "residential-ev-tou",
    "public-ev-rtp",
    "distributed-energy",
}


def drafted(programme: Programme, *templates: SignalTemplate) -> DistributeEvent:
    event = draft(
        programme,
        dict.fromkeys(templates, (1.0, 0.0, 1.0)),
        event_id="e1",
        market_context="http://programme.test",
        dtstart=NOW + timedelta(days=2),
        now=NOW,
    )
    return DistributeEvent(request_id="r", vtn_id="v", events=(event,))


def test_sgn_09_every_kind_of_programme_has_a_template() -> None:
    assert set(PROGRAMMES) == KINDS
    assert all(key == programme.key for key, programme in PROGRAMMES.items())


@pytest.mark.parametrize(
    ("programme", "template"),
    [(programme, template) for programme in PROGRAMMES.values() for template in programme.signals],
    ids=lambda value: getattr(value, "key", None) or f"{value.name} {value.kind}",
)
def test_sgn_09_an_event_of_a_template_keeps_the_rules(
    programme: Programme, template: SignalTemplate
) -> None:
    message = drafted(programme, template)
    assert check(message) == []
    assert decode(encode(message)) == message
    (event,) = message.events
    assert event.active_period.duration.to_timedelta() == 3 * programme.step


def test_sgn_09_several_signals_stand_beside_each_other() -> None:
    programme = PROGRAMMES["fast-dispatch"]
    (event,) = drafted(programme, *programme.signals).events
    assert [(item.signal_name, item.signal_type) for item in event.signals] == [
        ("SIMPLE", "level"),
        ("LOAD_DISPATCH", "setpoint"),
        ("LOAD_DISPATCH", "delta"),
    ]
    assert check(drafted(programme, *programme.signals)) == []


def test_sgn_09_values_that_do_not_fit_are_refused() -> None:
    programme = PROGRAMMES["public-ev-rtp"]
    price = programme.signals[0]
    start = {"event_id": "e1", "market_context": "http://p.test", "dtstart": NOW, "now": NOW}
    with pytest.raises(ValueError, match="at least one; got \\[0\\]"):
        draft(programme, {price: ()}, **start)  # type: ignore[arg-type] - fields by name
    with pytest.raises(ValueError, match="at least one; got \\[\\]"):
        draft(programme, {}, **start)  # type: ignore[arg-type] - fields by name
    thermostat = PROGRAMMES["residential-thermostat"]
    uneven = {thermostat.signals[0]: (1.0, 2.0), thermostat.signals[1]: (1.0,)}
    with pytest.raises(ValueError, match="got \\[1, 2\\]"):
        draft(thermostat, uneven, **start)  # type: ignore[arg-type] - fields by name
    foreign = SignalTemplate(SignalName.BID_PRICE, SignalType.PRICE, "currency")
    with pytest.raises(ValueError, match="public-ev-rtp has no signal BID_PRICE of type price"):
        draft(programme, {foreign: (1.0,)}, **start)  # type: ignore[arg-type] - fields by name
