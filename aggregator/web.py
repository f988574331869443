"""What every request of a browser or over the API passes, and every answer.

Rules: nothing is served that is not a `Page` with a permission; each answer has the security headers, errors
too; what changes something was sent by a page of ours (or with a token of the API) and leaves a line in the
trail, allowed or not; a page's errors are pages, the API's are problem details.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from aggregator.access import cookie, guard, sign_in
from aggregator.access.action import ACTION, HIDDEN, Action, Outcome, form_hash, named_objects
from aggregator.access.errors import RefusedError, StaleFormError
from aggregator.access.permission import Permission
from aggregator.access.principal import NOBODY, Principal
from aggregator.access.secret import csrf_of
from aggregator.dashboard.page import Desk, Page, Renderer, Visit
from aggregator.web_errors import API, VISIT, Errors
from aggregator.web_listener import WebListener, security_headers
from aggregator.web_settings import WebSettings
from vtn.latency import Latencies

ACTIVE = "X-User-Active"  # a fragment that a person asked for, not the page by itself
BEARER = "Bearer "
CODE_FIELD = "code"
CONFIRM = "sign_in/confirm.html"
RESEND = "sign_in/resend.html"
_BEGAN = web.RequestKey("began", tuple[str, float])
_FORM, _UTF8 = "application/x-www-form-urlencoded", "utf-8"  # as our pages send them
_FORMS = frozenset({_FORM, "multipart/form-data"})  # as browsers can
Form = Mapping[str, Any]


class Web:
    """The dashboard's pages on their own port. `pages` are all that is served; `goodbye` is called before it
    closes: connections that stay open end then. `served` counts what is answered.
    """

    def __init__(
        self,
        settings: WebSettings,
        desk: Desk,
        pages: Sequence[Page],
        render: Renderer,
        goodbye: Callable[[], Awaitable[None]] | None = None,
        *,
        served: Latencies | None = None,
    ) -> None:
        settings.check()
        self.pages = tuple(pages)
        self._settings = settings
        self.desk = desk
        """What the pages know of the aggregator."""
        self._render = render
        self._goodbye = goodbye
        self._origins: frozenset[str] = frozenset()
        headers = security_headers(tls=not settings.insecure_dev)
        errors = Errors(self._visit)
        app = web.Application(middlewares=[errors.middleware()], client_max_size=settings.max_body_bytes)
        app.on_response_prepare.append(partial(_finish, headers))
        app.on_response_prepare.append(partial(_count, served or Latencies()))
        for page in pages:
            app.router.add_route(page.method, page.path, partial(self._serve, page))
        self._listener = WebListener(app, settings)

    @property
    def port(self) -> int:
        """The port that it got."""
        return self._listener.port

    @property
    def address(self) -> str:
        """How browsers reach it, without a slash at the end."""
        return self._settings.address(self.port)

    async def start(self) -> None:
        """Listen; StartupError says in one sentence what stands in the way."""
        await self._listener.open()
        self._origins = self._settings.origins(self.port)

    def reload(self) -> None:
        """Read the certificate again: new connections get it."""
        self._listener.reload()

    async def close(self) -> None:
        """Finish the requests under way and close."""
        if self._goodbye is not None:
            await self._goodbye()
        await self._listener.close()

    def _visit(self, request: web.Request, principal: Principal) -> Visit:
        return Visit(
            request=request,
            principal=principal,
            desk=self.desk,
            now=self.desk.clock(),
            render=self._render,
        )

    async def _serve(self, page: Page, request: web.Request) -> web.StreamResponse:
        """One request to a page: who asks, whether he may, and the page's own answer."""
        request[_BEGAN] = page.name, time.perf_counter()
        visit = request[VISIT] = self._visit(request, await self._who(page, request))
        if page.writes:
            return await self._change(page, visit)
        if request.headers.get(hdrs.UPGRADE):
            guard.from_our_site(request.headers, self._origins)  # browsers let any page open a WebSocket
        guard.permitted(visit.principal, page.permission)
        if page.fresh and not self._fresh(visit.principal):
            return visit.page(CONFIRM, 403, fields=(), action=request.path, wrong=False)
        return await page.handle(visit)

    async def _who(self, page: Page, request: web.Request) -> Principal:
        """Who asks: by a token of the API where the API is asked, else by the session."""
        bearer = request.headers.get(hdrs.AUTHORIZATION, "")
        if bearer and request.path.startswith(API):
            return await self.desk.access.by_token(bearer.removeprefix(BEARER))
        token = cookie.read(request.cookies, cookie.SESSION)
        if token:
            principal = await self.desk.access.by_session(token, active=_active(page, request))
            if principal.session_id is not None:
                return principal
        form = cookie.read(request.cookies, cookie.FORM)
        if not form and not page.writes:
            form = cookie.set_form(request)
        return replace(NOBODY, csrf=csrf_of(form) if form else "")

    async def _change(self, page: Page, visit: Visit) -> web.StreamResponse:
        """The answer to a request that changes something, with its line in the trail."""
        request = visit.request
        action = request[ACTION] = Action(
            what=page.name, principal=visit.principal, objects=named_objects(request.match_info)
        )
        form = await _form(request)
        action.form_sha256 = form_hash(action.action_id, form.items())
        try:
            self._ours(page, visit, form)
            guard.permitted(visit.principal, page.permission)
            confirmed = await self._confirmed(page, visit, form)
        except RefusedError as refused:
            await self._note(visit, Outcome.REFUSED, refused.text)
            if _is_worth_keeping(page, visit, refused):
                fields, sign_in_first = _typed(form), refused.sign_in
                return visit.page(
                    RESEND, refused.status, fields=fields, action=request.path_qs, sign_in=sign_in_first
                )
            raise
        if confirmed is None:
            await self._note(visit, Outcome.REFUSED, "the second factor was not fresh")
            return self._ask_again(visit, form)
        return await self._carry_out(page, confirmed)

    def _ours(self, page: Page, visit: Visit, form: Form) -> None:
        """RefusedError where a browser sent it for somebody else's page."""
        if visit.principal.token_id is not None:
            return  # no browser sends a token by itself
        guard.from_our_site(visit.request.headers, self._origins)
        if page.permission is not Permission.ANYBODY and not visit.principal.signed_in:
            raise RefusedError(401, "your session has ended: sign in again", sign_in=True)
        given = visit.request.headers.get(guard.CSRF_HEADER) or form.get(guard.CSRF_FIELD)
        guard.of_our_form(given, visit.principal.csrf)

    async def _carry_out(self, page: Page, visit: Visit) -> web.StreamResponse:
        try:
            answer = await page.handle(visit)
        except RefusedError as refused:
            await self._note(visit, Outcome.REFUSED, refused.text)
            raise
        except Exception as error:
            await self._note(visit, Outcome.FAILED, type(error).__name__)
            raise
        if answer.status < 400:
            await self._note(visit, Outcome.DONE, "")
        else:
            await self._note(visit, Outcome.FAILED, f"status {answer.status}")
        return answer

    async def _note(self, visit: Visit, outcome: Outcome, detail: str) -> None:
        """Write the line of the trail, unless the change itself has."""
        action = visit.request[ACTION]
        if action.is_due:
            async with self.desk.db.write() as conn:
                await action.record(conn, outcome, self.desk.clock(), detail)
            action.recorded = True

    def _fresh(self, principal: Principal) -> bool:
        return guard.is_fresh(principal, self.desk.access.clock())

    async def _confirmed(self, page: Page, visit: Visit, form: Form) -> Visit | None:
        """The visit with a second factor as fresh as the page asks for; None where there is none.

        A code in the form itself is taken, so that nobody loses what he typed.
        """
        principal, access = visit.principal, self.desk.access
        if not page.fresh or self._fresh(principal):
            return visit
        code = form.get(CODE_FIELD)
        found = await sign_in.confirm_again(access, principal, code if isinstance(code, str) else "")
        return None if found is None else replace(visit, principal=found)

    def _ask_again(self, visit: Visit, form: Form) -> web.StreamResponse:
        """A page that asks for the code and sends the same form again with it."""
        if visit.request.path.startswith(API):
            raise RefusedError(403, "this needs a second factor that was given in the last five minutes")
        wrong = bool(form.get(CODE_FIELD))
        return visit.page(CONFIRM, 403, fields=_typed(form), action=visit.request.path_qs, wrong=wrong)


def _active(page: Page, request: web.Request) -> bool:
    """Whether a person does something: pages that keep themselves up to date do not keep a session."""
    if page.writes or ACTIVE in request.headers:
        return True
    return "HX-Request" not in request.headers and hdrs.UPGRADE not in request.headers


def _is_worth_keeping(page: Page, visit: Visit, refused: RefusedError) -> bool:
    """Whether somebody whose session ended while he typed is to send the same form again."""
    ended = refused.sign_in or isinstance(refused, StaleFormError)
    plain = not visit.by_script and not visit.request.path.startswith(API)
    return ended and plain and page.permission is not Permission.ANYBODY


def _typed(form: Form) -> list[tuple[str, str]]:
    """What was typed, for a page that sends it again; never a password or a code."""
    return [(name, text) for name, text in form.items() if name not in HIDDEN and isinstance(text, str)]


async def _form(request: web.Request) -> Form:
    """The fields of a form; nothing of other bodies and of the API's, which handlers read themselves."""
    if request.content_type not in _FORMS or request.path.startswith(API):
        return {}
    if request.content_type != _FORM or (request.charset or _UTF8).lower() != _UTF8:
        raise RefusedError(400, f"a form is sent as {_FORM}, in {_UTF8}")
    try:
        return await request.post()
    except ValueError as error:
        raise RefusedError(400, "this form cannot be read") from error


async def _count(served: Latencies, request: web.Request, response: web.StreamResponse) -> None:
    """How long it took; what is no page of ours has no name."""
    name, began = request.get(_BEGAN) or ("", time.perf_counter())
    served.add((name, request.method if name else "", str(response.status)), time.perf_counter() - began)


async def _finish(headers: Mapping[str, str], request: web.Request, response: web.StreamResponse) -> None:
    """What every answer has, whoever made it."""
    for name, text in headers.items():
        response.headers[name] = text
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    cookie.give(request, response)
