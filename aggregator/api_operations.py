"""All operations of the JSON API, and the permission that each asks for. What is not here is not served."""

from __future__ import annotations

from collections.abc import Mapping

from aggregator import (
    api_changes,
    api_contracts,
    api_event_load,
    api_event_templates,
    api_evidence,
    api_exports,
    api_fleet_reports,
    api_home,
    api_limits,
    api_measure,
    api_notices,
    api_platform,
    api_proofs,
    api_records,
    api_requests,
    api_users,
)
from aggregator.access.permission import Permission
from aggregator.api_approvals import OPERATIONS as OF_APPROVALS
from aggregator.dashboard import alarms, node_api, settings
from aggregator.dashboard.operation import Operation
from vtn import api as vtn_api

_P = Permission
OF_VTN: Mapping[str, Permission] = {
    "listVens": _P.FLEET_READ,
    "showVen": _P.FLEET_READ,
    "enrolVen": _P.NODE_WRITE,
    "changeVen": _P.NODE_WRITE,
    "suspendVen": _P.NODE_WRITE,
    "resumeVen": _P.NODE_WRITE,
    "cancelRegistration": _P.NODE_WRITE,
    "askToRegisterAgain": _P.NODE_WRITE,
    "withdrawCertificate": _P.NODE_WRITE,
    "listPending": _P.FLEET_READ,
    "approvePending": _P.NODE_WRITE,
    "listEndingCertificates": _P.FLEET_READ,
    "createEvent": _P.EVENT_WRITE,
    "listEvents": _P.FLEET_READ,
    "showEvent": _P.FLEET_READ,
    "modifyEvent": _P.EVENT_WRITE,
    "cancelEvent": _P.EVENT_WRITE,
    "listProgrammes": _P.FLEET_READ,
    "showProgramme": _P.FLEET_READ,
    "listOpts": _P.FLEET_READ,
    "showCatalogue": _P.FLEET_READ,
    "listReportRequests": _P.FLEET_READ,
    "requestReport": _P.REPORT_WRITE,
    "cancelReport": _P.REPORT_WRITE,
    "showTrace": _P.FLEET_READ,
    "turnTrace": _P.NODE_WRITE,
    "showFindings": _P.FLEET_READ,
}
"""Routes of the VTN by name. One that is not here is not served."""

OPERATIONS: tuple[Operation, ...] = (
    *(
        Operation(route=route, permission=OF_VTN[route.name])
        for route in vtn_api.ROUTES
        if route.name in OF_VTN
    ),
    *api_platform.OPERATIONS,
    *api_requests.OPERATIONS,
    *OF_APPROVALS,
    *api_changes.OPERATIONS,
    *api_event_templates.OPERATIONS,
    *api_limits.OPERATIONS,
    *api_evidence.OPERATIONS,
    *api_contracts.OPERATIONS,
    *api_records.OPERATIONS,
    *api_home.OPERATIONS,
    *node_api.OPERATIONS,
    *alarms.OPERATIONS,
    *settings.OPERATIONS,
    *api_fleet_reports.OPERATIONS,
    *api_measure.OPERATIONS,
    *api_exports.OPERATIONS,
    *api_users.OPERATIONS,
    *api_proofs.OPERATIONS,
    *api_notices.OPERATIONS,
    *api_event_load.OPERATIONS,
)
"""Screens add theirs here: `*nodes.OPERATIONS`."""
