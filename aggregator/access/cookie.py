"""The cookies: one of the session, one of a browser that has none yet, for the token of its forms, and one of
a browser that went to an identity provider, by which it is known again.

All are of this host alone and for no script. Another site never sends the first two along; the third comes
back by way of another site, once, within ten minutes. Browsers take such cookies of http://127.0.0.1 too.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from aggregator.access.secret import new_token

SESSION = "__Host-flexpact"
FORM = "__Host-flexpact-form"
FLOW = "__Host-flexpact-oidc"
LONGEST = 128
LONGEST_FLOW = 3800  # browsers keep 4096 bytes
FLOW_S = 600
_GIVEN = web.RequestKey("cookies", dict[str, str])


def read(cookies: Mapping[str, str], name: str) -> str:
    """The cookie's text; empty where there is none that can be ours."""
    text = cookies.get(name, "")
    longest = LONGEST_FLOW if name == FLOW else LONGEST
    return text if len(text) <= longest and text.isascii() else ""


def set_session(request: web.Request, token: str) -> None:
    """From this answer on the browser is in the session; an empty text ends that."""
    request.setdefault(_GIVEN, {})[SESSION] = token


def set_form(request: web.Request) -> str:
    """A token for the forms of a browser without a session, sent along with this answer."""
    token = new_token()
    request.setdefault(_GIVEN, {})[FORM] = token
    return token


def set_flow(request: web.Request, text: str) -> None:
    """The browser goes to an identity provider with this; an empty text ends that."""
    request.setdefault(_GIVEN, {})[FLOW] = text


def give(request: web.Request, response: web.StreamResponse) -> None:
    """Put what was set into the answer."""
    for name, token in request.get(_GIVEN, {}).items():
        site, age = ("Lax", f"; Max-Age={FLOW_S}") if name == FLOW else ("Strict", "")
        age = age if token else "; Max-Age=0"
        response.headers.add("Set-Cookie", f"{name}={token}; Path=/; Secure; HttpOnly; SameSite={site}{age}")
