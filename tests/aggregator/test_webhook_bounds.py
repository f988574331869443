"""Where webhooks may go: to public addresses by https, to networks that the settings name by http too."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from aggregator.notice_settings import NoticeSettings
from aggregator.webhook import BarredError, Bounds, _Resolver

PUBLIC, HOME = "8.8.8.8", "10.0.0.8"
BOUNDS = Bounds(NoticeSettings(hosts=(PUBLIC, HOME, "localhost"), networks=("10.0.0.0/8",)))


@pytest.mark.goal(43)
@pytest.mark.parametrize(
    "hidden",
    [
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "::127.0.0.1",
        "2002:7f00:1::",
        "::1",
        "::",
    ],
)
def test_a_private_address_is_found_within_one_of_ipv6(hidden: str) -> None:
    with pytest.raises(BarredError):
        BOUNDS.check_address(ip_address(hidden))


@pytest.mark.goal(43)
def test_plain_http_is_for_networks_that_are_named() -> None:
    for url in (f"https://{PUBLIC}/", f"https://{HOME}/", f"http://{HOME}/"):
        BOUNDS.check(url)
    with pytest.raises(BarredError, match="plain http"):
        BOUNDS.check(f"http://{PUBLIC}/")
    BOUNDS.check_address(ip_address("64:ff9b::808:808"))
    BOUNDS.check_address(ip_address("2600::1"))


@pytest.mark.goal(43)
async def test_a_name_that_leads_elsewhere_is_not_asked_by_plain_http() -> None:
    named = Bounds(NoticeSettings(hosts=("localhost",), networks=("127.0.0.0/8", "::1/128")))
    for bounds, address, in_the_clear in ((named, "127.0.0.1", True), (BOUNDS, PUBLIC, False)):
        resolver = _Resolver(bounds, in_the_clear=in_the_clear)
        assert await resolver.resolve(address, 80)
        await resolver.close()
    resolver = _Resolver(BOUNDS, in_the_clear=True)
    with pytest.raises(BarredError, match="plain http"):
        await resolver.resolve(PUBLIC, 80)
    await resolver.close()
