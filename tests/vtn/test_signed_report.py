"""Reports whose bytes are signed in the head of the request: over mutual TLS, to the record in the log."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.parse import quote

import aiohttp
import pytest
from sqlalchemy import select

from aggregator.audit import fact_record
from flexpact.pki import identity as pki_identity
from ledger.source import ECDSA, RSA, verify_source
from openadr import UpdatedReport, UpdateReport, decode, encode
from openadr.certificate import KeyKind, read_key
from openadr.http_signature import CONTENT_DIGEST, LATEST, SIGNATURE, SIGNATURE_INPUT, BodySigner, Fields
from openadr.signature import PrivateKey
from openadr.verification import verify
from tests.vtn.desk import NOW, USAGE, metadata, usage
from tests.vtn.table import Party, Table, announcement
from vtn import finding, journal, original, signature
from vtn.schema import original_table
from vtn.server import BASE

AT = NOW - timedelta(minutes=15)


def body_signer(who: Party) -> BodySigner:
    key = read_key(who.identity.key.read_bytes(), "key", None)
    assert isinstance(key, PrivateKey)
    made = BodySigner.of(key, who.fingerprint)
    assert made is not None
    return made


@dataclass
class Reporter:
    """A registered VEN without XML signatures, which is asked for its usage."""

    table: Table
    who: Party

    async def begin(self, name: str) -> Reporter:
        await self.table.enrol(self.who, name)
        await self.table.say(self.who, announcement(xml_signature=False, ven_name=name), signed=False)
        await self.table.say(self.who, metadata(self.who.ven_id), signed=False)
        return self

    def report(self, value: float = 250.0) -> UpdateReport:
        return usage(self.who.ven_id, [(AT, value)])

    def head_for(self, body: bytes, fingerprint: str) -> dict[str, str]:
        """Signed by its own key, which says that it is of another certificate."""
        key = read_key(self.who.identity.key.read_bytes(), "key", None)
        assert isinstance(key, PrivateKey)
        signer = BodySigner.of(key, fingerprint)
        assert signer is not None
        return signer.headers(body, self.table.now)

    def head(self, body: bytes, signer: Party | None = None) -> dict[str, str]:
        return body_signer(signer or self.who).headers(body, self.table.now)

    async def post(self, body: bytes, head: dict[str, str]) -> tuple[int, bytes]:
        url = f"https://127.0.0.1:{self.table.server.port}{BASE}EiReport"
        headers = {"Content-Type": "application/xml", **head}
        async with self.table.http.post(url, data=body, headers=headers, ssl=self.who.context) as answer:
            return answer.status, await answer.read()

    async def facts(self) -> list[journal.Fact]:
        async with self.table.db.read() as conn:
            return [fact for fact in await journal.facts_after(conn, 0, 100) if fact.kind == "report"]


@pytest.fixture
async def bob(table: Table) -> Reporter:
    return await Reporter(table, table.bob).begin("bob")


@pytest.fixture
async def carol(made: Path, database_path: Path) -> AsyncIterator[Reporter]:
    """A VEN with an RSA certificate."""
    async with aiohttp.ClientSession() as http:
        table = Table(made, database_path, http)
        await table.worker()
        yield await Reporter(table, Party(pki_identity(made, "carol", KeyKind.RSA))).begin("carol")
        await table.close()


def accepted(answer: tuple[int, bytes]) -> bool:
    status, body = answer
    reply = decode(body)
    return status == 200 and isinstance(reply, UpdatedReport) and reply.response.is_success


async def test_a_signed_report_is_shown_to_be_the_keys_by_its_record_alone(bob: Reporter) -> None:
    body = encode(bob.report())
    assert accepted(await bob.post(body, bob.head(body)))
    (fact,) = await bob.facts()
    assert fact.raw_sha256 == hashlib.sha256(body).hexdigest()
    found = verify_source(fact_record(fact), body)
    assert found is not None
    assert (found.algorithm, found.signed_at) == (ECDSA, NOW)
    assert found.certificate_sha256 == bob.who.fingerprint


async def test_a_ven_with_an_rsa_key_signs_likewise(carol: Reporter) -> None:
    body = encode(carol.report())
    assert accepted(await carol.post(body, carol.head(body)))
    (fact,) = await carol.facts()
    found = verify_source(fact_record(fact))
    assert found is not None
    assert (found.algorithm, found.certificate_sha256) == (RSA, carol.who.fingerprint)


async def test_a_signed_report_is_kept_as_it_came_and_no_other(bob: Reporter) -> None:
    signed, unsigned = encode(bob.report()), encode(bob.report(7.0))
    assert accepted(await bob.post(signed, bob.head(signed)))
    assert accepted(await bob.post(unsigned, {}))
    found = await _originals(bob, signed, unsigned)
    assert found == [signed, None]


@pytest.mark.parametrize("in_the_xml", [False, True])
async def test_what_was_not_asked_for_or_said_before_is_not_kept_however_it_was_signed(
    bob: Reporter, in_the_xml: bool
) -> None:
    who = Reporter(bob.table, bob.table.alice) if in_the_xml else bob
    if in_the_xml:
        await bob.table.register(who.who)
        await bob.table.say(who.who, metadata(who.who.ven_id))

    vtn = {bob.table.fingerprints[KeyKind.EC]}

    async def send(body: bytes) -> tuple[bytes, UpdatedReport]:
        sent = who.who.signer.sign(body, who.table.now) if in_the_xml else body
        status, answer = await who.post(sent, {} if in_the_xml else who.head(sent))
        assert status == 200
        reply = decode(verify(answer, vtn, who.table.now).body if in_the_xml else answer)
        assert isinstance(reply, UpdatedReport)
        return sent, reply

    known = encode(who.report())
    unknown, refused = await send(known.replace(f"ask-{USAGE}".encode(), b"ask-nothing"))
    assert refused.response.code == "452"
    first, taken = await send(known)
    assert taken.response.is_success
    again, _ = await send(known.replace(b"u1", b"u2"))  # the same data, in another message
    assert len(await who.facts()) == 1
    assert await _originals(who, unknown, first, again) == [None, first, None]


async def test_a_report_of_a_megabyte_is_kept_packed(bob: Reporter) -> None:
    body = encode(usage(bob.who.ven_id, [(NOW - n * timedelta(minutes=15), n) for n in range(1, 1500)]))
    assert len(body) > original.OFF_LOOP_BYTES
    assert accepted(await bob.post(body, bob.head(body)))
    assert await _originals(bob, body) == [body]
    async with bob.table.db.read() as conn:
        (kept,) = (await conn.execute(select(original_table.c.raw))).scalars()
    assert len(kept) < len(body) / 10


async def _originals(who: Reporter, *bodies: bytes) -> list[bytes | None]:
    async with who.table.db.read() as conn:
        return [await original.find(conn, hashlib.sha256(body).hexdigest()) for body in bodies]


async def test_the_same_bytes_twice_are_one_fact_though_signed_anew(bob: Reporter) -> None:
    body = encode(bob.report())
    first, again = bob.head(body), bob.head(body)
    assert first[SIGNATURE] != again[SIGNATURE]
    assert accepted(await bob.post(body, first))
    assert accepted(await bob.post(body, again))
    (fact,) = await bob.facts()
    assert f"flexpact=:{fact.body['source']['signature']}:" == first[SIGNATURE]


async def test_a_report_that_nobody_signed_is_taken_and_its_record_says_so(bob: Reporter) -> None:
    assert accepted(await bob.post(encode(bob.report()), {}))
    (fact,) = await bob.facts()
    assert "source" not in fact.body
    assert verify_source(fact_record(fact)) is None


def broken(head: dict[str, str], name: str, old: str, new: str) -> dict[str, str]:
    assert old in head[name]
    return {**head, name: head[name].replace(old, new)}


WRONG = {
    "another body": lambda bob, body: bob.head(body + b" "),
    "another's key": lambda bob, body: bob.head(body, bob.table.alice),
    "another's name": lambda bob, body: broken(
        bob.head(body, bob.table.alice), SIGNATURE_INPUT, bob.table.alice.fingerprint, bob.who.fingerprint
    ),
    "its own key in another's name": lambda bob, body: bob.head_for(body, bob.table.alice.fingerprint),
    "another time": lambda bob, body: broken(
        bob.head(body), SIGNATURE_INPUT, f"created={int(NOW.timestamp())}", "created=1"
    ),
    "another purpose": lambda bob, body: broken(bob.head(body), SIGNATURE_INPUT, "flexpact-report", "x"),
    "more covered": lambda bob, body: broken(
        bob.head(body), SIGNATURE_INPUT, '("content-digest")', '("content-digest" "@method")'
    ),
    "no digest": lambda bob, body: {k: v for k, v in bob.head(body).items() if k != CONTENT_DIGEST},
    "no signature": lambda bob, body: {k: v for k, v in bob.head(body).items() if k != SIGNATURE},
    "a short one": lambda bob, body: {**bob.head(body), SIGNATURE: "flexpact=:AAAA:"},
    "no base64": lambda bob, body: {**bob.head(body), SIGNATURE: "flexpact=:AAA:"},
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_signature_is_refused_and_nothing_is_kept(bob: Reporter, what: str) -> None:
    body = encode(bob.report())
    assert await bob.post(body, WRONG[what](bob, body)) == (403, b"")  # type: ignore[no-untyped-call] - a table of cases
    assert await bob.facts() == []
    await bob.table.server.stop()
    async with bob.table.db.read() as conn:
        rules = [each.rule for each in await finding.findings_of(conn, bob.who.ven_id)]
    assert "SIG-06" in rules


class _Clock:
    """A time that a datetime cannot have."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def timestamp(self) -> int:
        return self.seconds


@pytest.mark.parametrize(
    ("created", "status"), [(0, 200), (LATEST, 200), (LATEST + 1, 403), (10**12 - 1, 403)]
)
async def test_any_time_that_a_calendar_has_may_be_signed_and_no_other(
    bob: Reporter, created: int, status: int
) -> None:
    """A report that is sent late, or by a clock that is wrong, is evidence of that."""
    body = encode(bob.report())
    head = body_signer(bob.who).headers(body, cast("datetime", _Clock(created)))
    assert (await bob.post(body, head))[0] == status
    assert [verify_source(fact_record(fact)) is not None for fact in await bob.facts()] == [True] * (
        status == 200
    )


async def test_a_signature_of_somebody_else_under_another_label_is_not_looked_at(bob: Reporter) -> None:
    head = {SIGNATURE_INPUT: 'proxy=("@method");created=1', SIGNATURE: "proxy=:AAAA:"}
    assert accepted(await bob.post(encode(bob.report()), head))
    body = encode(bob.report(7.0))
    own = bob.head(body)
    both = {name: f"{head[name]}, {own[name]}" for name in head}
    assert accepted(await bob.post(body, {**own, **both}))
    assert ["source" in fact.body for fact in await bob.facts()] == [False, True]


async def test_of_a_ven_that_must_sign_its_reports_only_signed_ones_are_taken(bob: Reporter) -> None:
    async with bob.table.db.write() as conn:
        await signature.require_reports(conn, bob.who.ven_id, required=True)
    body = encode(bob.report())
    assert await bob.post(body, {}) == (403, b"")
    assert await bob.facts() == []
    assert accepted(await bob.post(body, bob.head(body)))
    async with bob.table.db.write() as conn:
        await signature.require_reports(conn, bob.who.ven_id, required=False)
    assert accepted(await bob.post(encode(bob.report(3.0)), {}))


@pytest.mark.parametrize("also_in_the_head", [False, True])
async def test_a_report_signed_in_its_xml_says_so_and_satisfies_the_demand(
    table: Table, also_in_the_head: bool
) -> None:
    alice = Reporter(table, table.alice)
    await table.register(alice.who)
    await table.say(alice.who, metadata(alice.who.ven_id))
    async with table.db.write() as conn:
        await signature.require_reports(conn, alice.who.ven_id, required=True)
    body = alice.who.signer.sign(encode(alice.report()), table.now)
    status, _ = await alice.post(body, alice.head(body) if also_in_the_head else {})
    assert status == 200
    (fact,) = await alice.facts()
    record = fact_record(fact)
    assert fact.raw_sha256 == hashlib.sha256(body).hexdigest()
    if also_in_the_head:
        found = verify_source(record, body)
        assert found is not None
        assert found.certificate_sha256 == alice.who.fingerprint
    else:
        source = fact.body["source"]
        assert (source["algorithm"], source["certificate"]) == ("xmldsig", alice.who.fingerprint)
        assert verify_source(record, body) is None


async def test_a_certificate_that_ends_while_its_report_comes_in_is_turned_away(bob: Reporter) -> None:
    body = encode(bob.report())
    head = {**bob.head(body), "Content-Type": "application/xml", "Content-Length": str(len(body))}

    async def late() -> AsyncIterator[bytes]:
        """Asked for when the server has read the head."""
        bob.table.now = NOW + timedelta(days=36_500)
        yield body

    url = f"https://127.0.0.1:{bob.table.server.port}{BASE}EiReport"
    sent = bob.table.http.post(url, data=late(), headers=head, ssl=bob.who.context, expect100=True)
    async with sent as answer:
        assert (answer.status, await answer.read()) == (403, b"")
    assert await bob.facts() == []


async def test_behind_a_proxy_the_certificate_that_it_names_must_have_signed(bob: Reporter) -> None:
    """Alice's certificate is the proxy's; bob's comes in a head of hers."""
    table, proxy = bob.table, replace(bob.table.alice)
    table.now = datetime.now(UTC)  # certificates are of today
    server = table.server
    server._settings = server._settings.model_copy(update={"proxies": frozenset({proxy.fingerprint})})
    der = base64.b64encode(_der(bob.who)).decode()
    body = encode(bob.report())
    asked = Reporter(table, proxy)
    named = {"Client-Cert": f":{der}:"}
    assert await asked.post(body, {**named, **asked.head(body)}) == (403, b"")
    assert accepted(await asked.post(body, {**named, **bob.head(body)}))
    (fact,) = await bob.facts()
    assert verify_source(fact_record(fact)) is not None


def _der(who: Party) -> bytes:
    pem = who.identity.cert.read_text()
    return base64.b64decode("".join(line for line in pem.splitlines() if "-" not in line))


def test_a_value_of_the_fields_says_whether_it_is_ours() -> None:
    assert Fields("", 'flexpact=("content-digest")', "").present
    assert not Fields("", quote("sig1=()"), "").present
