"""Rules on our own source that keep input harmless (GOALS 2), checked on the syntax tree of every package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("openadr", "vtn", "ven", "feid", "aggregator", "ledger", "flexpact")
FORBIDDEN_MODULES = {
    "xmltodict",
    "xml.etree",
    "xml.etree.ElementTree",
    "xml.etree.cElementTree",
    "xml.dom.minidom",
    "xml.sax",
    "xml.dom.pulldom",
    "lxml.html",
    "lxml.objectify",
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
}
# the one place where a body is parsed, and the one where its pieces are written
PARSING = {"openadr/parser.py"}
PARSERS = {"fromstring", "parse", "XML", "HTML", "iterparse", "XMLPullParser", "XMLParser", "HTMLParser"}
# where XML is not written by its library (GOALS 18): signatures around base64 and the hull of what is signed,
# both held against the library's canonical form; and the pattern of an interval, which nobody sends
TEXT_OF_XML = {"openadr/signature.py", "openadr/signed_tree.py", "openadr/alike.py"}
MARKUP = re.compile(r"</?(?:$|[A-Za-z])|<\?xml")


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def faults(tree: ast.AST, place: str) -> Iterator[str]:
    """What a module does that the rules forbid."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {name.name}" for name in node.names if name.name in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
            yield from (f"imports {name}" for name in sorted(names & FORBIDDEN_MODULES))
        elif isinstance(node, ast.Call):
            yield from call_faults(node, place)
        elif isinstance(node, ast.JoinedStr) and place.startswith(("openadr/", "vtn/", "ven/")):
            parts = (str(part.value) for part in node.values if isinstance(part, ast.Constant))
            if place not in TEXT_OF_XML and any(map(MARKUP.search, parts)):
                yield f"line {node.lineno} puts XML together as text"


def call_faults(node: ast.Call, place: str) -> Iterator[str]:
    called = ast.unparse(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    last = called.rpartition(".")[2]
    if called.startswith("etree.") and last in PARSERS and place not in PARSING:
        yield f"parses XML with {called}"
    if last in ("XMLParser", "HTMLParser", "iterparse"):
        if "schema" in keywords:
            yield f"{called}(schema=...) crashes the process on some bodies"
        for name, safe in (("resolve_entities", False), ("load_dtd", False), ("no_network", True)):
            value = keywords.get(name)
            if not isinstance(value, ast.Constant) or value.value is not safe:
                yield f"{called} without {name}={safe}"
        huge = keywords.get("huge_tree")
        if huge is not None and not (isinstance(huge, ast.Constant) and huge.value is False):
            yield f"{called} with huge_tree"
    if last in ("eval", "exec") and called in ("eval", "exec"):
        yield f"calls {called}"
    if last == "load" and "allow_pickle" in keywords:
        yield f"{called}(allow_pickle=...)"


def test_there_is_something_to_check() -> None:
    assert len(sources()) > 30


@pytest.mark.goal(2)
@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_source_keeps_input_harmless(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    assert list(faults(ast.parse(path.read_text()), place)) == []


@pytest.mark.goal(2)
@pytest.mark.parametrize(
    "line",
    [
        "etree.XMLParser(schema=s, resolve_entities=False, load_dtd=False, no_network=True)",
        "etree.XMLParser(resolve_entities=True, load_dtd=False, no_network=True)",
        "etree.XMLParser(resolve_entities='internal', load_dtd=False, no_network=True)",
        "etree.XMLParser()",
        "etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True)",
        "etree.fromstring(body)",
        "import xmltodict",
        "import xml.etree.ElementTree as ET",
        "from xml.etree import ElementTree",
        "from xml.dom import minidom",
        "import pickle",
        "from joblib import load",
        "import joblib",
        "f'<{name}>{text}</{name}>'",
        "f'<ei:venID>{ven_id}</ei:venID>'",
        "numpy.load(file, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_rule_sees_what_it_forbids(line: str) -> None:
    assert list(faults(ast.parse(line), "vtn/server.py"))
