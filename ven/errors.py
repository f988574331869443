"""What can go wrong on the VEN's side.

VenError
├── SettingsError          a setting that cannot work: the person who wrote it must act
├── StateError             the state file cannot be used
└── ExchangeError          one request was not answered as the standard says
    ├── Unreachable        no complete answer came: try again
    ├── WrongStatus        the VTN answered with another status than 200
    ├── BadAnswer          the answer is not OpenADR, or not for us
    └── UnexpectedMessage  a valid message that has no place here

`ExchangeError.retry` says whether the same request may be sent again unchanged (after the back-off).
"""


class VenError(Exception):
    """Something the VEN cannot do."""


class SettingsError(VenError):
    """A setting that cannot work."""


class StateError(VenError):
    """The state file cannot be used."""


class ExchangeError(VenError):
    """One request was not answered as the standard says."""

    retry = True


class Unreachable(ExchangeError):
    """No complete answer came from the VTN."""


class WrongStatus(ExchangeError):
    """The VTN answered with a status other than 200; its body is ignored (HTTP-09)."""

    def __init__(self, status: int, retry_after_s: float = 0.0) -> None:
        """Keep the status and how long the VTN asked us to wait."""
        super().__init__(f"the VTN answered with HTTP status {status}, expected 200")
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """Whether this request will never be taken as it is (404, 406, 501 and their kin)."""
        return self.status == 501 or (400 <= self.status < 500 and self.status not in {403, 408, 425, 429})


class BadAnswer(ExchangeError):
    """The VTN's answer is not a valid OpenADR message."""


class UnexpectedMessage(ExchangeError):
    """The VTN's answer is a valid message that has no place here."""
