"""What can go wrong in the server, and who made the mistake.

    VtnError
    +-- StartupError     ours: the operator must change a setting before the server can run
    +-- NotAdmitted      an event that the agreement does not allow
    +-- DuplicateEvent   an event id that is in use
    +-- CertificateRefused   a certificate that cannot be enrolled (our caller's mistake)
    +-- NotOffered       a report that a VEN does not offer as it was asked for
    +-- DuplicateRequest a report request id that is in use
    +-- UnknownObject    something was named that does not exist here (our caller's mistake)
    +-- StoreError       the database did not take the change; nothing was kept, try again
        +-- StoreBusy    another process held the database for longer than the time allowed

What a peer did wrong is an `openadr.errors.ProtocolError`; `vtn.exchange` turns it into the fitting reply.
"""

from __future__ import annotations


class VtnError(Exception):
    """Base of the server's errors."""


class StartupError(VtnError):
    """The server cannot start: the text is one sentence for the person who must act."""


class NotAdmitted(VtnError):  # noqa: N818 - the name says what happened
    """An event was refused by a clause of the agreement; `ven_id` where the VEN is known."""

    def __init__(self, clause: str, text: str) -> None:
        self.ven_id: str | None = None
        super().__init__(f"{clause}: {text}")
        self.clause = clause
        self.text = text


class UnknownObject(VtnError):  # noqa: N818 - the name says what happened
    """Something was named that does not exist here."""


class StoreError(VtnError):
    """The database did not take the change; nothing was kept."""


class StoreBusy(StoreError):  # noqa: N818 - the name says what happened
    """Another process held the database for longer than the time allowed."""


class DuplicateEvent(VtnError):  # noqa: N818 - the name says what happened
    """A VEN was given another event under the same id already."""


class NotOffered(VtnError):  # noqa: N818 - the name says what happened
    """A report that a VEN does not offer as it was asked for; `code` is what the VEN would answer."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class DuplicateRequest(VtnError):  # noqa: N818 - the name says what happened
    """A report request id is in use for another request."""


class CertificateRefused(VtnError, ValueError):  # noqa: N818 - the name says what happened
    """A certificate cannot be enrolled for this VEN."""
