"""Requests that a machine makes of the OpenAPI document, against the running API: whatever it thinks of,
the answers are what the document says.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from aggregator.access.permission import Role
from aggregator.api_document import text
from tests.aggregator.access.conftest import House, house  # noqa: F401 - a fixture
from tests.aggregator.test_api_serve import token_of

SEED = 20_260_120
WRONG_IN_BUSINESS = ["2xx", "304", "401", "403", "404", "409", "412", "422", "503"]
"""What valid requests may be answered: they can name what is not there, or contradict what is."""


def made(address: str) -> Any:
    config = SchemathesisConfig.from_dict(
        {"checks": {"positive_data_acceptance": {"expected-statuses": WRONG_IN_BUSINESS}}}
    )
    schema = schemathesis.openapi.from_dict(json.loads(text()), config=config)
    schema.config.update(base_url=address)
    return schema


def ask(operation: Any, mode: GenerationMode, headers: dict[str, str], examples: int) -> None:
    """Requests to one operation; the first that is not answered as the document says fails."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.call_and_validate(headers=headers, timeout=120)

    run()


def ask_all(address: str, token: str, examples: int) -> list[str]:
    """Valid and invalid requests to all operations; what was not answered as the document says."""
    headers = {"Authorization": f"Bearer {token}"}
    operations = [found.ok() for found in made(address).get_all_operations()]
    assert len(operations) > 40
    failures = []
    for operation in operations:
        for mode in GenerationMode:
            try:
                ask(operation, mode, headers, examples)
            except FailureGroup as group:
                failures.append(f"{operation.label}, {mode.value}: {group}")
    return failures


async def test_whatever_is_asked_is_answered_as_the_document_says(house: House) -> None:  # noqa: F811
    token = await token_of(house, Role.ADMIN)
    failures = await asyncio.to_thread(ask_all, house.address, token, 1)
    assert not failures, "\n\n".join(failures)


@pytest.mark.long
async def test_whatever_is_asked_many_times_is_answered_so_too(house: House) -> None:  # noqa: F811
    token = await token_of(house, Role.ADMIN)
    failures = await asyncio.to_thread(ask_all, house.address, token, 30)
    assert not failures, "\n\n".join(failures)
