from datetime import UTC, datetime, timedelta

import pytest

from feid.devices import Command, Device, DeviceKind, MeterReading, Quality

START = datetime(2025, 1, 20, 17, tzinfo=UTC)
END = START + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("start", "end", "power_kw", "says"),
    [
        pytest.param(START.replace(tzinfo=None), END, 1.0, "start must carry a UTC offset", id="naive start"),
        pytest.param(START, END.replace(tzinfo=None), 1.0, "end must carry a UTC offset", id="naive end"),
        pytest.param(START, START, 1.0, "is not after start", id="empty period"),
        pytest.param(END, START, 1.0, "is not after start", id="end before start"),
        pytest.param(START, END, float("nan"), "finite number, got nan", id="no number"),
        pytest.param(START, END, float("-inf"), "finite number, got -inf", id="infinite"),
    ],
)
def test_a_command_that_means_nothing_is_refused(
    start: datetime, end: datetime, power_kw: float, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Command("home-01/battery", start, end, power_kw)


def test_limits_of_a_device_enclose_standing_still() -> None:
    with pytest.raises(ValueError, match=r"home-01/battery: limits 1.0..5.0 kW must enclose 0"):
        Device("home-01/battery", "home-01", DeviceKind.BATTERY, 5.0, 1.0, 10.0)


def test_a_reading_is_complete_at_its_end() -> None:
    reading = MeterReading("home-01", START, timedelta(minutes=15), 250, 100, Quality.GOOD)
    assert reading.end == datetime(2025, 1, 20, 17, 15, tzinfo=UTC)
