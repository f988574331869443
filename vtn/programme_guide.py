"""How the kinds of programmes are usually run, for the operator who chooses one: facts, in our own words.

The kinds are those of the OpenADR Alliance's guide to demand-response programmes; utilities differ, and
nothing here is enforced. What an event of each kind is made of stands in `vtn.programme`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What an operator should know of a kind of programme."""

    purpose: str
    levels: str
    typical: str
    opt: str
    reports: str
    polling: str


GUIDES: Mapping[str, Guide] = {
    "critical-peak-pricing": Guide(
        purpose="A tariff is much dearer on a few announced days, so that customers use less then.",
        levels="SIMPLE 1 is the critical price; where there are several prices, 2 and 3 are the dearer ones."
        " The price itself may be sent beside it, in full, as a surcharge or as a factor.",
        typical="Announced the day before; 4 to 6 hours in the afternoon, one interval; few days a year.",
        opt="Answers are a courtesy: the price holds whatever the VEN answers. CreateOpt is not used.",
        reports="None; the meter tells later.",
        polling="Once an hour is enough.",
    ),
    "capacity-bidding": Guide(
        purpose="Customers or aggregators have sold a reduction in advance and are called for it.",
        levels="SIMPLE 1 is the usual call, 2 and 3 are larger parts of what was bid. BID_LOAD says how much"
        " of the bid is called, BID_PRICE for what price.",
        typical="Day ahead or same day with some hours of notice; 1 to 8 hours, one interval.",
        opt="An opt-out means that the obligation is not met and usually costs the agreed penalty.",
        reports="Usually none; TELEMETRY_USAGE where the operator watches the delivery.",
        polling="Once an hour for day-ahead calls, every few minutes for calls of the same day.",
    ),
    "residential-thermostat": Guide(
        purpose="Heating or cooling of many homes is moved by the thermostats for an hour or more.",
        levels="SIMPLE 1 to 3 are steps of setback; LOAD_CONTROL gives the step (level offset, higher: less"
        " load) or the share of the capacity that stays.",
        typical="Little or no notice, 1 to 4 hours, starts spread at random: homes must not move together.",
        opt="The resident may override at the device at any time; the VEN then changes to optOut.",
        reports="TELEMETRY_STATUS where the operator wants to see overrides; else none.",
        polling="Every few minutes.",
    ),
    "fast-dispatch": Guide(
        purpose="Load follows the grid's need within minutes, as a reserve or in a balancing market.",
        levels="SIMPLE 1 to 3 for simple sites; LOAD_DISPATCH gives the power as a setpoint or as a change.",
        typical="Ten minutes of notice or less, minutes to hours, several intervals; changed while it runs.",
        opt="Always answered at once; an opt-out takes the site out of the dispatch.",
        reports="TELEMETRY_USAGE in power, every minute or faster.",
        polling="Every 10 seconds to a minute, or push.",
    ),
    "residential-ev-tou": Guide(
        purpose="Charging at home moves to the cheap hours of a time-of-use tariff.",
        levels="ELECTRICITY_PRICE for each block of the day; SIMPLE 0 to 3 for cars that know no prices.",
        typical="One event a day of 24 hours, announced the day before, one interval for each price.",
        opt="Answers are a courtesy; the tariff holds.",
        reports="None, or TELEMETRY_USAGE of the charger.",
        polling="Once an hour.",
    ),
    "public-ev-rtp": Guide(
        purpose="Public charging stations pass a price on that changes by the hour.",
        levels="ELECTRICITY_PRICE for each hour.",
        typical="Announced an hour to a day ahead, 24 intervals of an hour or fewer.",
        opt="Answers are a courtesy; who charges pays the price.",
        reports="None, or TELEMETRY_USAGE of the station.",
        polling="Every few minutes.",
    ),
    "distributed-energy": Guide(
        purpose="Batteries, generators and inverters at the customer follow prices or a schedule.",
        levels="ELECTRICITY_PRICE for price-led plants, LOAD_DISPATCH (negative: feed in) or CHARGE_STATE for"
        " led ones.",
        typical="Announced the day before, 24 intervals of an hour; shorter for ancillary services.",
        opt="Always answered; an opt-out frees the plant for its owner.",
        reports="TELEMETRY_USAGE and TELEMETRY_STATUS (state of charge, power), every few minutes.",
        polling="Every few minutes, faster for ancillary services.",
    ),
}
