"""The OpenADR Alliance's sample messages, where they lie beside the repository; they are no part of it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from openadr import decode, encode
from openadr.checker import Outcome, check_bytes
from openadr.errors import SchemaInvalid
from openadr.parser import parse, validate

DIRECTORY = Path(os.environ.get("FLEXPACT_VECTORS", Path(__file__).parents[3] / "shared" / "vectors"))
INDEX = DIRECTORY / "expected.json"
EXPECTED: dict[str, dict[str, Any]] = json.loads(INDEX.read_text()) if INDEX.is_file() else {}

VALID_B = [name for name, said in EXPECTED.items() if name.startswith("2.0b/") and said["schema_valid"]]
INVALID_B = [name for name, said in EXPECTED.items() if name.startswith("2.0b/") and not said["schema_valid"]]


@pytest.fixture(autouse=True)
def _there() -> None:
    if not EXPECTED:
        pytest.skip("no sample messages: set FLEXPACT_VECTORS to their directory")


@pytest.mark.parametrize("name", VALID_B or ["none"])
def test_a_valid_sample_is_read_and_written_back_equal_and_valid(name: str) -> None:
    message = decode((DIRECTORY / name).read_bytes())
    written = encode(message)
    validate(parse(written))
    assert decode(written) == message


@pytest.mark.parametrize("name", INVALID_B or ["none"])
def test_an_invalid_sample_is_refused_and_the_element_named(name: str) -> None:
    with pytest.raises(SchemaInvalid, match=r"element \w+:\w+"):
        decode((DIRECTORY / name).read_bytes())


@pytest.mark.parametrize("name", list(EXPECTED) or ["none"])
def test_the_checker_agrees_with_the_schema_of_each_profile(name: str) -> None:
    verdict = check_bytes((DIRECTORY / name).read_bytes())
    assert verdict.profile == name[:4]
    assert (verdict.outcome in (Outcome.OK, Outcome.RULE)) == EXPECTED[name]["schema_valid"]
    assert verdict.outcome is not Outcome.MALFORMED
