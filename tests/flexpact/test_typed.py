"""What is typed as a name or a reason must be text: a byte that is none is refused in one sentence."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from flexpact.cli import build
from flexpact.typed import text

NO_UTF8 = "a\udcff"  # as Python gives a program the byte 0xff of its command line


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "erase", NO_UTF8, "--config", "x.toml"],
        ["ledger", "erase", "node-1", "--home", NO_UTF8, "--config", "x.toml"],
        ["ledger", "agreement", "dispute", "0" * 64, "e", "--reason", NO_UTF8],
        ["aggregator", "user", "link", NO_UTF8, "--socket", "x"],
    ],
    ids=["node", "home", "reason", "user"],
)
def test_a_byte_that_is_no_text_is_refused(words: list[str]) -> None:
    done = CliRunner().invoke(build(words), words)
    assert (done.exit_code, "it is not UTF-8 at letter 2" in done.output) == (2, True)


def test_text_stays_as_it_is() -> None:
    assert text("Käte №1") == "Käte №1"
    with pytest.raises(typer.BadParameter):
        text(NO_UTF8)
