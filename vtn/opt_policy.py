"""What the operator decides about opt schedules, for each programme (OPT-18)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from openadr import uri
from openadr.enums import OptType


class OptPolicy(BaseModel):
    """How schedules of one programme are taken and read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedules: frozenset[OptType] = Field(
        default=frozenset(OptType), description="Kinds of schedules that VENs may send; others are refused."
    )
    outside: OptType = Field(
        default=OptType.OPT_IN, description="Whether a VEN takes part where no schedule says anything."
    )
    precedence: OptType = Field(
        default=OptType.OPT_OUT, description="Which schedule rules where two of different kinds overlap."
    )
    overlap: bool = Field(
        default=True, description="Whether schedules of different kinds may overlap; if not they are refused."
    )
    events_in_opt_out: bool = Field(
        default=True, description="Whether events may be sent to a VEN for a time for which it is out."
    )


class OptPolicies(BaseModel):
    """The policies by market context; `default` is for every other programme."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: OptPolicy = Field(default_factory=OptPolicy, description="For programmes that are not named.")
    markets: dict[str, OptPolicy] = Field(
        default_factory=dict, description="By market context, compared as URIs."
    )

    def of(self, market_context: str | None) -> OptPolicy:
        """The policy of a programme, named by its market context."""
        if market_context is None:
            return self.default
        named = {uri.normal(name): policy for name, policy in self.markets.items()}
        return named.get(uri.normal(market_context), self.default)
