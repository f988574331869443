"""Opt schedules, the opt for an event, and how they end."""

from openadr import ActivePeriod, CanceledOpt, CancelOpt, CreatedOpt, CreateOpt, Duration, Message, Target
from openadr.enums import OptReason, OptType
from tests.openadr.samples.parts import FULL_TARGET, OK, at, minutes

OPTS: dict[str, Message] = {
    "create_opt_schedule": CreateOpt(
        opt_id="opt-1",
        opt_type=OptType.OPT_OUT,
        opt_reason=OptReason.SCHEDULE,
        market_context="http://programme.example/peak",
        ven_id="ven-1",
        availability=(
            ActivePeriod(dtstart=at(17), duration=minutes(60)),
            ActivePeriod(dtstart=at(20), duration=Duration(0, months=1)),
        ),
        created_date_time=at(9),
        request_id="req-1",
        target=Target(ven_id=("ven-1",)),
        device_class=Target(end_device_asset=("Thermostat",)),
    ),
    "create_opt_event": CreateOpt(
        opt_id="opt-2",
        opt_type=OptType.OPT_IN,
        opt_reason="x-manual",
        ven_id="ven-1",
        created_date_time=at(9),
        request_id="",
        event_id="event-1",
        modification_number=0,
        target=FULL_TARGET,
    ),
    "created_opt": CreatedOpt(response=OK, opt_id="opt-1"),
    "cancel_opt": CancelOpt(request_id="req-1", opt_id="opt-1", ven_id="ven-1"),
    "canceled_opt": CanceledOpt(response=OK, opt_id="opt-1"),
}
