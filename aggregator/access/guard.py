"""Whether a request is let in: the one place where that is decided, for pages and for the API alike.

In this order: a page of ours sent it (what changes anything), it is known who asks, the permission is
granted, and the second factor is fresh where the page asks for that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from aiohttp import hdrs

from aggregator.access.errors import RefusedError, StaleFormError
from aggregator.access.permission import SECOND_FACTOR, Permission
from aggregator.access.principal import Principal
from aggregator.access.secret import same

FRESH = timedelta(minutes=5)
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_FETCH_SITE = "Sec-Fetch-Site"


def of_our_form(given: object, expected: str) -> None:
    """StaleFormError (403) where it does not carry the token that our forms have in the session."""
    if not expected or not isinstance(given, str) or not same(given, expected):
        raise StaleFormError


def from_our_site(headers: Mapping[str, str], origins: Collection[str]) -> None:
    """RefusedError (403) where the request does not say that it comes from a page of ours."""
    site, origin = headers.get(_FETCH_SITE), headers.get(hdrs.ORIGIN)
    if site is not None and site != "same-origin":
        raise RefusedError(403, "this was sent by a page of another site")
    if origin is not None and origin not in origins:
        raise RefusedError(403, "this was sent by a page of another site")
    if site is None and origin is None:
        raise RefusedError(403, "this does not say which page it was sent by: Origin is missing")


def permitted(principal: Principal, permission: Permission) -> None:
    """RefusedError where the permission is not granted: 401 where signing in may help, 403 where not."""
    if principal.may(permission):
        return
    if not principal.signed_in:
        raise RefusedError(401, "sign in first", sign_in=True)
    text = f"your role does not have the permission {permission}"
    if lacks_factor(principal):
        text += " before your second factor is set up"
    raise RefusedError(403, text)


def lacks_factor(principal: Principal) -> bool:
    """Whether a second factor would give more permissions."""
    return (
        principal.role in SECOND_FACTOR and principal.session_id is not None and principal.factor_at is None
    )


def is_fresh(principal: Principal, now: datetime) -> bool:
    """Whether the second factor was given in the last minutes, or there is none; tokens never are fresh."""
    if principal.token_id is not None:
        return False
    return principal.factor_at is None or now - principal.factor_at < FRESH
