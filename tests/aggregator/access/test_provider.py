"""Signing in at an identity provider: who comes in, as whom, and with which role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog

from aggregator.access import cookie, identity
from aggregator.access import user as users
from aggregator.access.identity import Identity
from aggregator.access.permission import Role
from tests.aggregator.access.conftest import House
from tests.aggregator.access.identity_provider import (
    SECRET,
    IdentityProvider,
    running_provider,
)
from tests.aggregator.access.people import NOW, PASSWORD
from tests.aggregator.access.provider_visit import (
    back,
    come_back,
    go,
    joined,
    linked,
    onward,
    sign_in,
    user_of,
)
from tests.aggregator.access.test_session import enter, set_password
from tests.aggregator.access.test_tokens import make
from tests.aggregator.access.test_trail import entries


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider at which sub-4711 is signed in."""
    async with running_provider(lambda: NOW) as running:
        yield running


@pytest.fixture
async def house(state: Path, provider: IdentityProvider) -> AsyncIterator[House]:
    """A dashboard with the provider."""
    async with joined(state, provider) as opened:
        yield opened


async def test_a_linked_account_comes_in_and_lands_where_it_wanted_to(
    house: House, provider: IdentityProvider
) -> None:
    ada = await linked(house, provider)
    person, address = await go(house, next="/account/tokens")
    asked = {name: texts[0] for name, texts in parse_qs(urlsplit(address).query).items()}
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert asked["redirect_uri"] == f"{house.address}/login/provider/return"
    answer = await come_back(house, person, await back(house, person, address))
    assert (answer.status, onward(answer)) == (200, "/account/tokens")
    assert (await person.get("/account")).status == 200
    (entry,) = await entries(house)
    assert (entry.who, entry.what, entry.outcome) == (ada.user_id, "sign in at the provider", "done")


@pytest.mark.goal(26)
async def test_its_cookie_comes_back_by_another_site_once_and_ends_with_the_answer(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    person = house.stranger()
    await person.get("/login")
    gone = await person.post("/login/provider")
    (kept,) = [text for text in gone.set_cookies if text.startswith(f"{cookie.FLOW}=")]
    assert kept.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"]
    answer = await come_back(house, person, await back(house, person, onward(gone)))
    attributes = {text.partition("=")[0]: text for text in answer.set_cookies}
    assert attributes[cookie.FLOW].endswith("Max-Age=0")
    assert attributes[cookie.SESSION].endswith("SameSite=Strict")


async def test_the_second_factor_is_asked_for_as_after_a_password(
    house: House, provider: IdentityProvider
) -> None:
    ada = await linked(house, provider, Role.OPERATOR)
    person, answer = await sign_in(house, next="/nodes")
    assert onward(answer) == "/login/factor?next=%2Fnodes"
    assert (await person.get("/")).headers["Location"].startswith("/login?next=")
    answer = await person.post("/login/factor", {"code": ada.code(house.wall.now), "next": "/nodes"})
    assert (answer.status, answer.headers["Location"]) == (303, "/nodes")


async def test_an_account_that_is_linked_to_nobody_is_told_what_to_give_an_admin(
    house: House, provider: IdentityProvider
) -> None:
    same_name = await house.person(Role.ADMIN, name="ada@example.org")
    await house.give_password(same_name)
    provider.more = {"email": "ada@example.org", "email_verified": True, "preferred_username": "Ada"}
    person, answer = await sign_in(house)
    assert (answer.status, '<code id="subject">sub-4711</code>' in answer.text) == (403, True)
    assert cookie.SESSION not in person.jar
    admin = await house.person(Role.ADMIN)
    ben = await house.person(Role.VIEWER)
    linked_now = await admin.post(f"/users/{ben.user_id}/identity", {"subject": provider.subject})
    assert linked_now.status == 303
    assert '<code id="linked">sub-4711</code>' in (await admin.get(f"/users/{ben.user_id}")).text
    assert onward((await sign_in(house))[1]) == "/"
    (entry, *_) = await entries(house, "sign in at the provider")
    assert entry.who == ben.user_id


async def test_an_admin_cannot_link_one_account_to_two_users_and_can_take_it_back(
    house: House, provider: IdentityProvider
) -> None:
    ada, admin = await linked(house, provider), await house.person(Role.ADMIN)
    ben = await house.person(Role.VIEWER)
    for subject, why in (
        (provider.subject, "signs in as another user already"),
        ("a\u202eb", "cannot be seen"),
    ):
        refused = await admin.post(f"/users/{ben.user_id}/identity", {"subject": subject})
        assert (refused.status, why in refused.text) == (422, True)
        assert f'value="{subject}"' in refused.text
    person, _ = await sign_in(house)
    assert (await admin.post(f"/users/{ada.user_id}/identity/end")).status == 303
    assert (await person.get("/account")).status == 303  # what was open ends
    assert (await sign_in(house))[1].status == 403


@pytest.mark.parametrize("form", [{"subject": "sub-2"}, {}], ids=["link", "unlink"])
async def test_another_account_or_none_ends_sessions_tokens_and_links(
    house: House, provider: IdentityProvider, form: dict[str, str]
) -> None:
    ada, admin = await linked(house, provider), await house.person(Role.ADMIN)
    bearer = {"Authorization": f"Bearer {await make(house, ada)}"}
    page = (await admin.post(f"/users/{ada.user_id}/link")).text
    path = "/link/" + page.split("/link/")[1].split("<")[0]
    end = "" if form else "/end"
    assert (await admin.post(f"/users/{ada.user_id}/identity{end}", form)).status == 303
    assert (await ada.get("/account")).status == 303
    assert (await house.stranger().get("/api/v1/nodes", **bearer)).status == 401
    assert (await house.stranger().get(path)).status == 410


async def test_a_one_time_link_links_the_account_and_is_used_up(
    house: House, provider: IdentityProvider
) -> None:
    admin = await house.person(Role.ADMIN)
    page = (await admin.post("/users", {"name": "Cleo", "role": "auditor"})).text
    token = page.split("/link/")[1].split("<")[0]
    person = house.stranger()
    assert "Sign in from now on with Grid login" in (await person.get(f"/link/{token}")).text
    _, address = await go(house, person, link=token)
    answer = await come_back(house, person, await back(house, person, address))
    assert onward(answer) == "/auditor"
    assert (await house.stranger().get(f"/link/{token}")).status == 410
    assert onward((await sign_in(house))[1]) == "/auditor"
    assert "can sign in" in (await admin.get("/users")).text


async def test_a_link_of_somebody_else_does_not_move_a_linked_account(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    admin = await house.person(Role.ADMIN)
    page = (await admin.post("/users", {"name": "Eve", "role": "operator"})).text
    person, token = house.stranger(), page.split("/link/")[1].split("<")[0]
    await person.get(f"/link/{token}")
    _, address = await go(house, person, link=token)
    answer = await come_back(house, person, await back(house, person, address))
    assert (answer.status, "signs in as another user already" in answer.text) == (403, True)
    assert (await house.stranger().get(f"/link/{token}")).status == 200  # and the link stands


async def test_the_first_admin_has_a_password(house: House, provider: IdentityProvider) -> None:
    path = (house.settings.state / "first-login.txt").read_text().strip().removeprefix(house.address)
    person = house.stranger()
    assert "Sign in from now on" not in (await person.get(path)).text
    _, address = await go(house, person, link=path.removeprefix("/link/"))
    answer = await come_back(house, person, await back(house, person, address))
    assert (answer.status, "the first admin sets a password" in answer.text) == (403, True)


async def test_who_is_suspended_does_not_come_in(house: House, provider: IdentityProvider) -> None:
    ada = await linked(house, provider)
    async with house.access.db.write() as conn:
        await users.change(conn, ada.user_id, suspended_at=house.wall.now)
    person, answer = await sign_in(house)
    assert (answer.status, "may not sign in" in answer.text) == (403, True)
    assert cookie.SESSION not in person.jar


async def test_it_leads_to_no_other_site(house: House, provider: IdentityProvider) -> None:
    await linked(house, provider)
    for then in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"):
        assert onward((await sign_in(house, next=then))[1]) == "/", then


@pytest.mark.goal(29)
async def test_failures_slow_the_address_down_and_a_right_one_takes_its_count_back(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    for _ in range(12):
        assert (await sign_in(house))[1].status == 200
    provider.more = {"nonce": "another"}
    for _ in range(10):
        assert (await sign_in(house))[1].status == 403
    answer = (await sign_in(house))[1]
    assert (answer.status, answer.headers["Retry-After"]) == (429, "31")
    assert "too many tries failed" in answer.text
    await house.give_password(await house.person(Role.ADMIN, name="Root"))
    assert (await enter(house, name="Root"))[1].status == 303  # passwords of this address are not slowed


async def test_trouble_of_the_provider_slows_nobody_down(house: House, provider: IdentityProvider) -> None:
    await linked(house, provider)
    for _ in range(11):
        person, address = await go(house)
        path = await back(house, person, address)
        provider.down = True
        assert (await come_back(house, person, path)).status == 403
        provider.down = False
        house.wall.pass_by(seconds=1)
    assert (await sign_in(house))[1].status == 200


async def test_a_mapped_claim_gives_the_role_at_each_sign_in(state: Path, provider: IdentityProvider) -> None:
    roles = {"dr-auditors": "auditor", "dr-viewers": "viewer"}
    async with joined(state, provider, role_claim="groups", roles=roles) as house:
        ada = await linked(house, provider)
        before = ada.jar[cookie.SESSION]
        provider.more = {"groups": ["staff", "dr-viewers", "dr-auditors"]}
        assert onward((await sign_in(house))[1]) == "/auditor"
        assert (await user_of(house, ada.user_id)).role is Role.AUDITOR
        ada.jar[cookie.SESSION] = before
        assert (await ada.get("/account")).status == 303  # with other rights, whatever was open ends
        (entry,) = await entries(house)
        assert entry.detail == "the provider made viewer auditor"
        for groups in (["staff"], [], None, {"dr-viewers": 1}):
            provider.more = {"groups": groups}
            _, answer = await sign_in(house)
            assert (answer.status, "gives you no role here" in answer.text) == (403, True)


async def test_who_loses_his_role_at_the_provider_loses_all_that_is_open_here(
    state: Path, provider: IdentityProvider
) -> None:
    async with joined(state, provider, role_claim="groups", roles={"all": "viewer"}) as house:
        ada = await linked(house, provider)
        await house.give_password(ada)
        bearer = {"Authorization": f"Bearer {await make(house, ada)}"}
        provider.more = {"groups": ["staff"]}
        assert (await ada.get("/account")).status == 200
        assert (await ada.get("/api/v1/nodes", **bearer)).status == 200
        assert "gives you no role here" in (await sign_in(house))[1].text
        assert (await ada.get("/account")).status == 303
        assert (await house.stranger().get("/api/v1/nodes", **bearer)).status == 401
        assert "name or password is not right" in (await enter(house, name="Ada"))[1].text
        (entry,) = await entries(house, "sign in at the provider")
        assert (entry.who, entry.role, entry.outcome) == (ada.user_id, "viewer", "refused")
        provider.more = {"groups": "all"}
        assert onward((await sign_in(house))[1]) == "/"
        assert (await enter(house, name="Ada"))[1].status == 303
        provider.more = {}
        await sign_in(house)
        admin = await house.person(Role.ADMIN)
        assert "the identity provider gives no role" in (await admin.get("/users")).text
        await admin.post(f"/users/{ada.user_id}/role", {"role": "viewer"})
        assert (await enter(house, name="Ada"))[1].status == 303


async def test_a_claim_raises_nobody_without_a_second_factor_to_a_role_that_needs_one(
    state: Path, provider: IdentityProvider
) -> None:
    async with joined(state, provider, role_claim="groups", roles={"root": "admin"}) as house:
        ada = await linked(house, provider)
        provider.more = {"groups": "root"}
        person, answer = await sign_in(house)
        assert (answer.status, "an admin who gives it to you" in answer.text) == (200, True)
        assert (await user_of(house, ada.user_id)).role is Role.VIEWER
        assert (await person.get("/users")).status == 403
        (entry,) = await entries(house, "sign in at the provider")
        assert entry.detail == "admin by the provider needs a second factor or an admin"
        admin = await house.person(Role.ADMIN)
        await admin.post(f"/users/{ada.user_id}/role", {"role": "admin"})
        assert onward((await sign_in(house))[1]) == "/account/factor"
        eve = await house.person(Role.VIEWER, factor=True)
        await admin.post(f"/users/{ada.user_id}/identity/end")
        await admin.post(f"/users/{eve.user_id}/identity", {"subject": provider.subject})
        assert onward((await sign_in(house))[1]) == "/login/factor"
        assert (await user_of(house, eve.user_id)).role is Role.ADMIN


async def test_the_last_admin_without_a_role_at_the_provider_still_has_his_password(
    state: Path, provider: IdentityProvider
) -> None:
    async with joined(state, provider, role_claim="groups", roles={"all": "viewer"}) as house:
        ada = await linked(house, provider, Role.ADMIN)
        await house.give_password(ada)
        assert "gives you no role here" in (await sign_in(house))[1].text
        assert (await ada.get("/account")).status == 303
        assert (await enter(house, name="Ada"))[1].headers["Location"] == "/login/factor"


async def test_who_comes_back_ends_the_session_that_the_browser_had_and_is_named_alone(
    house: House, provider: IdentityProvider
) -> None:
    ada, eve = await linked(house, provider), await house.person(Role.ADMIN)
    mine = await house.person(Role.ADMIN)
    person, address = await go(house, eve)
    path = await back(house, person, address)
    kept = dict(eve.jar)
    answer = await person.get(path, Sec_Fetch_Site="same-origin")
    assert answer.status == 200
    (entry,) = await entries(house, "sign in at the provider")
    assert (entry.who, entry.role, entry.by) == (ada.user_id, "viewer", "")
    eve.jar = kept
    assert (await eve.get("/account")).status == 303
    assert (await mine.get("/account")).status == 200


async def test_a_mapped_claim_leaves_a_prosumer_and_the_last_admin_what_they_are(
    state: Path, provider: IdentityProvider
) -> None:
    async with joined(state, provider, role_claim="groups", roles={"all": "viewer"}) as house:
        ada = await linked(house, provider, Role.PROSUMER)
        provider.more = {"groups": "all"}
        assert onward((await sign_in(house))[1]) == "/home"
        admin = await house.person(Role.ADMIN)
        await house.give_password(admin)
        async with house.access.db.write() as conn:
            user = await users.find(conn, admin.user_id)
            assert user is not None
            await identity.link(conn, user, Identity(provider.issuer, "sub", "sub-1"), house.wall.now)
        provider.subject = "sub-1"
        _, answer = await sign_in(house)
        assert (answer.status, "the last admin who can sign in" in answer.text) == (403, True)
        assert (await user_of(house, ada.user_id)).role is Role.PROSUMER


async def test_another_claim_can_tell_people_apart(state: Path, provider: IdentityProvider) -> None:
    async with joined(state, provider, user_claim="oid") as house:
        await linked(house, provider)  # by sub, which does not count here
        provider.more = {"oid": provider.subject}
        assert (await sign_in(house))[1].status == 403


async def test_passwords_of_admins_alone_count_where_the_settings_say_so(
    state: Path, provider: IdentityProvider
) -> None:
    async with joined(state, provider, local_sign_in="admins") as house:
        await set_password(house, Role.VIEWER)
        assert "name or password is not right" in (await enter(house))[1].text
        admin = await house.person(Role.ADMIN, name="Root")
        await house.give_password(admin)
        assert (await enter(house, name="Root"))[1].headers["Location"] == "/login/factor"
        page = (await admin.post("/users", {"name": "Cleo", "role": "viewer"})).text
        person, path = house.stranger(), "/link/" + page.split("/link/")[1].split("<")[0]
        assert 'name="password"' not in (await person.get(path)).text
        refused = await person.post(path, {"password": PASSWORD, "password_again": PASSWORD})
        assert (refused.status, "only admins sign in with a password" in refused.text) == (422, True)


async def test_neither_secret_nor_code_nor_token_is_in_a_log(
    house: House, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    await linked(house, provider)
    with structlog.testing.capture_logs() as lines:
        person, address = await go(house)
        path = await back(house, person, address)
        await come_back(house, person, path)
        provider.more = {"aud": "somebody"}
        await sign_in(house)
    told = repr(lines) + caplog.text
    query = parse_qs(urlsplit(path).query)
    assert "claims of the ID token are not right: aud" in told
    for secret in (SECRET, query["code"][0], query["state"][0], person.jar[cookie.SESSION]):
        assert secret not in told
