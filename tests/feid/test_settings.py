"""The settings file: what is misspelt or out of bounds stops the box: it would run without its limits."""

from pathlib import Path

import pytest

from feid.errors import SettingsError
from feid.settings import FeidSettings
from openadr.timeline import Precedence

WHOLE = """
node = "node-1"
state = "state/feid.sqlite"
history_days = 14
homes = ["home-01", "home-02"]

[driver]
kind = "simulated"
socket = "/run/sim.sock"

[limits]
connection_capacity_kw = 12
soc_reserve_percent = 20.5
home_capacity_kw = { "home-02" = 9 }

[ven]
vtn_url = "https://127.0.0.1:8443"
ven_name = "node-1"
state_path = "state/ven.sqlite"
cert = "node-1.pem"
market_contexts = ["http://example/programme"]
catch_up = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "feid.toml"


def load(file: Path, text: str) -> FeidSettings:
    file.write_text(text, encoding="utf-8")
    return FeidSettings.load(file)


def test_a_whole_file_is_read_with_paths_beside_it(file: Path) -> None:
    settings = load(file, WHOLE)
    assert settings.state == file.parent / "state/feid.sqlite"
    assert settings.driver.socket == Path("/run/sim.sock")
    assert settings.history.days == 14
    assert settings.homes == ("home-01", "home-02")
    assert (settings.limits.capacity_kw("home-01"), settings.limits.capacity_kw("home-02")) == (12.0, 9.0)
    assert settings.ven.cert == file.parent / "node-1.pem"
    assert settings.ven.market_contexts == {"http://example/programme"}
    assert settings.ven.catch_up.days == 2


def test_where_the_site_lies_in_the_grid_is_read(file: Path) -> None:
    places = """
meters = ["m-1"]
grid_nodes = ["node-1", "node-2"]
transport_interfaces = [["bus-1", "bus-2"]]
position = [59, 18.5]
overlap = "newest"
"""
    ven = load(file, WHOLE + places).ven
    assert (ven.meters, ven.grid_nodes) == ({"m-1"}, {"node-1", "node-2"})
    assert (ven.transport_interfaces, ven.position) == ({("bus-1", "bus-2")}, (59.0, 18.5))
    assert ven.overlap is Precedence.NEWEST


def test_without_a_word_on_limits_there_are_limits(file: Path) -> None:
    settings = load(
        file, WHOLE.replace("connection_capacity_kw = 12", "").replace("soc_reserve_percent = 20.5", "")
    )
    assert settings.limits.connection_capacity_kw == 14.0
    assert settings.limits.soc_reserve_percent == 15.0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('node = "node-1"', "", "node must be a text, got None"),
        ('node = "node-1"', "node = 7", "node must be a text, got 7"),
        ("history_days = 14", "history_days = 36", "at most 35, got 36"),
        ("history_days = 14", 'history_days = "many"', "history_days must be a number, got 'many'"),
        ('homes = ["home-01", "home-02"]', "homes = [1]", "homes must be a list of texts"),
        ('kind = "simulated"', 'kind = "psychic"', "driver.kind must be one of simulated, got 'psychic'"),
        ("[driver]", "[drivers]", "drivers is no setting"),
        ('socket = "/run/sim.sock"', "", "driver.socket must be a text"),
        (
            "connection_capacity_kw = 12",
            "conection_capacity_kw = 12",
            "limits.conection_capacity_kw is no setting",
        ),
        (
            "connection_capacity_kw = 12",
            "connection_capacity_kw = 0",
            "limits.connection_capacity_kw must be between",
        ),
        ("connection_capacity_kw = 12", "connection_capacity_kw = true", "must be a number, got True"),
        (
            "connection_capacity_kw = 12",
            "connection_capacity_kw = nan",
            "limits.connection_capacity_kw must be between",
        ),
        ('{ "home-02" = 9 }', "9", "home_capacity_kw must be a table"),
        ('{ "home-02" = 9 }', '{ "home-02" = -9 }', "limits.home_capacity_kw.home-02 must be above 0"),
        ("[limits]", "[other]", "other is no setting"),
        ('ven_name = "node-1"', "", "ven.ven_name must be a text"),
        ("https://", "http://", "vtn_url is plain http"),
        ("catch_up = 2", 'catch_up = "2"', "ven.catch_up must be a number"),
        ('cert = "node-1.pem"', "cert = 1", "ven.cert must be a text, got 1"),
        ("catch_up = 2", "position = [1]", "ven.position must be two numbers, got [1]"),
        ("catch_up = 2", 'position = [1, "b"]', "ven.position must be two numbers"),
        ("catch_up = 2", 'overlap = "oldest"', "ven.overlap must be one of priority, newest, got 'oldest'"),
        ("catch_up = 2", 'poll_period_s = "ten"', "ven.poll_period_s must be a number, got 'ten'"),
        ("catch_up = 2", "poll_period_s = true", "ven.poll_period_s must be a number, got True"),
        ("catch_up = 2", 'xml_signature = "yes"', "ven.xml_signature must be true or false, got 'yes'"),
        ("catch_up = 2", "report_readings_limit = 2.5", "ven.report_readings_limit must be a whole number"),
        ("catch_up = 2", "vtn_fingerprint = 12", "ven.vtn_fingerprint must be a text, got 12"),
        ("catch_up = 2", 'groups = "a"', "ven.groups must be a list of texts, got 'a'"),
        ("catch_up = 2", "groups = [1]", "ven.groups must be a list of texts, got [1]"),
        ("catch_up = 2", 'transport_interfaces = ["a", "b"]', "must be a list of pairs of texts"),
        ("catch_up = 2", "socket = 3", "ven.socket is no setting"),
        ('node = "node-1"', 'node = "node-1"\nsocket = 3', "socket must be a text, got 3"),
        ('vtn_url = "https://127.0.0.1:8443"', "vtn_url = 'x", "is no TOML file"),
    ],
)
def test_what_cannot_work_is_named_with_the_file(file: Path, old: str, new: str, says: str) -> None:
    assert old in WHOLE
    with pytest.raises(SettingsError) as caught:
        load(file, WHOLE.replace(old, new))
    assert str(caught.value).startswith(str(file))
    assert says in str(caught.value)


def test_a_missing_table_is_named(file: Path) -> None:
    text = (
        WHOLE.replace("[limits]", "")
        .replace("connection_capacity_kw = 12", "")
        .replace("soc_reserve_percent = 20.5", "")
    )
    with pytest.raises(SettingsError, match=r"table \[limits\] is missing"):
        load(file, text.replace('home_capacity_kw = { "home-02" = 9 }', ""))


def test_a_file_that_is_not_there_or_no_text_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        FeidSettings.load(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is no TOML file"):
        FeidSettings.load(file)
