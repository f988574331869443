"""Roles and what each may do. A page or an operation of the API names one permission; what names none is
refused to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """What a page or an operation asks for; these are also the scopes of API tokens."""

    ANYBODY = "anybody"  # without signing in: sign-in itself, static files, health
    OWN_ACCOUNT = "own:account"  # one's own profile, password, second factor, sessions
    FLEET_READ = "fleet:read"  # portfolio, nodes, events, reports, readings, baselines
    NODE_WRITE = "node:write"  # enrol, approve, suspend, cancel, ask to register again
    EVENT_WRITE = "event:write"  # make, change and cancel events and templates
    EVENT_APPROVE = "event:approve"  # the second person of an event
    REPORT_WRITE = "report:write"  # ask for reports, end them
    SETTLEMENT_READ = "settlement:read"  # statements and their exports
    LEDGER_READ = "ledger:read"  # records, receipts, checkpoints, anchors, agreements
    AUDIT_READ = "audit:read"  # the trail of what was done by whom
    ALARM_WRITE = "alarm:write"  # acknowledge alarms
    USER_ADMIN = "user:admin"  # users, roles, tokens of others
    SETTINGS_WRITE = "settings:write"  # limits, budgets, notices
    HOME_OWN = "home:own"  # a prosumer's own home, events, money and receipts


class Role(StrEnum):
    """What a user is; one role each."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"
    PROSUMER = "prosumer"


_P = Permission
_SIGNED_IN = frozenset({_P.ANYBODY, _P.OWN_ACCOUNT})
_VIEWER = _SIGNED_IN | {_P.FLEET_READ, _P.SETTLEMENT_READ, _P.LEDGER_READ}
_OPERATOR = _VIEWER | {
    _P.NODE_WRITE,
    _P.EVENT_WRITE,
    _P.EVENT_APPROVE,
    _P.REPORT_WRITE,
    _P.AUDIT_READ,
    _P.ALARM_WRITE,
}
GRANTED: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _OPERATOR | {_P.USER_ADMIN, _P.SETTINGS_WRITE},
    Role.AUDITOR: _SIGNED_IN | {_P.SETTLEMENT_READ, _P.LEDGER_READ, _P.AUDIT_READ},
    Role.PROSUMER: _SIGNED_IN | {_P.HOME_OWN},
}
# roles that act on the grid or on other users: without a second factor they may set one up and nothing else
SECOND_FACTOR = frozenset({Role.OPERATOR, Role.ADMIN})
