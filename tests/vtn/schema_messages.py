"""Every message that the schema has, with an example of each; a type that it gains has to get one."""

from __future__ import annotations

from functools import cache

from lxml import etree

from openadr import (
    CanceledOpt,
    CreatedOpt,
    CreatedPartyRegistration,
    DistributeEvent,
    EiResponse,
    Message,
    RequestReregistration,
    encode,
)
from openadr.codec import messages as classes
from openadr.parser import schema, schema_directory
from openadr.wire import NAMESPACES
from tests.vtn.test_exchange import messages as from_a_ven
from vtn.exchange import PROFILES, ROUTES

XS = "{http://www.w3.org/2001/XMLSchema}"
OADR, EI = (f"{{{NAMESPACES[prefix]}}}" for prefix in ("oadr", "ei"))
OK = EiResponse.ok("r")


@cache
def of_the_schema() -> tuple[str, ...]:
    """The names of all messages that a signed object may hold."""
    root = etree.parse(str(schema_directory() / "oadr_20b.xsd")).getroot()
    (signed,) = (each for each in root.iter(f"{XS}element") if each.get("name") == "oadrSignedObject")
    references = (each.get("ref") for each in signed.iter(f"{XS}element"))
    return tuple(sorted(name.removeprefix("oadr:") for name in references if name))


def examples(ven_id: str) -> dict[str, Message]:
    """A message of every type by the name of its element; what only a VTN may send is here too."""
    ours: list[Message] = [
        DistributeEvent(request_id="r", vtn_id="v"),
        CreatedPartyRegistration(response=OK, vtn_id="v", profiles=PROFILES, ven_id=ven_id),
        RequestReregistration(ven_id=ven_id),
        CreatedOpt(response=OK, opt_id="o1"),
        CanceledOpt(response=OK, opt_id="o1"),
    ]
    names = {cls: tag.rpartition("}")[2] for tag, cls in classes().items()}
    return {names[type(each)]: each for each in [*ours, *(pair[0] for pair in from_a_ven(ven_id).values())]}


def service_of(message: Message) -> str:
    """Where the message belongs; of what no VEN sends, anywhere."""
    route = ROUTES.get(type(message))
    return sorted(route.services)[0] if route else "EiEvent"


def element_of(root: etree._Element) -> etree._Element:
    """The message's own element in its wrapper."""
    return root[0][0]


def with_ven_id(message: Message, *texts: str) -> bytes:
    """The message on the wire, with a venID of its own for each of these texts, which are XML."""
    root = etree.fromstring(encode(message))
    element = element_of(root)
    (found,) = element.findall(f"{EI}venID")
    for text in texts:
        found.addprevious(etree.fromstring(f'<ei:venID xmlns:ei="{EI[1:-1]}">{text}</ei:venID>'))
    element.remove(found)
    return etree.tostring(root)


def has_ven_id(message: Message) -> bool:
    """Whether the schema lets this type name its VEN."""
    return element_of(etree.fromstring(encode(message))).find(f"{EI}venID") is not None


def may_name_its_ven(message: Message) -> bool:
    """Whether the schema allows a venID in the message's own element: it is tried at every place."""
    root = (
        etree.fromstring(with_ven_id(message)) if has_ven_id(message) else etree.fromstring(encode(message))
    )
    element, name = element_of(root), etree.fromstring(f'<ei:venID xmlns:ei="{EI[1:-1]}">x</ei:venID>')
    for place in range(len(element) + 1):
        element.insert(place, name)
        if schema().validate(root):
            return True
        element.remove(name)
    return False


NAMED = tuple(sorted(name for name, message in examples("x").items() if has_ven_id(message)))
"""The types that name their VEN."""
