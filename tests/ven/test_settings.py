"""A VEN that cannot work does not start, and says which setting is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ven.errors import SettingsError
from ven.settings import VenSettings

GOOD: dict[str, object] = {
    "vtn_url": "https://vtn.test:8443/",
    "ven_name": "alice",
    "state_path": Path("ven.db"),
    "cert": Path("ven.pem"),
}

BAD = [
    ({"vtn_url": "ftp://vtn.test"}, "vtn_url must be an http"),
    ({"vtn_url": "https://"}, "vtn_url must be an http"),
    ({"vtn_url": "http://127.0.0.1:80"}, "use https, or set insecure_dev"),
    ({"vtn_url": "http://192.0.2.1", "insecure_dev": True}, "plain http is for loopback only"),
    ({"vtn_url": "http://vtn.test", "insecure_dev": True}, "plain http is for loopback only"),
    ({"cert": None}, "cert is missing"),
    ({"vtn_fingerprint": "xyz"}, "must be hex digits"),
    ({"vtn_fingerprint": "ab" * 10}, "64 hex digits .* got 20"),
    ({"tls_profile": "none"}, "compat or modern"),
    ({"ven_name": " "}, "ven_name is empty"),
    ({"timeout_s": 4.9}, "at least 5, got 4.9"),
    ({"poll_jitter": 1.1}, "from 0 to 1"),
    ({"position": (59.3, float("inf"))}, "position must be two numbers"),
    ({"poll_period_s": 0}, "poll_period_s must be positive"),
    ({"register_retry_s": -1}, "register_retry_s must be positive"),
    ({"backoff_cap_s": float("nan")}, "backoff_cap_s must be positive"),
    ({"report_parts": timedelta(days=2)}, "at most one day"),
    ({"report_readings_limit": 0}, "must be positive"),
]


@pytest.mark.goal(14)
@pytest.mark.parametrize(("change", "text"), BAD)
def test_a_setting_that_cannot_work_is_named(change: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        VenSettings(**(GOOD | change))  # type: ignore[arg-type] - fields by name


@pytest.mark.goal(14)
@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_goals_14_plain_http_works_on_loopback_if_asked_for(url: str) -> None:
    settings = VenSettings(**(GOOD | {"vtn_url": url, "cert": None, "insecure_dev": True}))  # type: ignore[arg-type] - fields by name
    assert settings.base_url == f"{url}/OpenADR2/Simple/2.0b/"


def test_the_base_address_may_end_in_a_slash() -> None:
    settings = VenSettings(**GOOD)  # type: ignore[arg-type] - fields by name
    assert settings.base_url == "https://vtn.test:8443/OpenADR2/Simple/2.0b/"
    assert settings.pin is None


def test_a_fingerprint_may_carry_colons() -> None:
    text = ":".join(["AB"] * 32)
    settings = VenSettings(**(GOOD | {"vtn_fingerprint": text}))  # type: ignore[arg-type] - fields by name
    assert settings.pin == bytes([0xAB] * 32)
