"""What values a data point can have at all: the operator's knowledge of what stands behind it (GOALS 22)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtn.judgement import MAX_ABS_VALUE
from vtn.registration import Ven


class ReadingRange(BaseModel):
    """The least and the greatest value of a data point, in the unit that its VEN reports it in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ven: str | None = Field(
        default=None, description="Id or name of the VEN; every VEN where it is left out."
    )
    r_id: str | None = Field(default=None, description="The data point; every one where it is left out.")
    least: float = Field(default=0.0, ge=-MAX_ABS_VALUE, le=MAX_ABS_VALUE, description="No value is below.")
    most: float = Field(ge=-MAX_ABS_VALUE, le=MAX_ABS_VALUE, description="No value is above.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is above most {self.most:g}")
        return self


def ranges_of(
    ranges: Iterable[ReadingRange], ven: Ven, r_ids: Iterable[str]
) -> Mapping[str, tuple[float, float]]:
    """The range of each of these data points of a VEN; of several that fit, the first counts."""
    own = [each for each in ranges if each.ven in (None, ven.ven_id, ven.ven_name)]
    found: dict[str, tuple[float, float]] = {}
    for r_id in r_ids if own else ():
        fits = next((each for each in own if each.r_id in (None, r_id)), None)
        if fits is not None:
            found[r_id] = fits.least, fits.most
    return found
