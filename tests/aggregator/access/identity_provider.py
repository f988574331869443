"""An identity provider for tests: OpenID Connect over real HTTP, with signed tokens, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

CLIENT, SECRET = "flexpact", "s3cret: with/odd+letters"
Claims = dict[str, Any]


def rsa(kid: str = "r1") -> RSAKey:
    """A key pair."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass
class IdentityProvider:
    """The provider and who is signed in there. Fields are changed by tests to make it behave otherwise."""

    clock: Callable[[], datetime]
    subject: str = "sub-4711"
    more: Claims = field(default_factory=dict)
    """Claims beside those that each token has; they take the place of these too."""
    left_out: frozenset[str] = frozenset()
    keys: list[Key] = field(default_factory=lambda: [rsa()])
    alg: str = "RS256"
    forge: Callable[[Claims], str] | None = None
    """Makes the token instead."""
    metadata: Claims = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    """Fields of the answer to the browser that are other than they should be; empty ones are left out."""
    asks: bool = False
    """Whether people press a button there first."""
    down: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def issuer(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self.port}/realm"

    @property
    def public_keys(self) -> dict[str, Any]:
        """Its key set."""
        return {"keys": [key.as_dict(private=False) for key in self.keys if not isinstance(key, OctKey)]}

    def claims(self, nonce: str) -> Claims:
        """What it says of who is signed in."""
        now = int(self.clock().timestamp())
        found = {"iss": self.issuer, "sub": self.subject, "aud": CLIENT, "iat": now, "exp": now + 300}
        found |= {"nonce": nonce, **self.more}
        return {name: value for name, value in found.items() if name not in self.left_out}

    def sign(self, claims: Claims, key: Key | None = None, alg: str = "") -> str:
        """A token."""
        key, alg = key or self.keys[-1], alg or self.alg
        header = {"alg": alg, **({"kid": key.kid} if key.kid else {})}
        return jwt.encode(header, claims, key, registry=JWSRegistry(algorithms=[alg]))

    def app(self) -> web.Application:
        """Its pages."""
        app = web.Application(middlewares=[self._watch()])
        app.router.add_get("/realm/.well-known/openid-configuration", self._metadata)
        app.router.add_get("/realm/keys", self._keys)
        app.router.add_get("/realm/authorize", self._authorize)
        app.router.add_post("/realm/token", self._token)
        return app

    def _watch(self) -> Any:
        @web.middleware
        async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
            self.asked.append(request.path.rpartition("/")[2])
            if self.down:
                raise web.HTTPServiceUnavailable
            answer: web.StreamResponse = await handler(request)
            return answer

        return watch

    async def _metadata(self, _request: web.Request) -> web.Response:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "HS256", "none"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response({**said, **self.metadata})

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response(self.public_keys)

    async def _authorize(self, request: web.Request) -> web.Response:
        """Whoever asks has signed in here already, and is sent back, at once or by a button."""
        asked = dict(request.query)
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        said = {"code": code, "state": asked["state"], "iss": self.issuer, **self.answer}
        back = urlencode({name: text for name, text in said.items() if text})
        address = f"{asked['redirect_uri']}?{back}"
        if self.asks:
            page = f'<!doctype html><title>Grid login</title><a href="{escape(address)}">Go on as Cleo</a>'
            return web.Response(text=page, content_type="text/html")
        return web.Response(status=303, headers={"Location": address})

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not self._knows_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        asked = self.codes.pop(str(form.get("code")), None)  # a code is good once
        verifier = str(form.get("code_verifier", "")).encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or len(verifier) < 43:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if asked["redirect_uri"] != form.get("redirect_uri"):
            return web.json_response({"error": "invalid_grant"}, status=400)
        claims = self.claims(asked["nonce"])
        token = self.forge(claims) if self.forge else self.sign(claims)
        return web.json_response({"access_token": "a", "token_type": "Bearer", "id_token": token})

    def _knows_client(self, request: web.Request, form: Mapping[str, Any]) -> bool:
        header = request.headers.get("Authorization", "")
        if "token_endpoint_auth_methods_supported" in self.metadata:
            return not header and (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        kind, _, text = header.partition(" ")
        user, _, password = base64.b64decode(text).decode().partition(":")
        return (kind, unquote_plus(user), unquote_plus(password)) == ("Basic", CLIENT, SECRET)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(claims: Claims) -> str:
    """A token with the algorithm none."""
    head, body = (_encoded(json.dumps(one).encode()) for one in ({"alg": "none", "typ": "JWT"}, claims))
    return f"{head}.{body}."


def with_public_key_as_secret(key: Key) -> Callable[[Claims], str]:
    """Makes tokens by HS256 whose secret is the public key, which everybody has."""
    assert isinstance(key, RSAKey | ECKey | OKPKey)
    secret = key.as_pem(private=False)

    def forge(claims: Claims) -> str:
        parts = ({"alg": "HS256", "kid": key.kid}, claims)
        signed = ".".join(_encoded(json.dumps(one).encode()) for one in parts)
        return f"{signed}.{_encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    return forge


@asynccontextmanager
async def running_provider(clock: Callable[[], datetime]) -> AsyncIterator[IdentityProvider]:
    """A provider that listens on loopback."""
    provider = IdentityProvider(clock)
    runner = web.AppRunner(provider.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.port = runner.addresses[0][1]
    try:
        yield provider
    finally:
        await runner.cleanup()


def oidc_settings(provider: IdentityProvider, folder: Path, **more: Any) -> dict[str, Any]:
    """The section of the settings for this provider."""
    secret = folder / "oidc.secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    known = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret_file": str(secret)}
    return {**known, "name": "Grid login", **more}
