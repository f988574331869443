"""Forms as only programs send them: refused with a reason, whoever sends them, and never a fault."""

from __future__ import annotations

import pytest

from tests.aggregator.access.conftest import House

FORM = "application/x-www-form-urlencoded"
PART = "multipart/form-data; boundary=x"
NAMED = b"--x\r\nContent-Disposition: form-data; name=name\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (f"{FORM}; charset=foo", b"name=Ada"),
        (f"{FORM}; charset=zlib", b"name=Ada"),
        (f'{FORM}; charset="a b"', b"name=Ada"),
        (f"{FORM}; charset=raw_unicode_escape", b"name=\\ud800"),
        (PART, b"--x\r\ngarbage"),
        (PART, NAMED + b"Content-Transfer-Encoding: foo\r\n\r\nAda\r\n--x--\r\n"),
        (PART, NAMED + b"Content-Type: text/plain; charset=foo\r\n\r\nAda\r\n--x--\r\n"),
    ],
)
async def test_a_form_that_no_page_of_ours_sends_is_refused(house: House, kind: str, body: bytes) -> None:
    async with house.http.post(
        f"{house.address}/login", data=body, headers={"Content-Type": kind, "Origin": house.address}
    ) as answer:
        assert answer.status == 400
        assert "utf-8" in await answer.text()


@pytest.mark.parametrize("body", [b"\xff\xfe", b"name=%ED%A0%80&password=%FF", b"&&==&=", b"name"])
async def test_bytes_that_are_no_text_are_no_fault_either(house: House, body: bytes) -> None:
    stranger = house.stranger()
    await stranger.get("/login")
    cookies = "; ".join(f"{name}={text}" for name, text in stranger.jar.items())
    headers = {"Content-Type": f"{FORM}; charset=UTF-8", "Origin": house.address, "Cookie": cookies}
    headers["X-CSRF-Token"] = stranger.csrf
    async with house.http.post(f"{house.address}/login", data=body, headers=headers) as answer:
        assert answer.status in {400, 422}
