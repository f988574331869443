"""Anchoring exactly once, against the real chain, through everything that can happen between the two."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ledger import store
from ledger.anchor import LOOK_AGAIN, Anchorer, AnchorStatus
from ledger.chain import EmbeddedChain
from ledger.errors import KeyFileError
from ledger.merkle import EMPTY_ROOT
from ledger.node import ChainKey, Node, publish_call, publish_transaction
from ledger.rpc import RpcServer
from ledger.verify import verify_receipt
from tests.ledger.conftest import START, Site
from tests.ledger.test_rpc import call


class Line:
    """The wire between anchorer and chain, which the test can cut for single methods or tamper with."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.lost_requests: set[str] = set()
        self.lost_answers: set[str] = set()
        self.changed_answers: dict[str, object] = {}
        self.sent: list[str] = []
        self.url = ""

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        call = json.loads(body)
        method = call["method"]
        if method in self.lost_requests:
            raise web.HTTPBadGateway
        if method == "eth_sendRawTransaction":
            self.sent.append(call["params"][0])
        async with aiohttp.ClientSession() as session, session.post(self.target, data=body) as response:
            answer = await response.read()
        if method in self.lost_answers:
            raise web.HTTPBadGateway
        if method in self.changed_answers:
            changed = {"jsonrpc": "2.0", "id": call["id"], "result": self.changed_answers[method]}
            answer = json.dumps(changed).encode()
        return web.Response(body=answer, content_type="application/json")


@pytest.fixture
async def line(site: Site) -> AsyncIterator[Line]:
    made = Line(site.server.url)
    app = web.Application()
    app.router.add_post("/", made.forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def nothing_is_signed(site: Site) -> bool:
    async with site.database.read() as conn:
        return await store.signed_transition(conn) is None


async def test_a_checkpoint_is_anchored_and_its_proof_kept(site: Site) -> None:
    await site.append("a", "b")
    await site.publish()
    state = await site.step()
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2)
    assert site.blocks() == 1
    async with site.database.read() as conn:
        made, receipt = await site.log.receipt(conn, 1)
        assert verify_receipt(made, receipt, await site.log.trust(conn)).complete


async def test_another_step_does_nothing_more(site: Site) -> None:
    await site.append("a")
    await site.publish()
    anchorer = site.anchorer()
    for _ in range(3):
        assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_without_checkpoint_the_chain_is_not_asked(site: Site) -> None:
    await site.server.stop()
    await site.append("a")
    state = await site.step()
    assert (state.status, state.text) == (AnchorStatus.IDLE, "there is no checkpoint yet")


async def test_a_backlog_needs_one_transaction(site: Site) -> None:
    for number in range(5):
        await site.append(f"a{number}", f"b{number}")
        await site.publish()
    state = await site.step()
    assert state.anchored == 10
    assert site.blocks() == 1


async def test_a_chain_that_is_down_harms_nothing_and_is_caught_up(site: Site) -> None:
    port = int(site.server.url.rpartition(":")[2])
    anchorer = site.anchorer()
    await site.server.stop()
    for number in range(3):
        await site.append(str(number))
        await site.publish()
        state = await site.step(anchorer)
        assert state.status is AnchorStatus.CHAIN_DOWN
        site.clock.advance(60)
    assert anchorer.state is not None
    assert anchorer.state.since == START  # since the first failure, not since the last
    again = RpcServer(site.chain, port)
    await again.start()
    try:
        state = await site.step(anchorer)
    finally:
        await again.stop()
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 3, 1)


async def test_a_crash_between_keeping_and_sending_is_made_good_with_the_same_bytes(
    site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    line.lost_requests = {"eth_sendRawTransaction"}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    async with site.database.read() as conn:
        kept = await store.signed_transition(conn)
    assert kept is not None
    assert site.blocks() == 0
    line.lost_requests = set()
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 1, 1)
    assert line.sent == ["0x" + kept.raw_transaction.hex()]


async def test_a_crash_between_sending_and_noting_does_not_send_twice(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.lost_answers = {"eth_sendRawTransaction"}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    assert (site.blocks(), await site.anchored()) == (1, 0)
    line.lost_answers = set()
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 1, 1)
    assert len(line.sent) == 1
    assert await nothing_is_signed(site)


@pytest.mark.parametrize(
    "method",
    [
        "eth_chainId",
        "eth_getBlockByNumber",
        "eth_getTransactionCount",
        "eth_call",
        "eth_sendRawTransaction",
        "eth_getProof",
    ],
)
@pytest.mark.parametrize("lost", ["lost_requests", "lost_answers"])
async def test_a_line_cut_at_any_call_ends_in_one_anchor(
    method: str, lost: str, site: Site, line: Line
) -> None:
    await site.append("a")
    await site.publish()
    setattr(line, lost, {method})
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.CHAIN_DOWN
    await site.append("b")
    await site.publish()
    setattr(line, lost, set())
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 2)
    assert site.blocks() == len(set(line.sent)) <= 2
    assert await nothing_is_signed(site)


async def test_a_sent_transaction_that_is_not_mined_yet_is_waited_for(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    # What the chain says stays as it was before the transaction.
    line.changed_answers = {
        "eth_getBlockByNumber": (await call(site.server.url, "eth_getBlockByNumber", "latest", False))[
            "result"
        ]
    }
    anchorer = site.anchorer(rpc_url=line.url)
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    assert (await site.step(anchorer)).status is AnchorStatus.WAITING
    assert len(set(line.sent)) == 1
    line.changed_answers = {}
    assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_a_nonce_that_another_transaction_took_is_replaced(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.lost_requests = {"eth_sendRawTransaction"}
    await site.step(site.anchorer(rpc_url=line.url))
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        await node.deploy(key, key.address)
    state = await site.step()
    assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
    assert site.blocks() == 2  # the other transaction and ours


async def test_a_kept_transaction_that_expects_another_head_is_not_sent(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    await site.append("b")
    await site.publish()
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        head = await node.head(site.settings().chain_id, site.contract)
        nonce = await node.nonce(key.address, head)
    data = publish_call(0, EMPTY_ROOT, 2, bytes(32))  # as if the first anchor had never been
    stale = publish_transaction(
        site.settings().chain_id, site.contract, nonce=nonce, gas=100_000, fees=head.fees, data=data
    )
    async with site.database.write() as conn:
        await store.add_transition(conn, store.Transition(2, 0, nonce, key.sign(stale)), START)
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert (state.status, state.anchored, site.blocks()) == (AnchorStatus.IDLE, 2, 2)
    assert len(line.sent) == 1


async def test_a_head_that_this_log_never_made_stops_anchoring_until_a_person_looks(site: Site) -> None:
    key = ChainKey.load(site.directory / "chain.key")
    async with Node.open(site.server.url, 5) as node:
        head = await node.head(site.settings().chain_id, site.contract)
        data = publish_call(0, EMPTY_ROOT, 9, bytes(32))
        made = publish_transaction(
            site.settings().chain_id,
            site.contract,
            nonce=await node.nonce(key.address, head),
            gas=100_000,
            fees=head.fees,
            data=data,
        )
        await node.send(key.sign(made))
    await site.append("a")
    await site.publish()
    state = await site.step()
    assert state.status is AnchorStatus.FAILED
    assert "no checkpoint of this log" in state.text
    assert site.blocks() == 1
    assert await nothing_is_signed(site)


async def test_a_key_that_may_not_publish_sends_nothing(site: Site) -> None:
    ChainKey.create(site.directory / "other.key")
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(key_file=site.directory / "other.key"))
    assert state.status is AnchorStatus.FAILED
    assert "caller is not the publisher" in state.text
    assert site.blocks() == 0


def with_little_gas(site: Site, url: str) -> Anchorer:
    anchorer = Anchorer(site.settings(rpc_url=url).model_copy(update={"gas": 25_000}))
    site.anchorers.append(anchorer)
    return anchorer


async def test_a_transaction_without_enough_gas_is_not_sent(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(with_little_gas(site, site.server.url))
    assert state.status is AnchorStatus.FAILED
    assert "would not be taken" in state.text
    assert site.blocks() == 0


async def test_a_transaction_that_is_mined_in_vain_is_not_repeated_at_once(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.changed_answers = {"eth_call": "0x"}  # the rehearsal promises what the chain does not keep
    state = await site.step(with_little_gas(site, line.url))
    assert state.status is AnchorStatus.FAILED
    assert "did not change the contract" in state.text
    assert (site.blocks(), await site.anchored()) == (1, 0)
    assert (await site.step()).status is AnchorStatus.IDLE
    assert site.blocks() == 2


async def test_a_node_of_another_chain_is_refused(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(chain_id=1))
    assert state.status is AnchorStatus.FAILED
    assert "not 1" in state.text


async def test_a_node_that_proves_something_else_is_not_believed(site: Site, line: Line) -> None:
    await site.append("a")
    await site.publish()
    line.changed_answers = {"eth_getProof": {"accountProof": [], "storageProof": [{"proof": []}]}}
    state = await site.step(site.anchorer(rpc_url=line.url))
    assert state.status is AnchorStatus.FAILED
    assert "account" in state.text
    assert await site.anchored() == 0
    line.changed_answers = {}
    assert (await site.step(site.anchorer(rpc_url=line.url))).status is AnchorStatus.IDLE
    assert site.blocks() == 1


async def test_a_chain_that_was_set_back_gets_the_newest_checkpoint_again(site: Site, tmp_path: Path) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    older = (site.directory / "chain.db").read_bytes(), (site.directory / "chain.db-wal").read_bytes()
    await site.append("b")
    await site.publish()
    await site.step()
    copy = tmp_path / "older"
    copy.mkdir()
    (copy / "chain.db").write_bytes(older[0])
    (copy / "chain.db-wal").write_bytes(older[1])
    chain = EmbeddedChain(copy, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        assert chain.head().block_number == 2
        await site.append("c")
        await site.publish()
        state = await site.step(site.anchorer(rpc_url=server.url))
        assert (state.status, state.anchored) == (AnchorStatus.IDLE, 3)
        assert chain.head().block_number == 3
    finally:
        await server.stop()
        chain.close()


async def test_a_chain_that_was_emptied_is_found_out_at_the_first_step(site: Site, tmp_path: Path) -> None:
    await site.append("a")
    await site.publish()
    await site.step()
    empty = tmp_path / "empty"
    empty.mkdir()
    chain = EmbeddedChain(empty, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        anchorer = site.anchorer(rpc_url=server.url)
        for _ in range(2):
            state = await site.step(anchorer)
            assert state.status is AnchorStatus.FAILED
            assert f"there is no CheckpointLog at 0x{site.contract.hex()}: the chain was" in state.text
    finally:
        await server.stop()
        chain.close()


async def test_another_contract_at_the_address_is_no_log_of_ours(site: Site) -> None:
    await site.append("a")
    await site.publish()
    state = await site.step(site.anchorer(contract="0x" + "00" * 19 + "02"))
    assert state.status is AnchorStatus.FAILED
    assert "there is no CheckpointLog" in state.text


async def test_with_nothing_new_the_chain_is_asked_again_after_a_while(site: Site) -> None:
    await site.append("a")
    await site.publish()
    anchorer = site.anchorer()
    await site.step(anchorer)
    await site.server.stop()
    site.clock.advance(LOOK_AGAIN.total_seconds() - 1)
    assert (await site.step(anchorer)).status is AnchorStatus.IDLE
    site.clock.advance(1)
    for _ in range(2):
        assert (await site.step(anchorer)).status is AnchorStatus.CHAIN_DOWN


async def test_a_chain_that_was_set_back_gets_the_newest_again_without_any_news(
    site: Site, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for name in ("chain.db", "chain.db-wal"):
        (older / name).write_bytes((site.directory / name).read_bytes())
    await site.append("a")
    await site.publish()
    await site.step()
    chain = EmbeddedChain(older, site.clock)
    server = RpcServer(chain)
    await server.start()
    try:
        state = await site.step(site.anchorer(rpc_url=server.url))
        assert (state.status, state.anchored) == (AnchorStatus.IDLE, 1)
        assert chain.head().block_number == 2
    finally:
        await server.stop()
        chain.close()


async def test_a_key_file_without_key_is_refused(site: Site) -> None:
    path = site.directory / "bad.key"
    path.touch(mode=0o600)
    path.write_text("zz\n")
    with pytest.raises(KeyFileError, match="no chain key"):
        site.anchorer(key_file=path)
