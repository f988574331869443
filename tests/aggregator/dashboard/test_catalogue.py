"""The translators' catalogues: every text is gathered, and no translation is lost."""

from __future__ import annotations

from pathlib import Path

from aggregator.dashboard import catalogue


def test_texts_of_templates_and_of_modules_are_gathered() -> None:
    found = catalogue.gathered()
    assert "Skip to the content" in found  # base.html
    assert "Page %(page)s of %(pages)s, %(total)s in all" in found  # a macro's trans block
    assert "Not registered" in found  # health.py


def test_a_translation_is_kept_and_what_lacks_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "de.po"
    made = catalogue.updated("de", tmp_path)
    message = made.get("Overview")
    assert message is not None and "Overview" in set(catalogue.untranslated(made))
    message.string = "Überblick"
    catalogue.write(made, path)
    again = catalogue.updated("de", tmp_path)
    assert "Overview" not in set(catalogue.untranslated(again))
    first = path.read_bytes()
    catalogue.write(again, path)
    assert path.read_bytes() == first


def test_a_translation_that_loses_a_value_is_named(tmp_path: Path) -> None:
    made = catalogue.updated("de", tmp_path)
    message = made.get("%(ok)s of %(total)s")
    assert message is not None
    message.string = "%(ok)s von %(alle)s"
    assert any(text.startswith("%(ok)s of %(total)s: ") for text in catalogue.untranslated(made))
