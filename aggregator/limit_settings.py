"""How much may be asked of the grid at once, and from when on a second person must agree.

[limits]
approval_above_kw = 1000              # a second person from more than this on
approval_above_share = 0.5            # or where more than this share of the nodes is asked
max_concurrent_kw = 5000              # the budget: sum of all that is asked at any instant
max_ramp_kw_per_min = 2000            # begins, or ends, within any minute
max_events_per_day = 6                # that start on one local day
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Kilowatts = Annotated[Decimal, Field(gt=0, le=100_000_000)]


class LimitSettings(BaseModel):
    """What is left out does not limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    approval_above_kw: Kilowatts | None = Field(
        default=None, description="events that ask for more need a second person, kW"
    )
    approval_above_share: Decimal | None = Field(
        default=None, ge=0, le=1, description="events that ask more of the nodes need a second person, 0 to 1"
    )
    approval_expires_s: int = Field(
        default=3600, ge=60, le=7 * 86_400, description="how long a second person may decide, seconds"
    )
    max_concurrent_kw: Kilowatts | None = Field(
        default=None, description="sum of all that is asked at any instant, kW"
    )
    max_ramp_kw_per_min: Kilowatts | None = Field(
        default=None, description="what begins, or ends, within any minute, kW"
    )
    max_events_per_day: int | None = Field(
        default=None, ge=1, le=10_000, description="events that start on one local day"
    )
