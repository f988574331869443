"""RFC 7512, read strictly: what a key URI gives, and how a wrong one is refused without telling a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import TokenError
from ledger.token_uri import TokenUri

QUERY = "?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/flexpact/pin"
GOOD = "pkcs11:token=flexpact;object=log" + QUERY


def test_a_uri_names_token_key_module_and_the_file_of_the_pin() -> None:
    uri = TokenUri.parse(GOOD)
    assert uri.module == Path("/usr/lib/softhsm/libsofthsm2.so")
    assert uri.pin_file == Path("/etc/flexpact/pin")
    assert (uri.token, uri.label, uri.id) == ((("token", "flexpact"),), "log", None)
    assert str(uri) == 'key "log" in token "flexpact"'


def test_escaped_letters_bytes_of_an_id_and_every_attribute_are_read() -> None:
    uri = TokenUri.parse(
        "pkcs11:model=SoftHSM%20v2;serial=4c41;manufacturer=A%26B;token=caf%C3%A9;id=%01%fF;type=private"
        "?pin-source=file:///p&module-path=/m%3Bn"
    )
    assert dict(uri.token) == {
        "token": "café",
        "manufacturer": "A&B",
        "serial": "4c41",
        "model": "SoftHSM v2",
    }
    assert (uri.label, uri.id, uri.pin_file, uri.module) == (None, b"\x01\xff", Path("/p"), Path("/m;n"))
    assert str(uri).startswith('key of id 01ff in token "café", manufacturer A&B, serial 4c41')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("log.key", "a key URI begins with pkcs11:"),
        (GOOD.replace("token=flexpact", "slot-label=x"), "unknown attribute slot-label"),
        (GOOD + "&x-vendor=1", "unknown attribute x-vendor"),
        (GOOD.replace("token", "Token", 1), "unknown attribute Token"),
        (GOOD.replace("object=log", "object"), "unknown attribute without a name|object is empty"),
        (GOOD.replace("object=log", "=log"), "unknown attribute without a name"),
        (GOOD.replace("object=log", "object="), "object is empty"),
        (GOOD.replace("object=log", "object=a b"), r"object .* must be written as %XX"),
        (GOOD.replace("object=log", "object=%4"), r"object .* must be written as %XX"),
        (GOOD.replace("object=log", "object=%FF"), "object is not UTF-8"),
        (GOOD.replace("object=log", "object=%0A"), "object holds a letter that cannot be printed"),
        (GOOD.replace("object=log", "object=a;object=b"), "object is given twice"),
        (GOOD.replace("object=log", "object=a;"), "unknown attribute without a name"),
        (GOOD.replace(";object=log", ""), r"object is missing \(or id\)"),
        (GOOD.replace("token=flexpact;", ""), r"token is missing \(or serial\)"),
        (GOOD.replace("object=log", "object=log;type=public"), "type must be private"),
        (GOOD.replace("object=log", "object=log;slot-id=0"), "slot-id is refused: slots are numbered anew"),
        (GOOD.replace("module-path=/usr/lib/softhsm/libsofthsm2.so&", ""), "module-path is missing"),
        (GOOD.replace("module-path=/", "module-path="), "module-path must be an absolute path"),
        (GOOD.replace("module-path", "module-name"), "module-name is refused"),
        (GOOD[: GOOD.index("&")], "pin-source is missing, expected pin-source=file:/"),
        (GOOD[: GOOD.index("?")], "module-path is missing"),
        (GOOD.replace("file:/etc", "file:etc"), "pin-source must be an absolute path"),
        (GOOD.replace("file:/etc/flexpact/pin", "|/bin/pin"), "pin-source must be an absolute path"),
        (GOOD.replace("file:/etc/flexpact/pin", "file://host/pin"), "pin-source must be an absolute path"),
    ],
)
def test_a_wrong_uri_is_refused_by_the_attributes_name(text: str, says: str) -> None:
    with pytest.raises(TokenError, match=says):
        TokenUri.parse(text)


@pytest.mark.parametrize("separator", ["&", ";"])
def test_a_pin_in_the_uri_is_refused_and_not_repeated(separator: str) -> None:
    text = GOOD + "&pin-value=4711" if separator == "&" else GOOD.replace("?", ";pin-value=4711?")
    with pytest.raises(TokenError, match="pin-value is refused: a PIN is not written down here") as refused:
        TokenUri.parse(text)
    assert "4711" not in str(refused.value)


@given(st.text(max_size=60))
def test_whatever_comes_is_a_uri_or_a_sentence(text: str) -> None:
    for tried in ("pkcs11:" + text, GOOD.replace("log", text), GOOD + text):
        try:
            TokenUri.parse(tried)
        except TokenError as error:
            assert str(error).isprintable()
