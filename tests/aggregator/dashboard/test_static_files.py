"""Files of the pages: named by their content, small, and never half there."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest

from aggregator.dashboard import assets
from aggregator.dashboard.static_files import HERE, StaticFiles
from tests.aggregator.dashboard.site import Site
from vtn.errors import StartupError


async def test_a_file_is_kept_by_browsers_for_ever_under_a_name_of_its_content(site: Site) -> None:
    url = StaticFiles.load().url("app.css")
    async with aiohttp.ClientSession(site.address, auto_decompress=False) as http:
        async with http.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.status == 200 and answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            tag = answer.headers["ETag"]
        async with http.get(url, headers={"If-None-Match": tag}) as again:
            assert again.status == 304 and await again.read() == b""
        async with http.get(re.sub(r"/static/\w+/", "/static/old/", url)) as old:
            assert old.status == 200 and old.headers["Cache-Control"] == "no-cache"
        async with http.get("/static/x/../../page.py") as outside, http.get("/static/x/no.css") as none:
            assert (outside.status, none.status) == (404, 404)


def test_another_content_is_another_name() -> None:
    one, other = StaticFiles({"a.css": b"a{}"}), StaticFiles({"a.css": b"b{}"})
    assert one.url("a.css") != other.url("a.css")
    with pytest.raises(KeyError, match=r"there is no static file b\.css"):
        one.url("b.css")


def test_missing_third_party_files_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assets, "VENDOR", tmp_path)
    with pytest.raises(StartupError, match=r"run python -m aggregator\.dashboard\.assets"):
        StaticFiles.load()


def test_files_of_another_lock_are_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in assets.SERVED:
        (tmp_path / name).touch()
    monkeypatch.setattr(assets, "VENDOR", tmp_path)
    assert not assets.complete()
    (tmp_path / "lock.sha256").write_text("0" * 64, "ascii")
    assert not assets.complete()


def test_every_third_party_file_has_its_licence_beside_it() -> None:
    packages = {name.split(".")[0] for name in assets.SERVED}
    assert all((assets.VENDOR / f"{package}.LICENSE").stat().st_size > 100 for package in packages)


def test_nothing_of_ours_needs_what_the_policy_forbids() -> None:
    templates = HERE.parent / "templates"
    for path in templates.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        forbidden = r"\sstyle=|<style|<script(?![^>]*\ssrc=)|\son(?!e=)\w+=|hx-on|js:|//cdn"
        assert not re.search(forbidden, text), path
    for path in HERE.glob("*.js"):
        assert not re.search(r"\beval\(|new Function|innerHTML|https?://", path.read_text("utf-8")), path
