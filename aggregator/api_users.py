"""Operations for users: who there is, invitations, roles, and the end of what somebody has open.

Every change asks for a fresh second factor, as on the page, so no token makes one: a token with the scope
`user:admin` reads. A link is in the answer alone: it is not kept for a repeat with the same key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from aggregator.access import administration, api_token, identity, session
from aggregator.access import user as users
from aggregator.access.errors import FieldError
from aggregator.access.identity import Identity
from aggregator.access.permission import Permission, Role
from aggregator.access.user import User
from aggregator.dashboard.operation import DeskCall, Operation
from aggregator.dashboard.users import MOST_VENS, home_as_typed, link_of
from vtn.api_route import Answer, At, Body, Id, Query, Route
from vtn.problem import CONFLICT, UNKNOWN, Problem

_FIELDS = {"scope": "ven_ids"}  # the fields of our bodies by the names of errors


class UserView(Answer):
    """One user; nothing that opens anything is in it."""

    user_id: str
    name: str
    role: Role
    created_at: At
    ven_ids: list[str] = Field(description="The VENs that a prosumer's account is for.")
    home: str | None = Field(description="The home behind them.")
    has_password: bool = Field(description="False until the one-time link was used.")
    has_second_factor: bool
    suspended_at: At | None
    withdrawn_at: At | None = Field(description="Since when the identity provider gives no role.")
    linked: bool = Field(description="Whether an account at the identity provider signs in as this user.")


class IdentityView(Answer):
    """An account at the identity provider."""

    issuer: str
    claim: str
    subject: str


class UserFullView(UserView):
    """One user, and what is open."""

    sessions: int = Field(description="Sessions that are open now.")
    tokens: int = Field(description="Tokens of the API that open something now.")
    identity: IdentityView | None


class LinkView(Answer):
    """A one-time link, valid for 24 hours. It is shown here and never again."""

    user: UserFullView
    link: str


class UserPage(Answer):
    """Users by name; `next` is `after` of the next page."""

    users: list[UserView]
    next: str | None


class UserQuery(Query):
    """Which users are listed."""

    limit: int = Field(default=100, ge=1, le=1000)
    after: str = Field(
        default="",
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="Name of the last one of the page before.",
    )


class RoleBody(Body):
    """What somebody is. VENs and a home are a prosumer's alone."""

    role: str = Field(description=f"`{'`, `'.join(Role)}`.")
    ven_ids: Annotated[list[Id], Field(max_length=MOST_VENS)] = Field(
        default=[], description="Ids of the VENs that a prosumer's account is for."
    )
    home: str = Field(default="", description="The home behind them: the data point of its meter.")


class InviteBody(RoleBody):
    """Somebody new."""

    name: str = Field(description="What this person signs in with: at most 64 letters.")


class LinkBody(Body):
    """What the link is for."""

    reset_factor: bool = Field(default=False, description="Whether the second factor is set up anew too.")


class IdentityBody(Body):
    """The account at the identity provider of the settings."""

    subject: str = Field(description="What the provider's claim says of this person.")


async def _list(call: DeskCall) -> Answer:
    query: UserQuery = call.query
    found = await users.page(call.conn, query.limit + 1, query.after)
    linked = await identity.linked(call.conn)
    listed = [_view(user, user.user_id in linked) for user in found[: query.limit]]
    return UserPage(users=listed, next=listed[-1].name if len(found) > query.limit else None)


def _view(user: User, linked: bool) -> UserView:
    return UserView.model_validate(_values(user, linked))


def _values(user: User, linked: bool) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "name": user.name,
        "role": user.role,
        "created_at": user.created_at,
        "ven_ids": sorted(user.scope or ()),
        "home": user.home,
        "has_password": user.password is not None,
        "has_second_factor": user.has_factor,
        "suspended_at": user.suspended_at,
        "withdrawn_at": user.withdrawn_at,
        "linked": linked,
    }


async def _show(call: DeskCall) -> UserFullView:
    return await _full(call, call.path["user_id"])


async def _full(call: DeskCall, user_id: str) -> UserFullView:
    now = call.desk.access.clock()
    user = await administration.known(call.conn, user_id)
    account = await identity.of_user(call.conn, user_id)
    standing = [one for one in await api_token.tokens(call.conn, user_id) if one.stands(now)]
    return UserFullView(
        **_values(user, account is not None),
        sessions=len(await session.standing(call.conn, user_id, now)),
        tokens=len(standing),
        identity=None
        if account is None
        else IdentityView(issuer=account.issuer, claim=account.claim, subject=account.subject),
    )


async def _invite(call: DeskCall) -> Answer:
    body: InviteBody = call.body
    with _named(call):
        user, token = await administration.invite(
            call.conn,
            body.name,
            administration.role_of(body.role),
            call.desk.access.clock(),
            ven_ids=body.ven_ids,
            home=home_as_typed(body.home),
        )
    call.visit.about(f"user_id={user.user_id}")
    return LinkView(user=await _full(call, user.user_id), link=link_of(call.visit, token))


async def _link(call: DeskCall) -> Answer:
    user, now = await _user(call), call.desk.access.clock()
    with _named(call):
        token = await administration.new_link(call.conn, user, now, reset_factor=call.body.reset_factor)
    return LinkView(user=await _show(call), link=link_of(call.visit, token))


async def _role(call: DeskCall) -> Answer:
    body, user, now = call.body, await _user(call), call.desk.access.clock()
    with _named(call):
        role = administration.role_of(body.role)
        await administration.set_role(
            call.conn, user, role, now, ven_ids=dict.fromkeys(body.ven_ids), home=home_as_typed(body.home)
        )
    return await _show(call)


async def _identify(call: DeskCall) -> Answer:
    user, now, provider = await _user(call), call.desk.access.clock(), call.desk.access.provider
    if provider is None:
        raise Problem(UNKNOWN, "there is no identity provider in the settings")
    known = provider.settings
    with _named(call):
        who = Identity(known.issuer, known.user_claim, call.body.subject.strip())
        await administration.link_identity(call.conn, user, who, now)
    return await _show(call)


async def _forget_identity(call: DeskCall) -> Answer:
    await administration.unlink_identity(call.conn, await _user(call), call.desk.access.clock())
    return await _show(call)


async def _suspend(call: DeskCall) -> Answer:
    with _named(call):
        await administration.suspend(call.conn, await _user(call), call.desk.access.clock())
    return await _show(call)


async def _let_in(call: DeskCall) -> Answer:
    await administration.let_in(call.conn, await _user(call))
    return await _show(call)


async def _revoke(call: DeskCall) -> Answer:
    await administration.revoke(call.conn, await _user(call), call.desk.access.clock())
    return await _show(call)


async def _user(call: DeskCall) -> User:
    return await administration.known(call.conn, call.path["user_id"])


@contextmanager
def _named(call: DeskCall) -> Iterator[None]:
    """What cannot be taken is named with its value; what stands against the user as he is, is a conflict."""
    try:
        yield
    except FieldError as error:
        if error.field == "user":
            raise Problem.field("user_id", call.path["user_id"], error.text, CONFLICT) from error
        field = _FIELDS.get(error.field, error.field)
        raise Problem.field(field, getattr(call.body, field), error.text) from error


Handle = Callable[[DeskCall], Awaitable[Answer]]


def _change(method: str, path: str, name: str, summary: str, handle: Handle, **more: Any) -> Operation:
    """A change: it asks for a fresh second factor. `more` is of its route."""
    values: dict[str, Any] = {"answer": UserFullView, "parameters": _PARAMETERS, **more}
    route = Route(method=method, path=path, name=name, summary=summary, handle=handle, **values)
    secret = route.answer is LinkView
    return Operation(route=route, permission=Permission.USER_ADMIN, fresh=True, secret=secret)


_PARAMETERS = {"user_id": "Id of the user."}
_ONE = "/users/{user_id}"

OPERATIONS = (
    Operation(
        route=Route(
            method="GET",
            path="/users",
            name="listUsers",
            summary="Users by name.",
            handle=_list,
            answer=UserPage,
            query=UserQuery,
        ),
        permission=Permission.USER_ADMIN,
    ),
    Operation(
        route=Route(
            method="GET",
            path=_ONE,
            name="showUser",
            summary="One user, and what is open.",
            handle=_show,
            answer=UserFullView,
            parameters=_PARAMETERS,
            passing=("sessions", "tokens"),
        ),
        permission=Permission.USER_ADMIN,
    ),
    _change(
        "POST",
        "/users",
        "inviteUser",
        "Invite somebody: the link by which a password is set is in the answer alone.",
        _invite,
        body=InviteBody,
        example={"name": "Ben", "role": "operator"},
        answer=LinkView,
        status=201,
    ),
    _change(
        "POST",
        f"{_ONE}/link",
        "makeLink",
        "Another link, where a password or a telephone is lost.",
        _link,
        body=LinkBody,
        example={"reset_factor": True},
        answer=LinkView,
    ),
    _change(
        "PUT",
        f"{_ONE}/role",
        "changeRole",
        "Another role; all sessions end.",
        _role,
        body=RoleBody,
        example={"role": "prosumer", "ven_ids": ["ven-1"], "home": "home-01"},
    ),
    _change(
        "PUT",
        f"{_ONE}/identity",
        "linkIdentity",
        "An account at the identity provider signs in as this user; what was open ends.",
        _identify,
        body=IdentityBody,
        example={"subject": "2f6c1d80"},
    ),
    _change(
        "DELETE",
        f"{_ONE}/identity",
        "unlinkIdentity",
        "No account at a provider signs in as this user any more; what was open ends.",
        _forget_identity,
    ),
    _change("POST", f"{_ONE}/suspend", "suspendUser", "Let the user in no more, from now on.", _suspend),
    _change("POST", f"{_ONE}/let-in", "letUserIn", "Let the user sign in again.", _let_in),
    _change("POST", f"{_ONE}/revoke", "endSessions", "End sessions, links and tokens.", _revoke),
)
