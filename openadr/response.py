"""The general answer of both services, and the poll."""

from dataclasses import dataclass, field

from openadr.wire import Message, xml


def check_code(code: str) -> None:
    """Refuses what is not three digits (ERR-01)."""
    if not (len(code) == 3 and code.isascii() and code.isdigit()):
        raise ValueError(f"a response code has three digits, not {code!r}")


@dataclass(frozen=True, slots=True)
class EiResponse:
    """Outcome of a request: three digits, read by the first (ERR-02). `request_id` echoes the request's."""

    code: str = field(metadata=xml("ei:responseCode"))
    description: str | None = field(default=None, metadata=xml("ei:responseDescription"))
    request_id: str = field(default="", metadata=xml("pyld:requestID"))

    def __post_init__(self) -> None:
        check_code(self.code)

    @classmethod
    def ok(cls, request_id: str = "") -> "EiResponse":
        """Success."""
        return cls("200", "OK", request_id)

    @property
    def is_success(self) -> bool:
        """Whether the request was accepted."""
        return self.code.startswith("2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """oadrResponse: the answer where no other payload belongs. `ven_id` always from a VEN (GEN-09)."""

    response: EiResponse = field(metadata=xml("ei:eiResponse"))
    ven_id: str | None = field(default=None, metadata=xml("ei:venID"))


@dataclass(frozen=True, slots=True)
class Poll(Message):
    """oadrPoll: a pull VEN asks what is there for it."""

    ven_id: str = field(metadata=xml("ei:venID"))
