"""The dashboard's certificate where the settings name none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aggregator.web_settings import WebSettings
from flexpact import pki
from flexpact.web_certificate import with_certificate

NOW = datetime(2026, 1, 20, tzinfo=UTC)


def made(state: Path, now: datetime = NOW, **settings: object) -> pki.Identity:
    web = with_certificate(WebSettings.model_validate(settings), state, now)
    assert web.cert is not None
    assert web.key is not None
    web.check()  # it is fit to be served with
    return pki.Identity("dashboard", web.cert, web.key, state / "web" / "ca.pem")


def test_the_first_start_makes_an_authority_and_a_certificate_that_later_ones_use(tmp_path: Path) -> None:
    first = made(tmp_path)
    fingerprint = first.fingerprint
    assert set(first.certificate.names) == {"localhost", "127.0.0.1"}
    assert first.key.stat().st_mode & 0o777 == 0o600
    assert first.certificate.issuer == pki.load(first.ca)[0].subject
    assert made(tmp_path, NOW + timedelta(days=300)).fingerprint == fingerprint


def test_it_is_renewed_in_its_last_month_by_the_same_authority(tmp_path: Path) -> None:
    first = made(tmp_path)
    fingerprint, authority = first.fingerprint, first.ca.read_bytes()
    second = made(tmp_path, NOW + timedelta(days=336))
    assert second.fingerprint != fingerprint
    assert second.certificate.not_after == NOW + timedelta(days=336 + 365)
    assert second.ca.read_bytes() == authority


def test_a_public_name_is_in_it_and_another_one_makes_a_new_certificate(tmp_path: Path) -> None:
    first = made(tmp_path, host="0.0.0.0", public_url="https://old.example:8446")
    assert set(first.certificate.names) == {"localhost", "127.0.0.1", "old.example"}
    second = made(tmp_path, host="10.0.0.7", public_url="https://new.example")
    assert set(second.certificate.names) == {"localhost", "127.0.0.1", "10.0.0.7", "new.example"}


def test_an_address_that_is_not_in_its_shortest_form_makes_no_new_certificate_at_each_start(
    tmp_path: Path,
) -> None:
    first = made(tmp_path, host="0:0:0:0:0:0:0:1").fingerprint
    files = sorted((tmp_path / "web").iterdir())
    second = made(tmp_path, host="0:0:0:0:0:0:0:1")
    assert (second.fingerprint, sorted((tmp_path / "web").iterdir())) == (first, files)
    assert "::1" in second.certificate.names


@pytest.mark.parametrize("settings", [{"insecure_dev": True}, {"cert": "web.pem"}], ids=["none", "its own"])
def test_settings_that_want_none_or_name_a_file_are_left_as_they_are(
    settings: dict[str, object], tmp_path: Path
) -> None:
    web = WebSettings.model_validate(settings)
    assert with_certificate(web, tmp_path, NOW) is web
    assert list(tmp_path.iterdir()) == []


def test_a_lost_key_of_the_authority_is_named_when_a_renewal_needs_it(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "web" / "ca.key").unlink()
    assert made(tmp_path, NOW + timedelta(days=1))
    with pytest.raises(pki.PkiError, match=r"ca\.key"):
        made(tmp_path, NOW + timedelta(days=340))


@pytest.mark.parametrize(
    "left",
    [{"web.new/ca.key": b"half"}, {"web.new/ca.key": b"k", "web.new/ca.pem": b""}],
    ids=["a key alone", "an empty certificate"],
)
def test_a_first_start_that_was_cut_short_does_not_stop_the_next(
    left: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in left.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    made(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web"]


@pytest.mark.parametrize("broken", ["dashboard.key", "dashboard.pem"])
@pytest.mark.parametrize("how", ["gone", "empty", "another's"])
def test_a_renewal_that_was_cut_short_does_not_stop_the_next_start(
    broken: str, how: str, tmp_path: Path
) -> None:
    first = made(tmp_path)
    authority, path = first.ca.read_bytes(), tmp_path / "web" / broken
    made(tmp_path / "other")
    contents = {"empty": b"", "another's": (tmp_path / "other" / "web" / broken).read_bytes()}
    path.unlink()
    if how in contents:
        path.write_bytes(contents[how])
    (tmp_path / "web" / "dashboard.key.new").write_bytes(b"half")
    second = made(tmp_path)
    assert second.certificate.issuer == pki.load(first.ca)[0].subject
    assert second.ca.read_bytes() == authority
    fingerprint = second.fingerprint
    assert made(tmp_path, NOW + timedelta(days=340)).fingerprint != fingerprint
