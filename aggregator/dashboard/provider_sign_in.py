"""Signing in at the identity provider: the way there, and what becomes of who comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import hdrs, web

from aggregator.access import administration, cookie, relying_party, throttle
from aggregator.access.action import ACTION, Action, Outcome
from aggregator.access.errors import OutOfReachError, ProviderError, RefusedError
from aggregator.access.id_token import subject_of
from aggregator.access.identity import Identity
from aggregator.access.permission import Permission
from aggregator.access.principal import Principal
from aggregator.access.provider import Provider
from aggregator.access.relying_party import Arrival, Flow, KnownError, SignedIn, StrangerError
from aggregator.access.user import User
from aggregator.dashboard.account import text
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.sign_in import browser, end_session_before, form_page, page_asked_for, way_on

log = structlog.get_logger(__name__)

WHAT = "sign in at the provider"
PATH, RETURN = "/login/provider", "/login/provider/return"
AWAY = "sign_in/away.html"
KEPT_BACK = "sign_in/kept_back.html"
GIVEN_UP = "you were not signed in at the identity provider"
LONGEST_CODE = 4096


async def begin(visit: Visit) -> web.StreamResponse:
    """Send the browser to the provider. By a page and not by a redirect: our policy keeps forms with us."""
    provider, access = _provider(visit), visit.desk.access
    sent = await visit.request.post()
    flow = Flow.begin(access.clock(), then=page_asked_for(sent), link=text(sent, "link")[: cookie.LONGEST])
    try:
        address = await provider.address(
            redirect=_return_address(visit), state=flow.state, nonce=flow.nonce, challenge=flow.challenge
        )
    except ProviderError as error:
        log.warning("the identity provider cannot be used", error=str(error))
        return form_page(visit, flow.then, 503, error=error.text)
    cookie.set_flow(visit.request, flow.sealed(access.sealing))
    return visit.page(AWAY, address=address, provider=provider.settings.name)


async def finish(visit: Visit) -> web.StreamResponse:
    """The browser is back, by way of another site: its session begins, or the sign-in page says why not."""
    provider, then = _provider(visit), ""
    kept = cookie.read(visit.request.cookies, cookie.FLOW)
    cookie.set_flow(visit.request, "")
    asked = visit.request.query
    try:
        flow = relying_party.returned(
            kept, asked.get("state", ""), visit.desk.access.sealing, visit.desk.access.clock()
        )
        then = flow.then
        arrival = await _arrival(visit, provider, flow, asked)
        signed_in = await _come_in(visit, provider, arrival)
    except ProviderError as error:
        log.warning("a sign-in at the identity provider failed", error=str(error))
        return form_page(visit, then, 403, error=error.text)
    except RefusedError as refused:
        log.warning("a sign-in failed", user="by provider", address=browser(visit.request).address)
        if isinstance(refused, KnownError):
            await _keep_out(visit, refused)
        subject = refused.subject if isinstance(refused, StrangerError) else ""
        waits = refused.retry_after_s
        return form_page(
            visit, then, refused.status, error=refused.text, subject=subject, retry_after_s=waits
        )
    cookie.set_session(visit.request, signed_in.token)
    way, kept_back = way_on(visit, signed_in.user, then), signed_in.role_not_given
    if kept_back is not None:
        log.warning(
            "a role of the provider needs a second factor or an admin",
            user=signed_in.user.user_id,
            role=str(kept_back),
        )
        return visit.page(KEPT_BACK, address=way, role=kept_back)
    return visit.page(AWAY, address=way, provider="")


async def _arrival(visit: Visit, provider: Provider, flow: Flow, asked: Mapping[str, str]) -> Arrival:
    """Who came back, as the provider says; a try that counts for the browser's address until it was right."""
    access, agent = visit.desk.access, browser(visit.request)
    key = throttle.of_provider(agent.address)
    async with access.db.write() as conn:
        await throttle.count(conn, (key,), access.clock())
    try:
        claims = await _claims(visit, provider, flow, asked)
    except OutOfReachError:
        async with access.db.write() as conn:
            await throttle.take_back(conn, key)
        raise
    settings = provider.settings
    who = Identity(settings.issuer, settings.user_claim, subject_of(claims, settings.user_claim))
    async with access.db.write() as conn:
        await throttle.take_back(conn, key)
    return Arrival(flow=flow, who=who, claims=claims, agent=agent.agent)


async def _claims(
    visit: Visit, provider: Provider, flow: Flow, asked: Mapping[str, str]
) -> Mapping[str, Any]:
    """What the provider says of who came back."""
    await provider.check_issuer(asked.get("iss"))
    code = asked.get("code", "")
    if not code or "error" in asked or len(code) > LONGEST_CODE:
        raise ProviderError(GIVEN_UP, f"the answer was the error {asked.get('error', 'no code')!r:.100}")
    return await provider.claims(
        code=code, redirect=_return_address(visit), verifier=flow.verifier, nonce=flow.nonce
    )


async def _come_in(visit: Visit, provider: Provider, arrival: Arrival) -> SignedIn:
    """The session, with its line in the trail: this page is asked for with GET, and changes something."""
    action = visit.request[ACTION] = Action(what=WHAT, principal=Principal())
    async with visit.write() as conn:
        found = await relying_party.come_in(visit.desk.access, conn, provider.settings, arrival)
        action.principal = _named(found.user)
        await end_session_before(visit, conn)
        if found.role_before is not None:
            action.reason = f"the provider made {found.role_before} {found.user.role}"
        if found.role_not_given is not None:
            action.reason = f"{found.role_not_given} by the provider needs a second factor or an admin"
    return found


async def _keep_out(visit: Visit, refused: KnownError) -> None:
    """The line in the trail of a user who is not let in, and what follows where he has no role any more."""
    async with visit.desk.db.write() as conn:
        if refused.has_no_role:
            await administration.withdraw_role(conn, refused.user, visit.desk.access.clock())
        action = Action(what=WHAT, principal=_named(refused.user))
        await action.record(conn, Outcome.REFUSED, visit.now, refused.text)


def _named(user: User) -> Principal:
    """Who signs in, for the trail: not whose session the browser had before."""
    return Principal(user_id=user.user_id, role=user.role)


def _return_address(visit: Visit) -> str:
    return visit.desk.access.address() + RETURN


def _provider(visit: Visit) -> Provider:
    provider = visit.desk.access.provider
    if provider is None:
        raise RefusedError(404, "there is no identity provider in the settings")
    return provider


_GET, _POST, _ANYBODY = hdrs.METH_GET, hdrs.METH_POST, Permission.ANYBODY
PAGES = (
    Page(method=_POST, path=PATH, name="go to the provider", permission=_ANYBODY, handle=begin),
    Page(method=_GET, path=RETURN, name="return of the provider", permission=_ANYBODY, handle=finish),
)
