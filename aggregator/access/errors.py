"""What can go wrong between a person and what he asks for.

AccessError(AggregatorError)
├── RefusedError        a request that is not carried out, and the status that says why
│   └── StaleFormError      ... because its form is of another session
├── FieldError          a field of a form that cannot be taken
├── SealError           a sealed text that does not open
└── ProviderError       the identity provider does not answer, or not as it should
    └── OutOfReachError     ... and the person who signs in has no part in that
"""

from __future__ import annotations

from aggregator.errors import AggregatorError


class AccessError(AggregatorError):
    """Something about users, their rights or their sessions stands in the way."""


class RefusedError(AccessError):
    """The request is not carried out."""

    def __init__(self, status: int, text: str, *, sign_in: bool = False, retry_after_s: int = 0) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.sign_in = sign_in
        """Whether signing in would help."""
        self.retry_after_s = retry_after_s


class StaleFormError(RefusedError):
    """A form of ours that does not carry the token of the session: of one before, or of nobody's."""

    def __init__(self) -> None:
        super().__init__(403, "this form is not of your session any more: load the page again")


class FieldError(AccessError):
    """A field that cannot be taken, and why."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


class SealError(AccessError):
    """A sealed text does not open with our key."""


class ProviderError(AccessError):
    """The identity provider cannot be asked, or what it says cannot be believed; `text` is for the person who
    wants to sign in, the message for the log.
    """

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(detail)
        self.text = text


class OutOfReachError(ProviderError):
    """The identity provider cannot be asked now: nobody guessed anything."""
