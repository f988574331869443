"""The audit of each day goes on from the one before, in a log that is shown to have only grown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from feid.records import GROWTH_PATH
from flexpact.commands.feid_audit import app
from ledger.checkpoint import Checkpoint
from ledger.consistency import ConsistencyProof
from ledger.merkle import Range, Subtree, complete_root, consistency_ranges, inclusion_ranges, range_hash
from ledger.receipt import Anchor, Receipt
from ledger.record import Record
from tests.feid.test_audit import RECORDS, Box, report, sent
from tests.ven.site import NOW
from tests.ven.test_transport import answering
from ven.store import Store

HOUR = timedelta(hours=1)


class Aggregator:
    """A log in memory, and the box that audits it over HTTP."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.records: list[Record] = []
        self.asked: list[str] = []
        self.proves = 200

    def hash_of(self, span: Range) -> bytes:
        leaves = [record.leaf() for record in self.records]

        def subtree_hash(subtree: Subtree) -> bytes:
            level, index = subtree
            return complete_root(leaves[index << level : (index + 1) << level])

        return range_hash(span, subtree_hash)

    def leaf(self, index: int) -> dict[str, Any]:
        size = len(self.records)
        head = Checkpoint.sign(size, self.hash_of((0, size)), self.box.key)
        path = tuple(map(self.hash_of, inclusion_ranges(index, size)))
        receipt = Receipt(index, path, head, Anchor(1, bytes(20), 0, (b"a",), (b"s",), b"h"))
        record = self.records[index].to_file().decode()
        return {"index": index, "record": record, "receipt": receipt.to_file().decode()}

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.query_string)
        if request.path == GROWTH_PATH:
            old, new = int(request.query["old"]), int(request.query["new"])
            path = tuple(map(self.hash_of, consistency_ranges(old, new)))
            return web.Response(status=self.proves, text=ConsistencyProof(old, new, path).text())
        after = int(request.query["after"])
        lines = [json.dumps(self.leaf(index)) for index in range(after + 1, len(self.records))]
        return web.Response(text="\n".join(lines[:50]))

    def happens(self, number: int, at: datetime, *, is_sealed: bool = True) -> None:
        """The box sends a report; the aggregator seals it, or does not."""
        store = Store.open(self.box.folder / "v.db")
        store.delivered(0, sent(number, at=at))
        store.close()
        if is_sealed:
            self.records.append(replace(report(number), at=at))

    async def audit(self, now: datetime, *more: str) -> tuple[int, dict[str, Any]]:
        """Exit code and result; what was asked before is forgotten."""
        self.asked.clear()
        files = [
            "--config",
            str(self.box.folder / "feid.toml"),
            "--trust",
            str(self.box.folder / "trust.toml"),
        ]
        words = [*files, "--as-of", now.isoformat(), "--json", *more]
        result = await asyncio.to_thread(CliRunner().invoke, app, words)
        assert result.exit_code in {1, 3}, result.output  # the trust file names no chain
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
async def aggregator(tmp_path: Path) -> AsyncIterator[Aggregator]:
    """After two audits: what was done until now was found, and is in leaves 0 to 3."""
    made = Aggregator(Box(tmp_path))
    made.records += RECORDS
    async with answering(made.handle) as port:
        config = tmp_path / "feid.toml"
        config.write_text(config.read_text().replace("127.0.0.1:1", f"127.0.0.1:{port}"))
        code, result = await made.audit(NOW + HOUR / 6)
        assert (code, result["reports"], result["from_leaf"], made.asked) == (
            3,
            2,
            0,
            ["after=-1", "after=3"],
        )
        made.happens(2, NOW + 2 * HOUR)
        code, result = await made.audit(NOW + 2 * HOUR)
        assert (code, result["reports"], result["from_leaf"]) == (3, 3, 0)
        assert made.asked == ["after=-1", "after=4", "old=4&new=5"]
        yield made


async def test_it_asks_for_what_is_newer_and_that_the_log_only_grew(aggregator: Aggregator) -> None:
    aggregator.happens(3, NOW + 4 * HOUR)
    code, result = await aggregator.audit(NOW + 4 * HOUR)
    assert (code, result["holds"]) == (3, True)
    assert aggregator.asked == ["after=3", "after=5", "old=5&new=6"]
    assert (result["from_leaf"], result["reports"], result["pending"]) == (4, 2, 0)
    assert (await aggregator.audit(NOW + 4 * HOUR))[0] == 3
    assert aggregator.asked == ["after=4", "after=5"]  # the log has the size of before


async def test_with_all_it_begins_at_the_first_leaf(aggregator: Aggregator) -> None:
    code, result = await aggregator.audit(NOW + 3 * HOUR, "--all")
    assert (code, result["from_leaf"], result["reports"]) == (3, 0, 3)
    assert aggregator.asked == ["after=-1", "after=4"]


async def test_what_is_not_in_the_log_is_missing_until_it_is(aggregator: Aggregator) -> None:
    aggregator.happens(3, NOW + 4 * HOUR, is_sealed=False)
    for _ in range(2):
        code, result = await aggregator.audit(NOW + 6 * HOUR)
        assert (code, [each["fault"] for each in result["findings"]]) == (1, ["missing"])
        assert aggregator.asked == ["after=3", "after=4"]
    aggregator.records.append(replace(report(3), at=NOW + 4 * HOUR))
    assert (await aggregator.audit(NOW + 6 * HOUR))[0] == 3


def statement(at: datetime) -> Record:
    return Record("statement", f"statement/ven-1/{at.isoformat()}", at, {"ven_id": "ven-1"})


async def test_a_statement_says_nothing_about_reports_that_are_not_in_the_log_yet(
    aggregator: Aggregator,
) -> None:
    aggregator.happens(3, NOW + 4 * HOUR, is_sealed=False)
    aggregator.records.append(statement(NOW + 4 * HOUR + 25 * HOUR / 60))
    code, result = await aggregator.audit(NOW + 4.5 * HOUR)
    assert (code, result["pending"]) == (3, 1)
    code, result = await aggregator.audit(NOW + 5.5 * HOUR)
    assert (code, [each["fault"] for each in result["findings"]]) == (1, ["missing"])


@pytest.mark.parametrize("of", [statement, lambda at: replace(report(2), at=at)], ids=["statement", "report"])
async def test_a_record_from_the_future_is_an_alarm_and_hides_nothing(
    aggregator: Aggregator, of: Callable[[datetime], Record]
) -> None:
    aggregator.records.append(replace(of(NOW.replace(year=2099)), key="report/ven-1/ask/late"))
    code, result = await aggregator.audit(NOW + 3 * HOUR)
    assert (code, result["findings"][0]["fault"]) == (1, "broken")
    assert "is dated 2099-" in result["findings"][0]["text"]
    aggregator.happens(3, NOW + 4 * HOUR, is_sealed=False)
    code, result = await aggregator.audit(NOW + 6 * HOUR)
    assert {"broken", "missing"} <= {each["fault"] for each in result["findings"]}


async def test_a_result_that_reaches_into_the_future_begins_anew(
    aggregator: Aggregator, tmp_path: Path
) -> None:
    result = tmp_path / "feid.sqlite.audit.json"
    kept = json.loads(result.read_text())
    result.write_text(json.dumps({**kept, "found_until": "2099-01-01T00:00:00+00:00"}))
    aggregator.happens(3, NOW + 4 * HOUR, is_sealed=False)
    code, said = await aggregator.audit(NOW + 6 * HOUR)
    assert (code, said["from_leaf"], [each["fault"] for each in said["findings"]]) == (1, 0, ["missing"])


async def test_a_log_that_was_made_anew_is_an_alarm_with_both_heads_kept(aggregator: Aggregator) -> None:
    aggregator.records[1] = replace(aggregator.records[1], at=NOW + HOUR / 30)
    aggregator.happens(3, NOW + 4 * HOUR)
    for _ in range(2):
        code, result = await aggregator.audit(NOW + 4 * HOUR)
        (finding,) = result["findings"]
        assert (code, finding["fault"]) == (1, "broken")
        assert "this proof does not show that the tree of 6 leaves holds that of 5" in finding["text"]
    (kept,) = aggregator.box.folder.glob("fork-*.txt")
    assert kept.read_text().count("example.org/log\n") == 2
    assert (await aggregator.audit(NOW + 4 * HOUR, "--all"))[0] == 3


async def test_a_log_of_the_same_size_with_another_root_is_an_alarm(aggregator: Aggregator) -> None:
    aggregator.records[0] = replace(aggregator.records[0], at=NOW + HOUR / 60)
    code, result = await aggregator.audit(NOW + 3 * HOUR)
    assert (code, [each["fault"] for each in result["findings"]]) == (1, ["broken"])
    assert "the log signed two trees of 5 leaves" in result["findings"][0]["text"]


async def test_an_aggregator_that_proves_nothing_is_an_alarm(aggregator: Aggregator) -> None:
    aggregator.proves = 400
    aggregator.happens(3, NOW + 4 * HOUR)
    code, result = await aggregator.audit(NOW + 4 * HOUR)
    assert (code, [each["fault"] for each in result["findings"]]) == (1, ["broken"])
    assert "a proof is needed" in result["findings"][0]["text"]


async def test_a_second_record_of_a_report_that_was_found_is_forged(aggregator: Aggregator) -> None:
    again = replace(report(0), key="report/ven-1/ask/again", at=NOW + 4 * HOUR)
    aggregator.records.append(again)
    code, result = await aggregator.audit(NOW + 4 * HOUR)
    assert (code, [each["fault"] for each in result["findings"]]) == (1, ["forged"])
    assert "is a second record of the bytes of report ask/" in result["findings"][0]["text"]


async def test_a_trust_file_of_another_log_begins_anew(aggregator: Aggregator, tmp_path: Path) -> None:
    result = tmp_path / "feid.sqlite.audit.json"
    kept = json.loads(result.read_text())
    kept["progress"]["checkpoint"] = kept["progress"]["checkpoint"].replace("example.org/log", "other/log")
    for wrong in (kept, {**kept, "progress": {"after": "x"}}, {**kept, "progress": [sha256().hexdigest()]}):
        result.write_text(json.dumps(wrong))
        assert (await aggregator.audit(NOW + 3 * HOUR))[1]["from_leaf"] == 0
        assert aggregator.asked[0] == "after=-1"
