# ruff: noqa: N818  # the names are those of the standard and of the contract between the packages
"""What can be wrong with a message, one class for each OpenADR response code (specification 8.7, ERR-01).

    ProtocolError                 theirs: `code`, `description`, the conformance rule, the message's name
      ComplianceError 459         the message breaks the standard
        OutOfSequence 450   NotAllowed 451   InvalidId 452   NotRecognised 453   InvalidData 454
      DeploymentError 469         the message is right, but not for this deployment
        SignalNotSupported 460   ReportNotSupported 461   TargetMismatch 462   NotRegistered 463
      TransportError              never became a message: answered by an HTTP status, not by a payload
        MalformedXml 406   SchemaInvalid 406   TooLarge 413   BadSignature 403
    EncodeError                   ours: a value that the schema does not allow was about to be sent
    CertificateError              ours: a certificate or key that cannot be used; the text names the file

Codes 455 to 458 and 464 to 468 are unassigned. A peer reads the first digit only (ERR-02).
"""


class ProtocolError(Exception):
    """The message cannot be accepted.

    `description` is for the peer's operator: no secrets, no traces (ERR-04). `rule` is the ID of the broken
    conformance rule where one is known. `message_name` is the class name of the message (`CreatedReport`),
    where it was recognised, `request_id` and `opt_id` are its own then, for the refusal to echo (GEN-14).
    """

    code: str = "459"
    request_id: str = ""
    opt_id: str = ""

    def __init__(
        self, description: str = "", *, rule: str | None = None, message_name: str | None = None
    ) -> None:
        self.description = description or (type(self).__doc__ or "").partition("\n")[0]
        self.rule = rule
        self.message_name = message_name
        super().__init__(self.description)


class ComplianceError(ProtocolError):
    """Expected information is missing, or the message does not belong here."""

    code = "459"


class OutOfSequence(ComplianceError):
    """The message comes out of sequence."""

    code = "450"


class NotAllowed(ComplianceError):
    """The operation is not allowed."""

    code = "451"


class InvalidId(ComplianceError):
    """An identifier is not the expected one."""

    code = "452"


class NotRecognised(ComplianceError):
    """The message is not recognised."""

    code = "453"


class InvalidData(ComplianceError):
    """A value is not valid."""

    code = "454"


class DeploymentError(ProtocolError):
    """The message cannot be served by this deployment."""

    code = "469"


class SignalNotSupported(DeploymentError):
    """The signal is not supported."""

    code = "460"


class ReportNotSupported(DeploymentError):
    """The report is not supported."""

    code = "461"


class TargetMismatch(DeploymentError):
    """The target or market context does not concern this party."""

    code = "462"


class NotRegistered(DeploymentError):
    """The party is not registered or not authorised."""

    code = "463"


class TransportError(ProtocolError):
    """The body is no message. `code` is the HTTP status of the answer (GEN-02)."""

    code = "406"

    @property
    def http_status(self) -> int:
        """The status to answer with."""
        return int(self.code)


class MalformedXml(TransportError):
    """The body is not well-formed XML, or uses what is refused: DOCTYPE, entities, instructions."""


class SchemaInvalid(TransportError):
    """The body is not valid under the schema of its profile."""


class TooLarge(TransportError):
    """The body is larger than the limits for incoming messages."""

    code = "413"


class BadSignature(TransportError):
    """The message is not signed as it must be: it is ignored (SIG-06).

    `description` is for our own log only. 403 over HTTP is the status for a peer that failed to authenticate
    (R517); it tells an honest peer to try again, and an attacker nothing.
    """

    code = "403"


class EncodeError(ValueError):
    """A message of ours holds a value that the schema does not allow."""


class CertificateError(Exception):
    """A certificate or key that cannot be used: one sentence that names the file."""
