"""Who may ask for what: one line for each route. A route that is not here fails the tests.

The groups are written out by hand, so that a slip in `aggregator.access.permission` is found here.
"""

from __future__ import annotations

from collections.abc import Mapping

from aggregator.access.permission import Role
from tests.aggregator.access.api_routes import OF_API

ANONYMOUS = "anonymous"
TOKEN = "token"  # of an admin, with every scope that a token can have
_V, _O, _A, _AU, _P = Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.AUDITOR, Role.PROSUMER

# a token is for the API alone: for pages whoever sends one has not signed in
EVERYBODY = frozenset({ANONYMOUS, TOKEN, _V, _O, _A, _AU, _P})
SIGNED_IN = frozenset({_V, _O, _A, _AU, _P})
FLEET = frozenset({_V, _O, _A})
OPERATORS = frozenset({_O, _A})
ADMINS = frozenset({_A})
MONEY = frozenset({_V, _O, _A, _AU})  # statements, records, receipts
TRAIL = frozenset({_O, _A, _AU})
HOMES = frozenset({_P})

ROUTES: Mapping[str, frozenset[str]] = {
    # signing in
    "GET /login": EVERYBODY,
    "POST /login": EVERYBODY,
    "GET /login/factor": EVERYBODY,
    "POST /login/factor": EVERYBODY,
    "POST /login/provider": EVERYBODY,
    "GET /login/provider/return": EVERYBODY,
    "POST /logout": EVERYBODY,
    "GET /link/{token}": EVERYBODY,
    "POST /link/{token}": EVERYBODY,
    "GET /static/{revision}/{name}": EVERYBODY,
    # one's own account
    "GET /live": SIGNED_IN,
    "GET /account": SIGNED_IN,
    "POST /account": SIGNED_IN,
    "POST /account/password": SIGNED_IN,
    "GET /account/factor": SIGNED_IN,
    "POST /account/factor/begin": SIGNED_IN,
    "POST /account/factor/prove": SIGNED_IN,
    "POST /account/factor/codes": SIGNED_IN,
    "POST /account/factor/give-up": SIGNED_IN,
    "GET /account/sessions": SIGNED_IN,
    "POST /account/sessions/{session_id}/end": SIGNED_IN,
    "POST /account/sessions/end-others": SIGNED_IN,
    "GET /account/tokens": SIGNED_IN,
    "POST /account/tokens": SIGNED_IN,
    "POST /account/tokens/{token_id}/revoke": SIGNED_IN,
    # alarms
    "GET /alarms": FLEET,
    "GET /alarms/open": FLEET,
    "GET /alarms/badge": FLEET,
    "GET /alarms/history": FLEET,
    "POST /alarms/{alarm_id}/acknowledge": OPERATORS,
    # events
    "GET /events": FLEET,
    "POST /events": OPERATORS,
    "GET /events/calendar": FLEET,
    "GET /events/new": OPERATORS,
    "GET /events/preview": OPERATORS,
    "GET /events/preview/load.json": FLEET,
    "GET /events/{event_id}": FLEET,
    "GET /events/{event_id}/tiles": FLEET,
    "GET /events/{event_id}/nodes": FLEET,
    "GET /events/{event_id}/load.json": FLEET,
    "GET /events/{event_id}/cancel": OPERATORS,
    "POST /events/{event_id}/cancel": OPERATORS,
    "GET /events/{event_id}/change": OPERATORS,
    "GET /events/{event_id}/change/preview": OPERATORS,
    "POST /events/{event_id}/change": OPERATORS,
    "POST /events/{event_id}/change/propose": OPERATORS,
    "GET /events/templates": FLEET,
    "POST /events/templates": OPERATORS,
    "GET /events/templates/new": OPERATORS,
    "GET /events/templates/{template_id}": OPERATORS,
    "POST /events/templates/{template_id}": OPERATORS,
    "POST /events/templates/{template_id}/delete": OPERATORS,
    "GET /events/approvals": FLEET,
    "POST /events/approvals": OPERATORS,
    "GET /events/approvals/badge": OPERATORS,
    "GET /events/approvals/{approval_id}": FLEET,
    "POST /events/approvals/{approval_id}/approve": OPERATORS,
    "POST /events/approvals/{approval_id}/refuse": OPERATORS,
    "GET /events/limits": FLEET,
    "POST /events/limits": ADMINS,
    "POST /events/limits/close": ADMINS,
    # settings
    "GET /settings": ADMINS,
    "GET /settings/sent": ADMINS,
    "POST /settings/test": ADMINS,
    "POST /settings/{name}": ADMINS,
    # users
    "GET /users": ADMINS,
    "POST /users": ADMINS,
    "GET /users/{user_id}": ADMINS,
    "POST /users/{user_id}/link": ADMINS,
    "POST /users/{user_id}/role": ADMINS,
    "POST /users/{user_id}/identity": ADMINS,
    "POST /users/{user_id}/identity/end": ADMINS,
    "POST /users/{user_id}/suspend": ADMINS,
    "POST /users/{user_id}/let-in": ADMINS,
    "POST /users/{user_id}/revoke": ADMINS,
    # the fleet
    "GET /": FLEET,
    "GET /overview/tiles": FLEET,
    "GET /overview/events": FLEET,
    "GET /overview/evidence": FLEET,
    "GET /overview/load.json": FLEET,
    "GET /overview/nodes.json": FLEET,
    # nodes
    "GET /nodes": FLEET,
    "GET /nodes/map": FLEET,
    "GET /nodes/new": OPERATORS,
    "GET /nodes/new/preview": OPERATORS,
    "POST /nodes/new": OPERATORS,
    "GET /nodes/pending": FLEET,
    "GET /nodes/pending/{fingerprint}/approve": OPERATORS,
    "POST /nodes/pending/{fingerprint}/approve": OPERATORS,
    "GET /nodes/{ven_id}": FLEET,
    "GET /nodes/{ven_id}/facts": FLEET,
    "GET /nodes/{ven_id}/load.json": FLEET,
    "GET /nodes/{ven_id}/events": FLEET,
    "GET /nodes/{ven_id}/reports": FLEET,
    "GET /nodes/{ven_id}/messages": FLEET,
    "GET /nodes/{ven_id}/messages/{number}": FLEET,
    "GET /nodes/{ven_id}/do/{deed}": OPERATORS,
    "POST /nodes/{ven_id}/do/{deed}": OPERATORS,
    # reports and readings
    "GET /reports": FLEET,
    "GET /reports/offered": FLEET,
    "GET /reports/quarantine": FLEET,
    "GET /reports/readings": FLEET,
    "GET /reports/values": FLEET,
    "GET /reports/readings.json": FLEET,
    "GET /reports/export": FLEET,
    "GET /reports/export/{format}": FLEET,
    "GET /reports/ask": OPERATORS,
    "GET /reports/preview": OPERATORS,
    "POST /reports": OPERATORS,
    "GET /reports/end": OPERATORS,
    "POST /reports/end": OPERATORS,
    # baselines and performance
    "GET /baselines": FLEET,
    "GET /baselines/day.json": FLEET,
    "GET /performance/{event}/{node}": FLEET,
    "GET /performance/{event}/{node}/part": FLEET,
    "GET /performance/{event}/{node}/curve.json": FLEET,
    # settlement
    "GET /settlement": MONEY,
    "GET /settlement/{number}": MONEY,
    "GET /settlement/export/{kind}": MONEY,
    # ledger and trail
    "GET /ledger": MONEY,
    "GET /ledger/checkpoints": MONEY,
    "GET /ledger/trust.toml": MONEY,
    "GET /ledger/checkpoint.txt": MONEY,
    "GET /ledger/receipts.zip": MONEY,
    "GET /ledger/{index}": MONEY,
    "GET /ledger/{index}/record.json": MONEY,
    "GET /ledger/{index}/receipt": MONEY,
    "POST /ledger/{index}/verify": MONEY,
    "GET /ledger/agreements": MONEY,
    "GET /ledger/agreements/{agreement_id}": MONEY,
    "GET /ledger/agreements/{agreement_id}/tokens": MONEY,
    "GET /auditor": TRAIL,
    "GET /audit": TRAIL,
    # a prosumer's own home
    "GET /home": HOMES,
    "GET /home/next": HOMES,
    "GET /home/earned": HOMES,
    "GET /home/load.json": HOMES,
    "GET /home/events": HOMES,
    "GET /home/events/{event_id}/{ven_id}": HOMES,
    "GET /home/events/{event_id}/{ven_id}/override": HOMES,
    "POST /home/events/{event_id}/{ven_id}/override": HOMES,
    "POST /home/events/{event_id}/{ven_id}/take-part": HOMES,
    "GET /home/money": HOMES,
    "GET /home/data": HOMES,
    "GET /home/data.zip": HOMES,
    "GET /home/statements/{number}": HOMES,
    "GET /home/statements/{number}/receipt.zip": HOMES,
    **OF_API,
}
