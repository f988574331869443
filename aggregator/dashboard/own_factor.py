"""One's own second factor: set up with a telephone, recovery codes, given up where the role allows it."""

from __future__ import annotations

import segno
from aiohttp import hdrs, web

from aggregator.access import cookie, guard, second_factor, session, sign_in
from aggregator.access.errors import FieldError, RefusedError
from aggregator.access.permission import SECOND_FACTOR, Permission
from aggregator.access.second_factor import Enrolment
from aggregator.access.user import User
from aggregator.dashboard.account import own, text
from aggregator.dashboard.page import Page, Visit

SCREEN = "account/factor.html"
CODES = "account/recovery.html"
PATH = "/account/factor"
BEGIN_AGAIN = "the second factor was begun too long ago, or elsewhere: begin again"


async def screen(visit: Visit) -> web.StreamResponse:
    """How it stands, or the picture for the telephone while it is being set up."""
    return await _screen(visit)


async def begin(visit: Visit) -> web.StreamResponse:
    """Set one up, or another one in place of the telephone before."""
    user = await own(visit)
    async with visit.write() as conn:
        access, here = visit.desk.access, visit.principal.session_id or ""
        await second_factor.enrol(conn, user, access.sealing, access.clock(), here)
    return visit.seen_next(PATH)


async def prove(visit: Visit) -> web.StreamResponse:
    """The first code of the telephone: it counts from now on, and other sessions end."""
    sent, user, access = await visit.request.post(), await own(visit), visit.desk.access
    here, now = visit.principal.session_id or "", access.clock()
    if _waiting(visit, user) is None:
        raise RefusedError(409, BEGIN_AGAIN)
    await sign_in.count_factor(access, user.user_id)
    try:
        async with visit.write() as conn:
            codes = await second_factor.prove(
                conn, user, text(sent, "code"), now, access.sealing, session_id=here
            )
            await sign_in.forgive_factor(conn, user.user_id)
            await session.end(conn, user.user_id, now, but=here)
            token = await session.rotate(conn, here, now, now)
    except FieldError as error:
        return await _screen(visit, error.text)
    cookie.set_session(visit.request, token)
    return visit.page(CODES, codes=codes)


async def renew_codes(visit: Visit) -> web.StreamResponse:
    """Ten new recovery codes in place of those before."""
    user = await own(visit)
    if not user.has_factor:
        return visit.seen_next(PATH)
    async with visit.write() as conn:
        codes = await second_factor.renew_recovery(conn, user.user_id)
    return visit.page(CODES, codes=codes)


async def give_up(visit: Visit) -> web.StreamResponse:
    """Sign in with the password alone from now on, where the role allows it."""
    user = await own(visit)
    if user.role in SECOND_FACTOR:
        raise RefusedError(403, f"the role {user.role} needs a second factor")
    here, now = visit.principal.session_id or "", visit.desk.access.clock()
    async with visit.write() as conn:
        await second_factor.forget(conn, user.user_id)
        await session.end(conn, user.user_id, now, but=here)
        token = await session.rotate(conn, here, now, None)
    cookie.set_session(visit.request, token)
    return visit.seen_next(PATH)


async def _screen(visit: Visit, error: str = "") -> web.StreamResponse:
    user = await own(visit)
    shown = _waiting(visit, user)
    return visit.page(
        SCREEN,
        422 if error else 200,
        user=user,
        needed=user.role in SECOND_FACTOR,
        enrolment=shown,
        picture=_picture(shown) if shown else "",
        error=error,
    )


def _waiting(visit: Visit, user: User) -> Enrolment | None:
    """What is being set up in the session; None also where a factor is there and was not given just now,
    for the browser may have been left alone.
    """
    access, principal = visit.desk.access, visit.principal
    now = access.clock()
    if user.has_factor and not guard.is_fresh(principal, now):
        return None
    return second_factor.pending(user, access.sealing, now, principal.session_id or "")


def _picture(shown: Enrolment) -> str:
    """The QR code as an image within the page."""
    return segno.make(shown.uri, error="m").svg_data_uri(scale=5, border=3, dark="#000", light="#fff")


_GET, _POST, _OWN = hdrs.METH_GET, hdrs.METH_POST, Permission.OWN_ACCOUNT
PAGES = (
    Page(method=_GET, path=PATH, name="own second factor", permission=_OWN, handle=screen),
    Page(
        method=_POST,
        path=f"{PATH}/begin",
        name="begin second factor",
        permission=_OWN,
        handle=begin,
        fresh=True,
    ),
    Page(method=_POST, path=f"{PATH}/prove", name="set second factor", permission=_OWN, handle=prove),
    Page(
        method=_POST,
        path=f"{PATH}/codes",
        name="renew recovery codes",
        permission=_OWN,
        handle=renew_codes,
        fresh=True,
    ),
    Page(
        method=_POST,
        path=f"{PATH}/give-up",
        name="give up second factor",
        permission=_OWN,
        handle=give_up,
        fresh=True,
    ),
)
