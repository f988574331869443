"""What a signature may cost its receiver, and what is no base64: refused before anything is computed.

The goal of 4 ms (GOALS 23) is measured by `benchmarks/signature.py`. Here, where other work makes clocks
unreliable, the measure is what the key alone takes: a report of a day is verified and its answer signed in
five to six times that, a poll in little more than that. Twice as much is too much.
"""

from __future__ import annotations

import re

import pytest

from benchmarks.signature import measure
from openadr.errors import BadSignature, SchemaInvalid
from openadr.verification import verify
from tests.openadr.signing import NOW, identity, resigned

ALICE = identity("alice")
SIGNED = ALICE.signed("ven-1")


def with_namespaces(count: int, elements: int, *, nested: bool) -> bytes:
    """A message that declares so many namespaces around so many elements."""
    names = [b'xmlns:z%d="a:%d"' % (number, number) for number in range(count)]
    if nested:
        inner = b"".join(b"<a %b>" % name for name in names) + b"<a/>" * elements + b"</a>" * count
    else:
        inner = b"<a %b>" % b" ".join(names) + b"<a/>" * elements + b"</a>"
    return SIGNED.replace(b"</ds:Object>", inner + b"</ds:Object>")  # where the schema allows anything


@pytest.mark.parametrize("nested", [False, True])
def test_gen_21_many_namespaces_around_many_elements_are_refused_before_they_are_compared(
    nested: bool,
) -> None:
    count, elements = (50, 4000) if nested else (300, 1500)
    with pytest.raises(BadSignature, match="namespaces in scope"):
        verify(with_namespaces(count, elements, nested=nested), (ALICE.fingerprint,), NOW)


def test_many_namespaces_one_after_the_other_cost_nothing() -> None:
    parts = b"".join(b'<a xmlns="a:%d"/>' % number for number in range(600))
    message = resigned(SIGNED.replace(b"</ds:Object>", parts + b"</ds:Object>"), ALICE)
    assert verify(message, (ALICE.fingerprint,), NOW).fingerprint == ALICE.fingerprint


@pytest.mark.parametrize("element", ["DigestValue", "SignatureValue", "X509Certificate"])
@pytest.mark.parametrize("text", ["é", "\u00a0AAAA", "AAA"])
def test_what_is_no_base64_is_refused(element: str, text: str) -> None:
    raw = re.sub(rf"(<ds:{element}>)[^<]*", rf"\g<1>{text}", SIGNED.decode()).encode()
    with pytest.raises((BadSignature, SchemaInvalid)):
        verify(raw, (ALICE.fingerprint,), NOW)


MOST_TIMES_BARE = {"rsa_ms": 12.0, "rsa_poll_ms": 2.5}


def times_bare() -> dict[str, float]:
    """How often what the bare key takes fits into each."""
    figures = measure(rounds=3, messages=4)
    return {name: figures[name] / figures["rsa_bare_ms"] for name in MOST_TIMES_BARE}


@pytest.mark.goal(23)
def test_verifying_and_signing_costs_a_bounded_multiple_of_what_the_key_takes() -> None:
    tried = []
    for _ in range(4):  # where other work hits the one and spares the other, another try tells
        tried.append(times_bare())
        if all(tried[-1][name] < most for name, most in MOST_TIMES_BARE.items()):
            break
    assert all(tried[-1][name] < most for name, most in MOST_TIMES_BARE.items()), tried
