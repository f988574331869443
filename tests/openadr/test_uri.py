"""Market contexts compare by what they mean."""

import pytest

from openadr.uri import normal

SAME = {
    "scheme and host in any case": ("HTTP://Programme.TEST/a", "http://programme.test/a"),
    "an escaped letter": ("http://p.test/%7Ea%61", "http://p.test/~aa"),
    "the case of an escape": ("http://p.test/%2fa", "http://p.test/%2Fa"),
    "dot segments": ("http://p.test/x/./../a/", "http://p.test/a/"),
    "the default port": ("https://p.test:443/a", "https://p.test/a"),
    "no path": ("http://p.test", "http://p.test/"),
    "white space around": (" http://p.test/a\n", "http://p.test/a"),
    "a dot at the end": ("http://p.test/a/.", "http://p.test/a/"),
}
DIFFERENT = {
    "the case of a path": ("http://p.test/A", "http://p.test/a"),
    "an escaped slash": ("http://p.test/a%2Fb", "http://p.test/a/b"),
    "another port": ("http://p.test:8080/a", "http://p.test/a"),
    "the case of a user": ("http://U@p.test/", "http://u@p.test/"),
    "the query": ("http://p.test/a?x=1", "http://p.test/a?x=2"),
    "a port of the other scheme": ("http://p.test:443/", "http://p.test/"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_gen_13_the_same_market_context(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_gen_13_another_market_context(one: str, other: str) -> None:
    assert normal(one) != normal(other)


@pytest.mark.parametrize("text", ["http://[bad", "urn:programme:7", "", "//", "http://[::1]:80/", "%zz"])
def test_whatever_a_peer_sends_has_a_form(text: str) -> None:
    assert normal(normal(text)) == normal(text)
