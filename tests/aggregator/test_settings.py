"""The settings file: what it gives, and how a wrong one is refused."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from aggregator.errors import SettingsError
from aggregator.settings import AggregatorSettings

GOOD = """
state = "state"
socket = "control"

[vtn]
port = 0
cert = "vtn.pem"

[log]
origin = "example/log"
key_file = "log.key"

[chain]
rpc_url = "http://127.0.0.1:8545"
contract = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf01"
key_file = "/secrets/chain.key"

[programme]
zone = "Europe/Amsterdam"
holidays = [2026-12-25]

[[nodes]]
ven_name = "node-1"
fingerprint = "1111111111111111111111111111111111111111111111111111111111111111"
[nodes.agreement]
capacity_kw = 20
price_minor_per_kwh = "35.5"
penalty_minor_per_kwh = 20
threshold = 0.8
max_calls_per_day = 2
notice_min = 60
currency = "EUR"
"""
SECOND = GOOD[GOOD.index("[[nodes]]") :]
OTHER_MONEY = SECOND.replace("node-1", "node-2").replace("11", "22").replace("EUR", "USD")


def load(tmp_path: Path, text: str) -> AggregatorSettings:
    """The settings of a file with that text."""
    path = tmp_path / "aggregator.toml"
    path.write_text(text)
    return AggregatorSettings.load(path)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD)
    assert settings.database == tmp_path / "state" / "aggregator.sqlite"
    assert settings.socket == tmp_path / "control"
    assert settings.vtn.cert == tmp_path / "vtn.pem"
    more = GOOD.replace('cert = "vtn.pem"', 'rsa_cert = "rsa.pem"\ncrl = "lists/crl.pem"')
    vtn = load(tmp_path, more).vtn
    assert (vtn.rsa_cert, vtn.crl) == (tmp_path / "rsa.pem", tmp_path / "lists" / "crl.pem")
    assert settings.vtn.key is None
    assert settings.log.key_file == tmp_path / "log.key"
    assert settings.chain is not None
    assert settings.chain.anchor().key_file == Path("/secrets/chain.key")
    assert settings.chain.anchor().contract == "0xabcdef0123456789abcdef0123456789abcdef01"


def test_agreements_are_exact_decimals(tmp_path: Path) -> None:
    agreement = load(tmp_path, GOOD).nodes[0].agreement.agreement()
    assert (agreement.price_minor_per_kwh, agreement.threshold) == (Decimal("35.5"), Decimal("0.8"))
    assert (agreement.capacity_w(), agreement.notice) == (20_000, timedelta(hours=1))


def test_the_calendar_knows_zone_and_holidays(tmp_path: Path) -> None:
    calendar = load(tmp_path, GOOD).programme.calendar()
    assert str(calendar.zone) == "Europe/Amsterdam"
    assert not calendar.is_workday(date(2026, 12, 25))


AGREEMENTS = """
[agreements]
contract = "0xAbCdEf0123456789aBcDeF0123456789AbCdEf02"
key_file = "aggregator.key"
"""


def test_agreements_on_the_chain_have_a_contract_and_a_key_of_their_own(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + AGREEMENTS)
    assert settings.agreements is not None
    assert settings.chain is not None
    settler = settings.agreements.settler(settings.chain)
    assert settler.key_file == tmp_path / "aggregator.key"
    assert settler.contract == "0xabcdef0123456789abcdef0123456789abcdef02"
    assert settler.rpc_url == settings.chain.rpc_url
    assert not settings.agreements.required


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD[: GOOD.index("[chain]")] + SECOND + AGREEMENTS, r"agreements need a chain: add \[chain\]"),
        (
            GOOD + AGREEMENTS.replace("aggregator.key", "/secrets/chain.key"),
            "the key of agreements must not be that of chain",
        ),
    ],
    ids=["no chain", "the anchor's key"],
)
def test_agreements_that_cannot_work_are_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(tmp_path, text)


def test_without_a_chain_there_is_none(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("[chain]")] + GOOD[GOOD.index("[programme]") :]
    assert load(tmp_path, text).chain is None


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('state = "state"', "", "state: Field required"),
        ('"example/log"', '""', "log.origin: String should have at least 1 character"),
        ("max_calls_per_day = 2", "max_calls = 2", "max_calls"),
        ("threshold = 0.8", "threshold = 1.1", "threshold: Input should be less than or equal to 1"),
        ('currency = "EUR"', 'currency = "euro"', "nodes.0.agreement.currency"),
        ('fingerprint = "11', 'fingerprint = "1', "nodes.0.fingerprint"),
        ("Europe/Amsterdam", "Europe/Atlantis", "programme.zone: Value error, no such time zone"),
        ("0xAbCdEf01", "AbCdEf01", "chain.contract"),
        ("port = 0", "port = 99999", "vtn.port"),
        ("state =", "state", "is no TOML file"),
        (SECOND, SECOND + SECOND, "nodes: Value error, ven_name is used by two nodes: node-1"),
        (SECOND, SECOND + SECOND.replace("node-1", "node-2"), "fingerprint is used by two nodes: 1111"),
        (SECOND, "", "nodes: Field required"),
        (SECOND, SECOND + OTHER_MONEY, "nodes: Value error, one programme has one currency, not EUR and USD"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_the_field(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    assert old in GOOD
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, GOOD.replace(old, new))
    assert error in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "aggregator.toml"))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file or directory"):
        AggregatorSettings.load(tmp_path / "none.toml")


def test_every_setting_has_a_description() -> None:
    for model in (AggregatorSettings, *(f.annotation for f in AggregatorSettings.model_fields.values())):
        fields = getattr(model, "model_fields", {})
        for name, field in fields.items():
            section = hasattr(field.annotation, "model_fields")
            assert field.description or section or name in {"nodes", "chain"}, name
