"""The filter of a list as its page's address has it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from aggregator.dashboard.page import Visit
from aggregator.dashboard.statements import errors_of

LONGEST = 1000
C = TypeVar("C", bound=BaseModel)


def chosen(visit: Visit, kind: type[C]) -> tuple[C, dict[str, str], dict[str, str]]:
    """The filter without the fields that cannot be taken, what was typed, and what is wrong with it."""
    typed = {name: value[:LONGEST] for name, value in visit.request.query.items()}
    try:
        return kind.model_validate(typed), typed, {}
    except ValidationError as error:
        errors = errors_of(error, visit)
        usable = {name: value for name, value in typed.items() if name not in errors}
        return kind.model_validate(usable), typed, errors
