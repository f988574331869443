"""What the dashboard shows and does is there as JSON: each page has an operation, or a reason why not."""

from __future__ import annotations

from aggregator.api_operations import OPERATIONS
from aggregator.dashboard.pages import PAGES
from tests.aggregator.access.api_routes import OF_API
from tests.aggregator.access.page_operations import AS_OPERATION, ONLY_A_PAGE
from tests.aggregator.access.routes import ROUTES
from tests.aggregator.access.test_routes import key

BY_NAME = {operation.route.name: operation for operation in OPERATIONS}
OF_PAGES = {key(page): page for page in PAGES}


def test_every_page_has_an_operation_or_a_reason_why_not() -> None:
    pages = {route for route in ROUTES if route not in OF_API} | {"GET /developer"}
    assert AS_OPERATION.keys() | ONLY_A_PAGE.keys() == pages
    assert not AS_OPERATION.keys() & ONLY_A_PAGE.keys()
    assert all(ONLY_A_PAGE.values())


def test_an_operation_is_for_those_whom_the_page_is_for() -> None:
    for page, names in AS_OPERATION.items():
        assert names, page
        for name in names:
            assert name in BY_NAME, (page, name)
            path = f"{BY_NAME[name].route.method} /api/v1{BY_NAME[name].route.path}"
            assert ROUTES[page] <= OF_API[path], (page, name)


def test_a_deed_asks_for_the_permission_and_the_second_factor_of_its_page() -> None:
    for name, page in OF_PAGES.items():
        if not page.writes or name not in AS_OPERATION:
            continue
        for operation in (BY_NAME[one] for one in AS_OPERATION[name]):
            assert operation.permission == page.permission, (name, operation.route.name)
            assert operation.fresh or not page.fresh, (name, operation.route.name)
