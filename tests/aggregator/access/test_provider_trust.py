"""What an identity provider says is believed only where it is of this provider, this sign-in, and now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import structlog
from joserfc.jwk import ECKey, OKPKey, RSAKey

from aggregator.access import cookie
from aggregator.access.errors import OutOfReachError
from aggregator.access.id_token import read_keys
from aggregator.access.oidc_settings import OidcSettings
from aggregator.access.permission import Role
from aggregator.access.provider import Provider
from tests.aggregator.access.conftest import House
from tests.aggregator.access.identity_provider import (
    CLIENT,
    Claims,
    IdentityProvider,
    oidc_settings,
    rsa,
    running_provider,
    unsigned,
    with_public_key_as_secret,
)
from tests.aggregator.access.people import NOW, WallClock
from tests.aggregator.access.provider_visit import back, come_back, go, joined, linked, onward, sign_in
from tests.aggregator.access.test_session import enter, set_password
from tests.aggregator.access.test_trail import entries

BEGIN_AGAIN = "begun in another browser: begin again"
NOT_VERIFIED = "could not be verified: you are not signed in"


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


Fault = Callable[[IdentityProvider], None]


def _claims(**more: Any) -> Fault:
    def make(provider: IdentityProvider) -> None:
        provider.more = more

    return make


def _without(name: str) -> Fault:
    def make(provider: IdentityProvider) -> None:
        provider.left_out = frozenset({name})

    return make


def _forged(make: Callable[[IdentityProvider], Callable[[Claims], str]]) -> Fault:
    def fault(provider: IdentityProvider) -> None:
        provider.forge = make(provider)

    return fault


def _answer(**more: str) -> Fault:
    def make(provider: IdentityProvider) -> None:
        provider.answer = more

    return make


def _changed(provider: IdentityProvider) -> Callable[[Claims], str]:
    """A body that another one was signed for."""

    def forge(claims: Claims) -> str:
        signed, other = provider.sign(claims), provider.sign({**claims, "sub": "root"})
        return ".".join([signed.split(".")[0], other.split(".")[1], signed.split(".")[2]])

    return forge


def _times(**seconds: int) -> Fault:
    """Instants so many seconds from now."""

    def make(provider: IdentityProvider) -> None:
        now = int(provider.clock().timestamp())
        provider.more = {name: now + after for name, after in seconds.items()}

    return make


FAULTS: dict[str, Fault] = {
    "wrong nonce": _claims(nonce="another"),
    "no nonce": _without("nonce"),
    "nonce of another kind": _claims(nonce=["another"]),
    "wrong audience": _claims(aud="somebody"),
    "a second audience": _claims(aud=[CLIENT, "somebody"], azp=CLIENT),
    "no audience": _without("aud"),
    "made for another party": _claims(azp="somebody"),
    "wrong issuer": _claims(iss="https://evil.example"),
    "issuer with a slash more": lambda provider: provider.more.update(iss=provider.issuer + "/"),
    "expired": _times(exp=-61),
    "never expires": _without("exp"),
    "expires at true": _claims(exp=True),
    "made long ago": _times(iat=-601),
    "made tomorrow": _times(iat=61),
    "not made": _without("iat"),
    "not valid yet": _times(nbf=61),
    "no subject": _without("sub"),
    "a subject that cannot be seen": _claims(sub="a\u202eb"),
    "a subject that is a number": _claims(sub=4711),
    "alg none": _forged(lambda _provider: unsigned),
    "HS256 with the public key": _forged(lambda provider: with_public_key_as_secret(provider.keys[0])),
    "another key with the same name": _forged(lambda provider: lambda claims: provider.sign(claims, rsa())),
    "a changed body": _forged(_changed),
    "no token": _forged(lambda _provider: lambda _claims: "x"),
    "answer of another provider": _answer(iss="https://evil.example"),
    "answer of nobody": _answer(iss=""),
}


async def test_what_is_not_of_this_sign_in_opens_nothing(house: House, provider: IdentityProvider) -> None:
    await linked(house, provider)
    provider.clock = house.wall
    for name, fault in FAULTS.items():
        provider.more, provider.left_out, provider.forge, provider.answer = {}, frozenset(), None, {}
        fault(provider)
        person, answer = await sign_in(house)
        assert (answer.status, NOT_VERIFIED in answer.text) == (403, True), name
        assert cookie.SESSION not in person.jar, name
        house.wall.pass_by(minutes=15)  # nobody has to wait any more
    assert await entries(house) == []


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"})),
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "o1"})),
    ],
    ids=["ES256", "EdDSA"],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # by the provider of these tests, in its own name
async def test_other_algorithms_of_the_list_are_taken_if_the_provider_says_them(
    house: House, provider: IdentityProvider, alg: str, key: ECKey | OKPKey
) -> None:
    await linked(house, provider)
    provider.alg, provider.keys = alg, [key]
    assert onward((await sign_in(house))[1]) == "/"
    provider.metadata = {"id_token_signing_alg_values_supported": ["RS256"]}
    house.wall.pass_by(minutes=1)
    provider.clock = house.wall
    assert NOT_VERIFIED in (await sign_in(house))[1].text


async def test_a_new_key_of_the_provider_is_fetched_once_a_minute_at_most(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    provider.clock = house.wall
    assert (await sign_in(house))[1].status == 200
    provider.keys = [rsa("r2")]
    assert NOT_VERIFIED in (await sign_in(house))[1].text  # asked for within the minute
    assert provider.asked.count("keys") == 1
    house.wall.pass_by(minutes=1)
    assert (await sign_in(house))[1].status == 200
    assert (await sign_in(house))[1].status == 200
    assert provider.asked.count("keys") == 2


async def test_a_small_key_signs_nothing(house: House, provider: IdentityProvider) -> None:
    await linked(house, provider)
    with pytest.warns(Warning, match="2048"):
        provider.keys = [RSAKey.generate_key(1024, {"kid": "small"})]
    assert NOT_VERIFIED in (await sign_in(house))[1].text


async def test_an_answer_counts_in_the_browser_that_asked_and_once(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    mine, address = await go(house)
    path = await back(house, mine, address)
    other, _ = await go(house)  # whose state is another
    for browser in (house.stranger(), other):
        answer = await come_back(house, browser, path)
        assert (answer.status, BEGIN_AGAIN in answer.text) == (422, True)
    kept = mine.jar[cookie.FLOW]
    assert (await come_back(house, mine, path)).status == 200
    assert BEGIN_AGAIN in (await come_back(house, mine, path)).text
    mine.jar = {cookie.FLOW: kept}  # a code that was used is refused by the provider too
    answer = await come_back(house, mine, path)
    assert (answer.status, "did not confirm this sign-in" in answer.text) == (403, True)


async def test_a_code_of_another_browser_is_refused_for_want_of_its_verifier(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    mine, address = await go(house)
    stolen = parse_qs(urlsplit(await back(house, mine, address)).query)["code"][0]
    eve, address = await go(house)
    path = await back(house, eve, address)
    own = parse_qs(urlsplit(path).query)["code"][0]
    answer = await come_back(house, eve, path.replace(own, stolen))
    assert (answer.status, "did not confirm" in answer.text) == (403, True)


async def test_ten_minutes_are_enough(house: House, provider: IdentityProvider) -> None:
    await linked(house, provider)
    person, address = await go(house)
    path = await back(house, person, address)
    house.wall.pass_by(minutes=10)
    assert BEGIN_AGAIN in (await come_back(house, person, path)).text


async def test_a_form_of_another_site_does_not_begin_it(house: House, provider: IdentityProvider) -> None:
    person = house.stranger()
    await person.get("/login")
    answer = await person.post("/login/provider", Origin="https://evil.example")
    assert (answer.status, cookie.FLOW in person.jar) == (403, False)
    assert provider.asked == []


async def test_who_gives_up_at_the_provider_is_told_so(house: House, provider: IdentityProvider) -> None:
    provider.answer = {"code": "", "error": "access_denied", "error_description": "<b>no</b>"}
    _, answer = await sign_in(house)
    assert (answer.status, "not signed in at the identity provider" in answer.text) == (403, True)
    assert "<b>no</b>" not in answer.text


async def test_a_provider_out_of_reach_is_told_and_passwords_go_on(
    house: House, provider: IdentityProvider
) -> None:
    await set_password(house, Role.VIEWER)
    provider.down = True
    person = house.stranger()
    await person.get("/login")
    with structlog.testing.capture_logs() as lines:
        answer = await person.post("/login/provider")
    assert (answer.status, "cannot be reached now: use your password" in answer.text) == (503, True)
    assert any("answered 503" in str(line.get("error")) for line in lines)
    assert (await enter(house))[1].status == 303
    assert (await person.post("/login/provider")).status == 503  # known for some seconds, not asked again
    assert len(provider.asked) == 1
    provider.down = False
    house.wall.pass_by(seconds=10)
    assert (await person.post("/login/provider")).status == 200


OTHERWISE: Sequence[tuple[Claims, str]] = (
    ({"issuer": "https://evil.example"}, "the provider says it is 'https://evil.example'"),
    ({"token_endpoint": "http://evil.example/token"}, "token_endpoint of the provider is no https"),
    ({"token_endpoint": "https://10.0.0.1/token"}, "token_endpoint of the provider is no https address of"),
    ({"token_endpoint": "http://localhost/token"}, "token_endpoint of the provider is no https address of"),
    ({"jwks_uri": f"https://{'a' * 70}.example/keys"}, "jwks_uri of the provider is no https"),
    ({"jwks_uri": None}, "jwks_uri of the provider is no https"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint of the provider"),
    ({"code_challenge_methods_supported": ["plain"]}, "does not take PKCE with S256"),
    ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "none of RS256, ES256"),
    ({"token_endpoint_auth_methods_supported": ["none"]}, "neither in a header nor in a form"),
)


async def test_a_provider_that_is_not_the_one_that_was_named_is_not_used(
    house: House, provider: IdentityProvider
) -> None:
    person = house.stranger()
    await person.get("/login")
    for said, detail in OTHERWISE:
        provider.metadata = said
        with structlog.testing.capture_logs() as lines:
            answer = await person.post("/login/provider")
        assert (answer.status, NOT_VERIFIED in answer.text) == (503, True), detail
        assert any(detail in str(line.get("error")) for line in lines), lines
        house.wall.pass_by(seconds=10)


async def test_the_secret_goes_in_the_form_where_the_provider_wants_it_there(
    house: House, provider: IdentityProvider
) -> None:
    await linked(house, provider)
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert onward((await sign_in(house))[1]) == "/"


def test_a_provider_sends_nobody_to_hosts_that_the_settings_do_not_name(tmp_path: Path) -> None:
    known = {"client_id": CLIENT, "client_secret_file": tmp_path / "secret", "hosts": ("keys.example",)}
    settings = OidcSettings(issuer="https://login.example/realm", **known)
    asked = {
        "https://login.example:8443/token": True,
        "https://keys.example/keys": True,
        "https://evil.example/keys": False,
        "http://127.0.0.1/keys": False,
        "http://login.example/keys": False,
        f"https://{'a' * 70}.example/keys": False,
    }
    assert {url: settings.may_name(url) for url in asked} == asked


def test_a_key_of_a_foreign_kind_is_passed_over() -> None:
    assert read_keys({"keys": [{"kty": ["RSA"]}, {"kty": {}}, {"kty": "RSA", "use": []}]}) == ()


async def test_a_failure_lasts_from_its_end_on_and_longer_than_one_try(tmp_path: Path) -> None:
    async with running_provider(lambda: NOW) as running:
        settings = OidcSettings(**oidc_settings(running, tmp_path, timeout_s=20))
        wall = WallClock()
        asked = Provider(settings, wall)
        running.down = True
        tries = [asked.address(redirect="", state="", nonce="", challenge="") for _ in range(3)]
        found = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(one) for one in found] == [OutOfReachError] * 3
        wall.pass_by(seconds=24)
        with pytest.raises(OutOfReachError):
            await asked.address(redirect="", state="", nonce="", challenge="")
        assert len(running.asked) == 1
