"""Random messages drawn from the schema itself, not from the package's own description of messages."""

from collections.abc import Iterator
from random import Random

from lxml import etree

from openadr.parser import schema_directory
from openadr.tree import write_tree
from tests.openadr.samples.feed import FEED

XS = "{http://www.w3.org/2001/XMLSchema}"
FILES = (
    "20b",
    "ei_20b",
    "emix_20b",
    "gml_20b",
    "power_20b",
    "pyld_20b",
    "siscale_20b",
    "strm_20b",
    "xcal_20b",
)
CURRENCIES = "oadr_ISO_ISO3AlphaCurrencyCode_20100407.xsd"
FEED_TAG = "{http://www.w3.org/2005/Atom}feed"
STRANGE = (
    "",
    " ",
    "0012",
    "a<b>&\"'",
    "é\U0001f50c",
    "x-1",
    "  two  spaces ",
    "-0",
    "null",
    "\n\t",
    "x" * 60,
)
DURATIONS = (
    "PT0S",
    "PT15M",
    "P1D",
    "-PT5M",
    "P1Y2M3DT4H5M6S",
    "1W",
    "+PT1H",
    "P",
    "PT",
    "P5H",
    "P0D",
    "P10M",
)
INSTANTS = (
    "2026-07-01T08:00:00Z",
    "2026-07-01T08:00:00",
    "2024-02-29T24:00:00Z",
    "0001-01-01T00:00:00.5Z",
    "9999-12-31T23:59:59Z",
    "-0044-03-15T12:00:00Z",
)
PATTERNS = {
    r"x-\S.*": ("x-a", "x-B c"),
    "[0-9][0-9][0-9]": ("200", "452", "000", "999"),
    r"(\-|\+)?\d{4}\-\d{2}\-\d{2}T\d{2}:\d{2}:\d{2}(\.\d*)?Z?": INSTANTS,
    r"(\+|\-)?P((\d+Y)?(\d+M)?(\d+D)?T?(\d+H)?(\d+M)?(\d+S)?)|(\d+W)": DURATIONS,
}
BUILT_IN = {
    "string": STRANGE,
    "token": ("a", "a b"),
    "boolean": ("true", "false", "1", "0", " true "),
    "float": ("0", "-1.5", "1e30", "INF", "NaN", "007", "+.5", "1E-3"),
    "double": ("0", "59.25", "-1e2"),
    "decimal": ("0", "50.0", "+230", "-.5"),
    "unsignedInt": ("0", "1", "007", "4294967295", " 5 "),
    "anyURI": ("http://a.example/x?y=1&z=2", "", " urn:a "),
}


class Schema:
    """The global declarations of the schema, and messages made from them."""

    def __init__(self) -> None:
        self.globals: dict[tuple[str, str], etree._Element] = {}
        self.members: dict[str, list[str]] = {}
        parser = etree.XMLParser(
            resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
        )
        names = [f"oadr_{name}.xsd" for name in FILES] + [CURRENCIES]
        for name in names:
            root = etree.parse(str(schema_directory() / name), parser).getroot()
            for node in root:
                if node.get("name") is None:
                    continue
                tag = f"{{{root.get('targetNamespace')}}}{node.get('name')}"
                self.globals[etree.QName(node).localname, tag] = node
                head = node.get("substitutionGroup")
                if head is not None:
                    self.members.setdefault(self.resolve(node, head), []).append(tag)
        self.ids = 0

    def resolve(self, node: etree._Element, name: str) -> str:
        prefix, _, local = name.rpartition(":")
        return f"{{{node.nsmap[prefix or None]}}}{local}"

    def message(self, random: Random, tag: str) -> etree._Element:
        """One random message, bare."""
        holder = etree.Element("holder")
        self.element(random, holder, self.globals["element", tag], tag)
        return holder[0]

    def element(self, random: Random, parent: etree._Element, node: etree._Element, tag: str) -> None:
        if tag == FEED_TAG:
            write_tree(FEED, parent)
            return
        made = etree.SubElement(parent, tag)
        fixed, type_name = node.get("fixed"), node.get("type")
        inline = node.find(f"{XS}complexType"), node.find(f"{XS}simpleType")
        if fixed is not None:
            made.text = random.choice((fixed, None))
        elif type_name is not None:
            self.typed(random, made, node, type_name)
        elif inline[0] is not None:
            self.content(random, made, inline[0])
        elif inline[1] is not None:
            made.text = self.simple(random, inline[1])
        elif node.get("substitutionGroup") is not None:
            made.text = random.choice(STRANGE)

    def typed(self, random: Random, made: etree._Element, node: etree._Element, name: str) -> None:
        tag = self.resolve(node, name)
        complex_type = self.globals.get(("complexType", tag))
        if complex_type is not None:
            self.content(random, made, complex_type)
        else:
            made.text = self.simple_named(random, tag)

    def content(self, random: Random, made: etree._Element, node: etree._Element) -> None:
        """Particles and attributes of a complex type or of what stands inside one."""
        for part in node:
            kind = etree.QName(part).localname
            if kind == "sequence":
                self.content(random, made, part)
            elif kind == "choice":
                options = list(part.iterchildren(f"{XS}element"))
                self.particle(random, made, random.choice(options), once=True)
            elif kind == "element":
                self.particle(random, made, part)
            elif kind in ("complexContent", "extension", "restriction"):
                if kind == "extension":
                    base = self.globals["complexType", self.resolve(part, part.get("base", ""))]
                    self.content(random, made, base)
                self.content(random, made, part)
            elif kind == "attribute":
                self.attribute(random, made, part)

    def particle(
        self, random: Random, made: etree._Element, node: etree._Element, *, once: bool = False
    ) -> None:
        least = 1 if once else int(node.get("minOccurs", "1"))
        most = 3 if node.get("maxOccurs") == "unbounded" else int(node.get("maxOccurs", "1"))
        for _ in range(random.randint(least, max(least, most))):
            ref = node.get("ref")
            if ref is None:
                namespace = node.getroottree().getroot().get("targetNamespace")
                self.element(random, made, node, f"{{{namespace}}}{node.get('name')}")
            else:
                tag = random.choice(list(self.concrete(self.resolve(node, ref))))
                declared = self.globals.get(("element", tag))
                if declared is not None or tag == FEED_TAG:
                    self.element(random, made, node if declared is None else declared, tag)

    def concrete(self, tag: str) -> Iterator[str]:
        """The element and whatever may stand for it, abstract ones and abstract types left out."""
        node = self.globals.get(("element", tag))
        if node is None:
            yield tag
            return
        type_node = self.globals.get(("complexType", self.resolve(node, node.get("type") or "xs:none")))
        if node.get("abstract") != "true" and (type_node is None or type_node.get("abstract") != "true"):
            yield tag
        for member in self.members.get(tag, []):
            yield from self.concrete(member)

    def attribute(self, random: Random, made: etree._Element, node: etree._Element) -> None:
        if random.random() < 0.5:
            return
        tag = self.resolve(node, node.get("ref", ""))
        if tag.endswith("}schemaVersion"):
            made.set(tag, random.choice(("2.0b", "2.0a", "x-1")))
        else:
            self.ids += 1
            made.set(tag, f"id-{self.ids}")

    def simple_named(self, random: Random, tag: str) -> str:
        if tag.startswith(XS):
            return random.choice(BUILT_IN[tag.removeprefix(XS)])
        return self.simple(random, self.globals["simpleType", tag])

    def simple(self, random: Random, node: etree._Element) -> str:
        part = next(node.iterchildren(f"{XS}restriction", f"{XS}union", f"{XS}list"))
        kind = etree.QName(part).localname
        if kind == "union":
            return self.simple_named(
                random, self.resolve(part, random.choice(part.get("memberTypes", "").split()))
            )
        if kind == "list":
            item = self.resolve(part, part.get("itemType", ""))
            return " ".join(self.simple_named(random, item).strip() for _ in range(random.randint(0, 4)))
        words = [item.get("value", "") for item in part.iterchildren(f"{XS}enumeration")]
        if words:
            return random.choice(words)
        pattern = part.find(f"{XS}pattern")
        if pattern is not None:
            return random.choice(PATTERNS[pattern.get("value", "")])
        highest = part.find(f"{XS}maxInclusive")
        if highest is not None:
            return str(random.randint(0, int(highest.get("value", ""))))
        return self.simple_named(random, self.resolve(part, part.get("base", "")))
