"""What is kept of metadata, and what they are answered with, byte for byte."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select

from openadr import EiResponse, RegisteredReport, RegisterReport, decode, encode
from tests.openadr.test_lenient import bare
from tests.vtn.desk import ALICE, NOW, Desk, metadata, request_all
from vtn import registration, report_renewal
from vtn.catalogue import Offered, catalogue
from vtn.report_request import write_request
from vtn.schema import report_spec_table as spec_table


async def offered(desk: Desk, ven_id: str) -> dict[str, Offered]:
    async with desk.db.read() as conn:
        return {each.specifier_id: each for each in await catalogue(conn, ven_id)}


async def test_metadata_of_several_reports_are_kept_once_as_they_came(desk: Desk) -> None:
    ven_id = await desk.register()
    message = metadata(ven_id)
    await desk.say(message)
    found = await offered(desk, ven_id)
    assert {name: each.report for name, each in found.items()} == {
        report.report_specifier_id: report for report in message.reports
    }
    async with desk.db.read() as conn:
        kept = (await conn.execute(select(spec_table.c.content, func.count()).group_by("content"))).all()
    assert dict(kept) == {None: len(message.reports) - 1, encode(message): 1}


async def test_metadata_that_were_kept_report_by_report_are_read_as_before(desk: Desk) -> None:
    ven_id = await desk.register()
    message = metadata(ven_id)
    async with desk.db.write() as conn:
        await conn.execute(delete(spec_table))
        for report in message.reports:
            row = {
                "ven_id": ven_id,
                "specifier_id": report.report_specifier_id,
                "report_name": "x",
                "r_ids": [],
                "registered_at": NOW,
                "content": encode(RegisterReport(request_id="0", reports=(report,))),
            }
            await conn.execute(insert(spec_table).values(row))
    found = await offered(desk, ven_id)
    assert {each.report for each in found.values()} == set(message.reports)


async def test_metadata_of_a_lenient_ven_are_read_when_it_is_lenient_no_more(desk: Desk) -> None:
    ven_id = await desk.register()
    async with desk.db.write() as conn:
        await registration.set_lenient(conn, ven_id, lenient=True)
    message = metadata(ven_id)
    status, _ = await desk.post("EiReport", bare(encode(message)), ALICE)
    assert status == 200
    async with desk.db.write() as conn:
        await registration.set_lenient(conn, ven_id, lenient=False)
    found = await offered(desk, ven_id)
    assert {each.report for each in found.values()} == set(message.reports)


async def test_the_same_metadata_again_get_the_same_bytes_in_whatever_form_they_come(desk: Desk) -> None:
    ven_id = await desk.register()
    raw = encode(metadata(ven_id))
    first, again = [await desk.post("EiReport", body) for body in (raw, raw.replace(b"><", b">\n<"))]
    assert first == again
    other = await desk.post("EiReport", encode(metadata(ven_id, "m-2")))
    assert other != first


async def test_the_answer_to_metadata_is_the_one_that_the_encoder_would_write(desk: Desk) -> None:
    ven_id = await desk.register()
    ven = await registration_of(desk)
    for message in (metadata(ven_id), RegisterReport(request_id="<m>", ven_id=ven_id)):
        wanted = tuple(request_all(ven, message.reports, NOW))
        whole = RegisteredReport(
            response=EiResponse.ok(message.request_id), report_requests=wanted, ven_id="a<ei:venID>&b"
        )
        pieces = [write_request(request) for request in wanted]
        assert report_renewal.answer(message.request_id, "a<ei:venID>&b", pieces) == encode(whole)
        _, body = await desk.post("EiReport", encode(message))
        reply = decode(body)
        assert isinstance(reply, RegisteredReport)
        assert reply.report_requests == wanted


async def registration_of(desk: Desk) -> registration.Ven:
    async with desk.db.read() as conn:
        ven = await registration.ven_of(conn, ALICE, NOW)
    assert ven is not None
    return ven
