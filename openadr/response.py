"""The general answer of both services, and the poll."""

from dataclasses import dataclass, field

from openadr.wire import Message, xml


@dataclass(frozen=True, slots=True)
class EiResponse:
    """Outcome of a request: three digits, read by the first one only (ERR-02). `request_id` echoes the request's."""

    code: str = field(metadata=xml("ei:responseCode"))
    description: str | None = field(default=None, metadata=xml("ei:responseDescription"))
    request_id: str = field(default="", metadata=xml("pyld:requestID"))

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
