"""The map of nodes as data: one cell for each, worst first, in columns, because there are many of them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import hdrs, web

from aggregator.access.permission import Permission
from aggregator.dashboard.health import KINDS, LABELS, Health
from aggregator.dashboard.nodes import list_of
from aggregator.dashboard.page import Page, Visit
from aggregator.dashboard.wording import words_of
from vtn.schema import micros

PATH = "/overview/nodes.json"
_WORTH_IT = 4000  # bytes; smaller answers are sent as they are
_LEVEL = 5
SECOND = 1_000_000


async def node_map(visit: Visit) -> web.StreamResponse:
    """One cell for each node, by its health: `nodes` holds by state the ids, the names where they differ from
    the ids, and how many seconds ago each node spoke (null: never).
    """
    words = words_of(visit)
    async with visit.desk.db.read() as conn:
        rows = await list_of(visit).cells(conn)
    content = {
        "now": int(visit.now.timestamp()),
        "states": {str(one): {"kind": KINDS[one], "label": words.gettext(LABELS[one])} for one in Health},
        "nodes": _columns(rows, micros(visit.now)),
    }
    return await _packed(visit, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def _columns(rows: Sequence[Any], now_us: int) -> dict[str, dict[str, list[Any]]]:
    groups: dict[str, dict[str, list[Any]]] = {}
    for ven_id, name, state, at in rows:
        group = groups.setdefault(state, {"ids": [], "names": [], "ago_s": []})
        group["ids"].append(ven_id)
        group["names"].append(0 if name == ven_id else name)
        group["ago_s"].append(None if at is None else (now_us - at) // SECOND)
    return groups


async def _packed(visit: Visit, body: bytes) -> web.Response:
    """Compressed where the browser takes that: there is no secret in it that its length could tell."""
    headers = {hdrs.CACHE_CONTROL: "no-store", hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if len(body) > _WORTH_IT and "gzip" in visit.request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        body = await asyncio.to_thread(gzip.compress, body, _LEVEL)
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


PAGES = (
    Page(
        method=hdrs.METH_GET,
        path=PATH,
        name="overview node map",
        permission=Permission.FLEET_READ,
        handle=node_map,
    ),
)
