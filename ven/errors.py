"""What can go wrong on the VEN's side.

VenError
├── SettingsError               a setting that cannot work: the person who wrote it must act
├── StateError                  the state file cannot be used
├── RefusedRequestError         a report request that cannot be served
├── RefusedEventError           an event that the site refuses with a code of its own
└── ExchangeError               one request was not answered as the standard says
    ├── UnreachableError        no complete answer came: the same request is sent again after the back-off
    │   └── IgnoredAnswerError  the answer is not signed as it must be
    ├── WrongStatusError        the VTN answered with another status than 200
    ├── BadAnswerError          the answer is not a valid OpenADR message
    └── UnexpectedMessageError  the answer is a valid message that has no place here
"""


class VenError(Exception):
    """Something the VEN cannot do."""


class SettingsError(VenError):
    """A setting that cannot work."""


class StateError(VenError):
    """The state file cannot be used."""


class ExchangeError(VenError):
    """One request was not answered as the standard says."""


class UnreachableError(ExchangeError):
    """No complete answer came from the VTN."""


class WrongStatusError(ExchangeError):
    """The VTN answered with a status other than 200; its body is ignored (HTTP-09)."""

    def __init__(self, status: int, retry_after_s: float = 0.0) -> None:
        """Keep the status and how long the VTN asked us to wait."""
        super().__init__(f"the VTN answered with HTTP status {status}, expected 200")
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def refused(self) -> bool:
        """Whether this request will never be taken as it is (404, 406, 501 and their kin)."""
        return self.status == 501 or (300 <= self.status < 500 and self.status not in {403, 408, 425, 429})


class IgnoredAnswerError(UnreachableError):
    """The VTN's answer is not validly signed: it counts as none, and the request is sent again (SIG-06)."""


class BadAnswerError(ExchangeError):
    """The VTN's answer is not a valid OpenADR message."""


class UnexpectedMessageError(ExchangeError):
    """The VTN's answer is a valid message that has no place here."""


class RefusedEventError(VenError):
    """A site raises this in `decide` to refuse an event: the VTN is told `code` and text (ERR-05)."""

    def __init__(self, code: str, text: str) -> None:
        """Keep the response code, which says an error: 4xx or 5xx."""
        super().__init__(text)
        if not (len(code) == 3 and code.isascii() and code.isdigit() and code[0] in "45"):
            raise ValueError(f"the code of a refusal is 4xx or 5xx, not {code!r}")
        self.code = code


class RefusedRequestError(VenError):
    """A report request that this VEN cannot serve; `code` is what the VTN is told."""

    def __init__(self, code: str, text: str) -> None:
        """Keep the response code."""
        super().__init__(text)
        self.code = code
