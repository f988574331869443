"""Parts that messages of every service share: instants, durations, responses, targets."""

from datetime import UTC, datetime

from openadr import Duration, EiResponse, ServiceArea, Target, TransportInterface


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 7, 1, hour, minute, tzinfo=UTC)


def minutes(count: int) -> Duration:
    return Duration(count * 60)


HOUR = minutes(60)

OK = EiResponse("200", "OK", "req-1")

REFUSED = EiResponse("452", 'unknown <id> & "more"', "req-1")

AREA = ServiceArea(
    feature_id="area-1", polygon_id="polygon-1", positions=(59.3, 18.0, 59.4, 18.0, 59.4, 18.2, 59.3, 18.0)
)

FULL_TARGET = Target(
    aggregated_pnode=("pnode-a",),
    end_device_asset=("Water_Heater", "EVSE"),
    meter_asset=("meter-1",),
    pnode=("pnode-b",),
    service_area=(AREA,),
    service_delivery_point=("sdp-1",),
    service_location=(ServiceArea(positions=(1.5, -2.25)),),
    transport_interface=(TransportInterface(point_of_receipt="bus-1", point_of_delivery="bus-2"),),
    group_id=("group-1",),
    group_name=("a & b",),
    resource_id=("home-01", "0012"),
    ven_id=("ven-1",),
    party_id=("party-1",),
)
