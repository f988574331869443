"""What can go wrong in the business, and who must act.

AggregatorError
├── SettingsError       the person who wrote the configuration file
├── RequestRefusedError      the operator: the request cannot be carried out as asked
│   ├── BadInputError        ... because a value in it can be none
│   ├── UnknownObjectError   ... because what it names does not exist
│   └── KeyReusedError       ... because its idempotency key belongs to another request
├── BaselineError       nobody: the readings do not carry a baseline (yet)
└── ForecastError       nobody: the readings do not carry a forecast (yet)
"""


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


class BaselineError(AggregatorError):
    """Too few complete like days for a baseline."""


class ForecastError(AggregatorError):
    """Too few readings for a forecast."""
