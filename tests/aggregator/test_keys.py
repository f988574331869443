"""Which keys an aggregator takes: those in a token, and none that others can read."""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from aggregator.errors import SettingsError
from aggregator.server import Aggregator
from aggregator.settings import ChainSettings, LogSettings
from aggregator.web_listener import WebListener
from aggregator.web_settings import WebSettings
from flexpact.pki import issue, make_authority
from ledger import token
from ledger.errors import KeyFileError
from ledger.log_key import log_key
from tests.aggregator.chain import Chain
from tests.aggregator.conftest import END, ORIGIN, Prepared, node_settings, running, write_settings
from tests.aggregator.test_settings import GOOD, load
from tests.ledger.soft_token import SoftToken
from vtn.errors import StartupError

GUIDE = Path(__file__).parents[2] / "docs" / "keys.md"
URI = "pkcs11:token=t;object=log?module-path=/m.so&pin-source=file:/p"


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """A chain of this test's own."""
    (tmp_path / "chain").mkdir()
    opened = Chain(tmp_path / "chain")
    yield opened
    await opened.close()


async def test_an_aggregator_signs_and_anchors_with_keys_that_stay_in_a_token(
    prepared: Prepared, tmp_path: Path, soft_token: SoftToken, chain: Chain
) -> None:
    token.generate(soft_token.uri("aggregators-log"), token.ED25519)
    token.generate(soft_token.uri("publisher"), token.SECP256K1)
    settings = write_settings(
        tmp_path,
        [node_settings(n) for n in (1, 2, 3)],
        chain={**await chain.start(soft_token.uri("publisher")), "key_uri": soft_token.text("publisher")},
        log_uri=soft_token.text("aggregators-log"),
    )
    async with running(settings, prepared.copy(tmp_path)) as started:
        await started.ask(5)
        with soft_token.taken_away():
            said = await started.post("/seal", {"timeout_s": 1}, status=503)
            assert 'there is no token "flexpact" in /' in str(said)
            await started.stop()  # what is not signed yet is signed after the next start
        await started.start()
        await started.jump(END)
        sealed = await started.post("/seal", {"timeout_s": 60})
        assert sealed["anchored"] == sealed["leaves"] > 0
        said = (await started.get("/trust"))["trust"]
        assert str(log_key(soft_token.uri("aggregators-log"), ORIGIN).verifier) in said
        chain_says = (await started.get("/status"))["chain"]
        assert (chain_says["ok"], chain_says["status"]) == (True, "idle")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "log: Value error, name the key by one of key_file and key_uri"),
        (f'key_uri = "{URI}"\nkey_file = "log.key"', "log: Value error, name the key by one of"),
        ("key_uri = 5", "log.key_uri: Value error, a key URI is text"),
        (f'key_uri = "{URI}&pin-value=4711"', "log.key_uri: Value error, key URI: pin-value is refused"),
        ('key_uri = "log.key"', "log.key_uri: Value error, a key URI begins with pkcs11:"),
    ],
    ids=["none", "two", "number", "PIN", "file"],
)
def test_a_key_that_is_not_named_rightly_is_refused(tmp_path: Path, written: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, GOOD.replace('key_file = "log.key"', written))
    assert says in str(refused.value)
    assert "4711" not in f"{refused.value} {refused.value.__cause__}"


def test_one_key_is_not_for_two_accounts(tmp_path: Path) -> None:
    agreements = f'[agreements]\ncontract = "0x{"11" * 20}"\nkey_uri = "{URI}"\n'
    chain = GOOD.replace('key_file = "/secrets/chain.key"', f'key_uri = "{URI}"')
    with pytest.raises(SettingsError, match="the key of agreements must not be that of chain"):
        load(tmp_path, chain + agreements)
    settings = load(tmp_path, chain + agreements.replace("object=log", "object=other"))
    assert settings.chain
    assert settings.agreements
    assert settings.agreements.settler(settings.chain).key == settings.agreements.key_uri
    assert settings.chain.anchor().key == settings.chain.key_uri


def test_the_settings_of_the_guide_are_read() -> None:
    former, written = (
        tomllib.loads(textwrap.dedent(block))
        for block in re.findall(r"^ *```toml\n(.*?)^ *```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    )
    assert former["log"]["former_keys"][0].keys() == {"key", "valid_until"}
    assert str(LogSettings.model_validate(written["log"]).key) == 'key "log" in token "flexpact"'
    assert str(ChainSettings.model_validate(written["chain"]).key) == 'key "publisher" in token "flexpact"'


def test_a_key_of_the_log_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, [node_settings(1)])
    (tmp_path / "log.key").chmod(0o640)
    with pytest.raises(KeyFileError, match=r"log\.key can be read by others; make it mode 0600"):
        Aggregator(settings, lambda: END, lambda _: None)  # type: ignore[arg-type, return-value] # never called


async def test_a_key_of_the_dashboard_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_authority(tmp_path, datetime.now(UTC))
    made = issue(tmp_path, "web", datetime.now(UTC), server=True)
    password = tmp_path / "password"
    password.write_text("secret")
    for settings, path in (
        (WebSettings(port=0, cert=made.cert, key=made.key, key_password_file=password), password),
        (WebSettings(port=0, cert=made.cert, key=made.key), made.key),
    ):
        path.chmod(0o604)
        with pytest.raises(StartupError, match=f"^web: {path} holds a [a-z ]+ and is open to others"):
            await WebListener(web.Application(), settings).open()
