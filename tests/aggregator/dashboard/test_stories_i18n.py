"""The catalogues are whole: every text of every screen in every language, with the same values in it."""

from __future__ import annotations

import re

import pytest
from babel.messages.catalog import Message

from aggregator.access.permission import Role
from aggregator.dashboard import catalogue
from aggregator.dashboard.wording import FALLBACK, LOCALES
from tests.aggregator.dashboard.conftest import Screens
from tests.aggregator.dashboard.site import Site, settled

OTHERS = sorted(set(LOCALES) - {FALLBACK})
_VALUE = re.compile(r"%\(\w+\)[sd]|\{\w+\}|<[^>]+>")


def texts(message: Message) -> tuple[list[str], list[str]]:
    """The originals and the translations."""
    originals = [message.id] if isinstance(message.id, str) else list(message.id)
    translated = [message.string] if isinstance(message.string, str) else list(message.string)
    return originals, translated


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(language: str) -> None:
    """`python -m aggregator.dashboard.catalogue` gathers new texts for the translators."""
    assert list(catalogue.untranslated(catalogue.updated(language))) == []


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_loses_or_invents_a_value(language: str) -> None:
    wrong = []
    for message in catalogue.updated(language):
        if not message.id:
            continue
        originals, translated = texts(message)
        wanted = set(_VALUE.findall(originals[-1]))
        wrong += [text for text in translated if set(_VALUE.findall(text)) != wanted]
    assert wrong == []


@pytest.mark.parametrize(
    ("language", "heading", "title"), [("de", "Überblick", "Knoten"), ("ko", "개요", "노드")]
)
async def test_screens_speak_the_users_language(
    site: Site, screens: Screens, language: str, heading: str, title: str
) -> None:
    page = await site.sign_in(Role.VIEWER, f"viewer-{language}", language=language)
    await page.goto("/")
    await settled(page)
    assert await page.locator("h1").text_content() == heading
    assert await page.locator("html").get_attribute("lang") == language
    await screens(page, f"overview-{language}")
    await page.goto("/nodes")
    assert await page.locator("h1").text_content() == title
    await settled(page)
    await screens(page, f"nodes-{language}")
