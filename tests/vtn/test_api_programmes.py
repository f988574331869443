"""The operator's API: events from templates of programmes."""

from __future__ import annotations

from typing import Any

from openadr import DistributeEvent
from tests.vtn.office import Clerk, peak
from vtn.programme import PROGRAMMES
from vtn.programme_guide import GUIDES

PRICES = {"ELECTRICITY_PRICE/price": [0.25, 0.5]}


def of_programme(programme: str, **more: Any) -> dict[str, Any]:
    return peak(signals=None, duration=None, programme=programme, start="2026-03-04T14:00:00Z", **more)


def test_every_programme_has_its_guide() -> None:
    assert GUIDES.keys() == PROGRAMMES.keys()


async def test_sgn_09_every_template_makes_an_event_that_its_ven_gets(clerk: Clerk) -> None:
    await clerk.desk.settle_in()
    shown = (await clerk.get("/vtn/programmes"))["programmes"]
    assert [programme["key"] for programme in shown] == list(PROGRAMMES)
    for number, programme in enumerate(shown):
        assert await clerk.get(f"/vtn/programmes/{programme['key']}") == programme
        simple = any(signal["signal_name"] == "SIMPLE" for signal in programme["signals"])
        body = of_programme(programme["key"], **({} if simple else {"values": PRICES}))
        body |= {
            "event_id": programme["key"],
            "overlap": "warn",
            "start": f"2026-03-{4 + number:02}T14:00:00Z",
        }
        made = await clerk.post("/vtn/events", body)
        assert made["event"]["notification"] == programme["notice"]
    told = await clerk.desk.poll()
    assert isinstance(told, DistributeEvent)
    assert [event.event_id for event in told.events] == list(PROGRAMMES)


async def test_values_are_parted_over_the_duration_with_simple_beside_them(clerk: Clerk) -> None:
    values = {"LOAD_DISPATCH/delta": [-500, -250.5, 0]}
    made = await clerk.post(
        "/vtn/events", {**of_programme("fast-dispatch", values=values), "duration": "PT45M"}
    )
    simple, power = made["event"]["signals"]
    assert [each["value"] for each in simple["intervals"]] == [1.0, 1.0, 1.0]
    assert power["intervals"] == [{"duration": "PT15M", "value": value} for value in (-500.0, -250.5, 0.0)]
    assert (power["signal_type"], power["unit"]["kind"]) == ("delta", "powerReal")
    assert (made["event"]["duration"], made["event"]["ramp_up"]) == ("PT45M", "PT5M")


async def test_what_the_operator_says_goes_before_the_template(clerk: Clerk) -> None:
    body = of_programme(
        "residential-thermostat",
        values={"SIMPLE": [2]},
        start_after=None,
        notification="PT1H",
        priority=4,
        test_event=True,
        target={"group_id": ["north"]},
        market_context="http://other.test",
    )
    made = (await clerk.post("/vtn/events", {**body, "start_after": None}))["event"]
    assert "start_after" not in made
    assert (made["notification"], made["priority"], made["test_event"]) == ("PT1H", 4, True)
    assert (made["market_context"], made["target"]["group_id"]) == ("http://other.test", ["north"])
    (signal,) = made["signals"]
    assert signal["intervals"] == [{"duration": "PT1H", "value": 2.0}]
    assert signal["device_classes"] == ["Thermostat"]


async def test_prices_are_in_the_currency_that_is_named(clerk: Clerk) -> None:
    made = await clerk.post("/vtn/events", of_programme("public-ev-rtp", values=PRICES, currency="CHF"))
    unit = made["event"]["signals"][0]["unit"]
    assert (unit["kind"], unit["units"]) == ("currencyPerKWh", "CHF")


async def test_what_does_not_fit_the_template_is_named(clerk: Clerk) -> None:
    for field, body in (
        ("programme", of_programme("flash-mob")),
        ("values.TASTE", of_programme("fast-dispatch", values={"TASTE": [1]})),
        ("values.LOAD_DISPATCH/level", of_programme("fast-dispatch", values={"LOAD_DISPATCH/level": [1]})),
        ("values.SIMPLE", of_programme("fast-dispatch", values={"SIMPLE": []})),
        ("values", of_programme("fast-dispatch", values={"SIMPLE": [1, 2], "LOAD_DISPATCH": [5]})),
        ("values", of_programme("public-ev-rtp")),
        ("values.SIMPLE[0]", of_programme("fast-dispatch", values={"SIMPLE": ["1"]})),
        ("duration", {**of_programme("public-ev-rtp", values=PRICES), "duration": "PT1S"}),
        ("duration", {**of_programme("fast-dispatch"), "duration": "PT0S"}),
        ("currency", of_programme("public-ev-rtp", values=PRICES, currency="euro")),
        ("body", {**peak(), "programme": "fast-dispatch"}),
        ("body", {**peak(), "values": {"SIMPLE": [1]}}),
        ("signals[0]", of_programme("fast-dispatch", values={"SIMPLE": [7]})),
    ):
        problem = await clerk.refused(422, "POST", "/vtn/events", body)
        assert field in [error["field"] for error in problem["errors"]], problem
    await clerk.refused(404, "GET", "/vtn/programmes/flash-mob")
