"""What can go wrong in the business, and who must act.

AggregatorError
├── SettingsError       the person who wrote the configuration file
├── RequestRefusedError      the operator: the request cannot be carried out as asked
│   ├── BadInputError        ... because a value in it can be none
│   ├── UnknownObjectError   ... because what it names does not exist
│   ├── KeyReusedError       ... because its idempotency key belongs to another request
│   ├── PreviewChangedError  ... because it would not be what the operator has seen
│   ├── StaleEventError      ... because the event has changed since the operator looked at it
│   ├── OverrideError        ... because a home can no more stay out of the event, or come back to it
│   ├── BudgetExceededError  ... because more would be asked of the grid than the budget has
│   ├── BreakerOpenError     ... because somebody asked for more than the budget, and no admin has looked
│   ├── ApprovalNeededError  ... because two people decide about events of this size
│   └── ApprovalError        ... because the second person cannot approve it, or not any more
├── BackupError         the operator: no backup can be made, or put back, as asked
├── BaselineError       nobody: the readings do not carry a baseline (yet)
└── ForecastError       nobody: the readings do not carry a forecast (yet)
"""

from enum import StrEnum


class AggregatorError(Exception):
    """Something in the aggregator's business went wrong."""

    def __init__(self, text: str | None = None) -> None:
        super().__init__(text or self.__class__.__doc__)


class SettingsError(AggregatorError):
    """The configuration cannot be used; correct the named field and start again."""


class RequestRefusedError(AggregatorError):
    """The request cannot be carried out as asked."""

    http_status = 422


class BadInputError(RequestRefusedError):
    """A value in the request cannot be one."""

    http_status = 400


class UnknownObjectError(RequestRefusedError):
    """There is no such request, event or receipt."""

    http_status = 404


class KeyReusedError(RequestRefusedError):
    """This idempotency key was used for a different request before; use a new key."""

    http_status = 409


class PreviewChangedError(RequestRefusedError):
    """What would be sent now is not what was previewed; look at the new preview."""

    http_status = 409


class StaleEventError(RequestRefusedError):
    """The event has changed since you looked at it: look again."""

    http_status = 409


class Obstacle(StrEnum):
    """Why a home can stay out of an event no more, or come back to it."""

    CANCELLED = "cancelled"
    OVER = "over"
    BEGUN = "begun"
    STALE = "stale"  # it is not the event that was looked at
    UNABLE = "unable"  # its box cannot leave it out
    OFTEN = "often"  # it has come back as often as is possible
    LAST = "last"  # the event runs, and nobody else behind its box takes part


class OverrideError(RequestRefusedError):
    """A home can stay out of this event no more, or come back to it."""

    http_status = 409

    def __init__(self, obstacle: Obstacle, text: str) -> None:
        super().__init__(text)
        self.obstacle = obstacle


class BudgetExceededError(RequestRefusedError):
    """More would be asked of the grid than the budget has."""

    http_status = 409


class BreakerOpenError(RequestRefusedError):
    """The breaker is open: an admin closes it."""

    http_status = 409


class ApprovalNeededError(RequestRefusedError):
    """Two people decide about events of this size: propose it, and another person approves it."""

    http_status = 409


class ApprovalError(RequestRefusedError):
    """It cannot be approved."""

    http_status = 409


class BackupError(AggregatorError):
    """No backup can be made, or put back, as asked."""


class BaselineError(AggregatorError):
    """Too few complete like days for a baseline."""


class ForecastError(AggregatorError):
    """Too few readings for a forecast."""
