"""One class for each code of the standard."""

import pytest

from openadr import errors
from openadr.errors import ProtocolError, TransportError
from openadr.rules import UNASSIGNED_CODES


def subclasses(cls: type[ProtocolError]) -> set[type[ProtocolError]]:
    ours = [sub for sub in cls.__subclasses__() if sub.__module__ == errors.__name__]
    return {cls}.union(*map(subclasses, ours))


@pytest.mark.criterion("ERR-01")
def test_every_assigned_code_has_one_class() -> None:
    application = subclasses(ProtocolError) - subclasses(TransportError) - {ProtocolError}
    codes = sorted(cls.code for cls in application)
    assert codes == ["450", "451", "452", "453", "454", "459", "460", "461", "462", "463", "469"]
    assert not UNASSIGNED_CODES & set(codes)


@pytest.mark.parametrize("cls", sorted(subclasses(ProtocolError), key=lambda cls: cls.__name__))
def test_an_error_says_something_without_being_told(cls: type[ProtocolError]) -> None:
    error = cls()
    assert error.description
    assert "\n" not in str(error)
    assert cls("because").description == "because"


def test_transport_errors_carry_their_http_status() -> None:
    assert errors.MalformedXml().http_status == errors.SchemaInvalid().http_status == 406
    assert errors.TooLarge().http_status == 413
