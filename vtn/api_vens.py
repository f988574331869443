"""VENs: who may register, who is suspended, whose registration ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from openadr.enums import ProfileName
from openadr.security import read_fingerprint, short_form
from vtn import api_signature, certificate, outbox, registration, trace, ven_list
from vtn.api_route import Answer, Call, Office, Route
from vtn.api_ven_model import (
    ApproveBody,
    CertificateView,
    ChangeBody,
    EnrolBody,
    StrangerList,
    StrangerView,
    VenDetail,
    VenList,
    VenQuery,
    VenView,
)
from vtn.errors import UnknownObject
from vtn.problem import CONFLICT, INVALID, Problem
from vtn.registration import Ven
from vtn.visible import seen

PASSING = ("last_contact", "clock_skew_s", "waiting")
EXAMPLE_FINGERPRINT = "5E:71:FA:E4:61:75:9C:EF:A4:D6"


async def find(conn: AsyncConnection, ven: str) -> Ven:
    """The VEN of this id, or of this name; UnknownObject."""
    found = await ven_list.named(conn, ven)
    if found is None:
        raise UnknownObject(f"no VEN has the id or name {ven!r}")
    return found


async def by_id_or_name(conn: AsyncConnection) -> dict[str, Ven]:
    """All VENs under their names and ids; an id goes before a name."""
    vens = await registration.vens(conn)
    return {ven.ven_name: ven for ven in vens} | {ven.ven_id: ven for ven in vens}


def _view(ven: Ven, office: Office) -> dict[str, object]:
    state = "registered" if ven.registration_id is not None else "enrolled"
    return {
        "ven_id": ven.ven_id,
        "ven_name": ven.ven_name,
        "state": "suspended" if ven.suspended_at is not None else state,
        "enrolled_at": ven.enrolled_at,
        "registered_at": ven.registered_at,
        "suspended_at": ven.suspended_at,
        "last_contact": _last_contact(ven, office),
        "clock_skew_s": _clock_skew(ven, office),
        "report_only": ven.report_only,
        "lenient": ven.lenient,
        **api_signature.view(ven),
        "poll_period_s": ven.poll_period_s,
    }


def _clock_skew(ven: Ven, office: Office) -> float | None:
    skew = office.clock_skews().get(ven.ven_id)
    return None if skew is None else skew.total_seconds()


def _last_contact(ven: Ven, office: Office) -> datetime | None:
    return office.contacts().get(ven.ven_id, ven.last_contact)


async def _list(call: Call) -> Answer:
    query: VenQuery = call.query
    more = None if query.limit is None else query.limit + 1
    found = await ven_list.page(call.conn, query.after, more)
    vens = [VenView.model_validate(_view(ven, call.office)) for ven in found[: query.limit]]
    return VenList(vens=vens, next=vens[-1].ven_name if len(found) > len(vens) else None)


async def _show(call: Call) -> Answer:
    return await _detail(call, (await find(call.conn, call.path["ven"])).ven_id)


async def _detail(call: Call, ven_id: str) -> Answer:
    ven = await registration.find(call.conn, ven_id)
    certificates = [
        CertificateView(
            short=each.short,
            fingerprint=each.fingerprint,
            since=each.since,
            valid_until=each.valid_until,
            expires_at=each.expires_at,
        )
        for each in await certificate.enrolled(call.conn, ven_id)
    ]
    return VenDetail.model_validate(
        {
            **_view(ven, call.office),
            "certificates": certificates,
            "waiting": await outbox.counts(call.conn, ven_id),
            "traced_since": await trace.traced_since(call.conn, ven_id),
        }
    )


async def _enrol(call: Call) -> Answer:
    body: EnrolBody = call.body
    try:
        read_fingerprint(body.fingerprint)
    except ValueError as error:
        raise Problem.field("fingerprint", body.fingerprint, str(error)) from None
    more = {"profile": ProfileName(body.profile), "overlap": timedelta(days=body.overlap_days)}
    return await _enrolled(call, body.ven_name, body.fingerprint, body.ven_id, **more)


async def _enrolled(
    call: Call, name: str, fingerprint: str, ven_id: str | None = None, **more: Any
) -> Answer:
    """`more` is profile and overlap, see `registration.enrol`."""
    try:
        found = await registration.enrol(call.conn, name, fingerprint, call.now, ven_id=ven_id, **more)
    except ValueError as error:
        raise Problem.field("fingerprint", fingerprint, str(error), CONFLICT) from None
    if ven_id not in (None, found):
        text = f"{name!r} is enrolled already, with the id {found!r}"
        raise Problem.field("ven_id", ven_id, text, CONFLICT)
    return await _detail(call, found)


async def _withdraw(call: Call) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    text = call.path["fingerprint"]
    try:
        entry = read_fingerprint(text)
    except ValueError as error:
        raise Problem.field("fingerprint", text, str(error)) from None
    withdrawn = await certificate.withdraw(call.conn, entry, call.now)
    if withdrawn.ven_id != ven.ven_id:
        raise UnknownObject(f"the certificate {entry} is not one of {ven.ven_name!r}")
    return await _detail(call, ven.ven_id)


async def _pending(call: Call) -> Answer:
    found = await registration.strangers(call.conn)
    return StrangerList(
        pending=[
            StrangerView(fingerprint=whole, short=short_form(whole), ven_name=name, last_seen=last_seen)
            for whole, name, last_seen in found
        ]
    )


async def _approve(call: Call) -> Answer:
    text = call.path["fingerprint"]
    tail = text.replace(":", "").lower()
    found = [each for each in await registration.strangers(call.conn) if each[0].endswith(tail)]
    if len(tail) not in (20, 64) or len(found) != 1:
        raise UnknownObject(f"nobody with the fingerprint {text!r} waits for approval")
    whole, own_name, _ = found[0]
    body: ApproveBody = call.body
    name = body.ven_name or own_name
    if not name:
        raise Problem.field("ven_name", None, "it gave no name, so you have to", INVALID)
    try:
        seen(name)
    except ValueError as error:
        raise Problem.field("ven_name", name, f"its own name cannot be taken: {error}", INVALID) from None
    if body.ven_name is None and name in [ven.ven_name for ven in await registration.vens(call.conn)]:
        text = f"a VEN of the name {name!r} exists; give that name yourself if this is its new certificate"
        raise Problem.field("ven_name", name, text, CONFLICT)
    return await _enrolled(call, name, whole)


async def _change(call: Call) -> Answer:
    body: ChangeBody = call.body
    ven_id = (await find(call.conn, call.path["ven"])).ven_id
    if body.lenient is not None:
        await registration.set_lenient(call.conn, ven_id, lenient=body.lenient)
    await api_signature.change(call.conn, ven_id, body)
    if body.poll_period_s is not None:
        await registration.set_poll_period(call.conn, ven_id, body.poll_period_s or None, call.now)
    return await _detail(call, ven_id)


async def _suspend(call: Call) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    if ven.suspended_at is None:
        await registration.suspend(call.conn, ven.ven_id, call.now)
    return await _detail(call, ven.ven_id)


async def _resume(call: Call) -> Answer:
    ven = await find(call.conn, call.path["ven"])
    await registration.resume(call.conn, ven.ven_id)
    return await _detail(call, ven.ven_id)


async def _cancel(call: Call) -> Answer:
    ven = await _registered(call)
    await registration.cancel(call.conn, ven.ven_id, call.now)
    return await _detail(call, ven.ven_id)


async def _register_again(call: Call) -> Answer:
    ven = await _registered(call)
    await registration.ask_to_register_again(call.conn, ven.ven_id, call.now)
    return await _detail(call, ven.ven_id)


async def _registered(call: Call) -> Ven:
    ven = await find(call.conn, call.path["ven"])
    if ven.registration_id is None:
        raise Problem(CONFLICT, f"the VEN {ven.ven_name!r} is not registered")
    return ven


ROUTES = (
    Route(
        method="GET",
        path="/vens",
        name="listVens",
        summary="All VENs that may register.",
        handle=_list,
        answer=VenList,
        query=VenQuery,
    ),
    Route(
        method="POST",
        path="/vens",
        name="enrolVen",
        summary="Allow a certificate to register as a VEN.",
        handle=_enrol,
        answer=VenDetail,
        body=EnrolBody,
        status=201,
        refusals=(409,),
        example={"ven_name": "harbour-cold-store", "fingerprint": EXAMPLE_FINGERPRINT},
    ),
    Route(
        method="GET",
        path="/vens/{ven}",
        name="showVen",
        summary="One VEN, its certificates, and what waits for it.",
        handle=_show,
        answer=VenDetail,
        passing=PASSING,
    ),
    Route(
        method="PATCH",
        path="/vens/{ven}",
        name="changeVen",
        summary="Set what holds for this VEN alone.",
        handle=_change,
        answer=VenDetail,
        body=ChangeBody,
        example={"poll_period_s": 60},
    ),
    Route(
        method="POST",
        path="/vens/{ven}/suspend",
        name="suspendVen",
        summary="Take no more messages of the VEN; its registration stays.",
        handle=_suspend,
        answer=VenDetail,
    ),
    Route(
        method="POST",
        path="/vens/{ven}/resume",
        name="resumeVen",
        summary="Take the messages of a suspended VEN again.",
        handle=_resume,
        answer=VenDetail,
    ),
    Route(
        method="POST",
        path="/vens/{ven}/cancel-registration",
        name="cancelRegistration",
        summary="End the VEN's registration: it is told at its next poll.",
        handle=_cancel,
        answer=VenDetail,
        status=202,
        refusals=(409,),
    ),
    Route(
        method="POST",
        path="/vens/{ven}/register-again",
        name="askToRegisterAgain",
        summary="Ask the VEN to send its registration again: it is told at its next poll.",
        handle=_register_again,
        answer=VenDetail,
        status=202,
        refusals=(409,),
    ),
    Route(
        method="DELETE",
        path="/vens/{ven}/certificates/{fingerprint}",
        name="withdrawCertificate",
        summary="Take one of the VEN's certificates no more.",
        handle=_withdraw,
        answer=VenDetail,
        refusals=(422,),
    ),
    Route(
        method="GET",
        path="/pending",
        name="listPending",
        summary="Clients of our authority that wait for approval.",
        handle=_pending,
        answer=StrangerList,
    ),
    Route(
        method="POST",
        path="/pending/{fingerprint}/approve",
        name="approvePending",
        summary="Enrol a client that waits; compare the fingerprint with its owner first.",
        handle=_approve,
        answer=VenDetail,
        body=ApproveBody,
        status=201,
        refusals=(409,),
        example={"ven_name": "mill-street-bakery"},
    ),
)
