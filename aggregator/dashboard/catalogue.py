"""The catalogues of the translators: `python -m aggregator.dashboard.catalogue [--check]`.

Gathers every marked text of templates and modules into `locale/LANGUAGE.po`, keeps what is translated and
drops what no page says any more. `--check` changes nothing and names what is not translated.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from aggregator.dashboard.wording import CATALOGUES, FALLBACK, LOCALES

HERE = Path(__file__).parent
_METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
_OPTIONS = {"templates/**.html": {"silent": "false", "trimmed": "false", "extensions": "jinja2.ext.do"}}
# what a header says of persons and days; the history of the repository knows better
_OF_NOBODY = (
    '"POT-Creation',
    '"PO-Revision',
    '"Report-Msgid',
    '"Last-Translator',
    '"Language-Team',
    '"Generated',
)


def gathered() -> Catalog:
    """Every marked text, with the files that say it."""
    catalog = Catalog(project="flexpact", charset="utf-8")
    found = extract_from_dir(str(HERE), _METHODS, _OPTIONS, strip_comment_tags=True)
    for name, line, message, _, context in found:
        catalog.add(message, locations=[(name, line)], context=context)
    return catalog


def updated(language: str, folder: Path = CATALOGUES) -> Catalog:
    """A language's catalogue with the texts of today."""
    path = folder / f"{language}.po"
    catalog = Catalog(locale=language, project="flexpact", charset="utf-8", fuzzy=False)
    if path.is_file():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language)
    catalog.update(gathered(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.header_comment = f"# {LOCALES[language].english_name} texts of flexpact's dashboard."
    return catalog


def untranslated(catalog: Catalog) -> Iterator[str]:
    """The texts that have no translation, or one that does not fit."""
    for message in catalog:
        if not message.id:
            continue
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        first = message.id if isinstance(message.id, str) else message.id[0]
        if not all(strings) or message.fuzzy:
            yield first
        for error in message.check(catalog):
            yield f"{first}: {error}"


def write(catalog: Catalog, path: Path) -> None:
    """Write a catalogue, in the same way every time."""
    text = io.BytesIO()
    write_po(text, catalog, width=0, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    lines = text.getvalue().decode().splitlines()
    kept = [line for line in lines if not line.startswith(_OF_NOBODY)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


def main() -> None:
    """Update or check all catalogues."""
    parser = argparse.ArgumentParser(description="Update the dashboard's catalogues of translations.")
    parser.add_argument("--check", action="store_true", help="write nothing, name what is not translated")
    check = parser.parse_args().check
    missing = []
    for language in LOCALES:
        if language == FALLBACK:
            continue
        catalog = updated(language)
        missing += [f"{language}: {text}" for text in untranslated(catalog)]
        if not check:
            write(catalog, CATALOGUES / f"{language}.po")
    if check and missing:
        raise SystemExit("\n".join(["not translated:", *missing]))


if __name__ == "__main__":
    main()
