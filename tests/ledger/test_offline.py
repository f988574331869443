"""A database file that cannot be looked at is said so, by the path and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import offline
from ledger.errors import LedgerError


def forbidden(_: Path) -> bool:
    raise PermissionError(13, "Permission denied")


def test_a_path_that_the_system_refuses_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ("a" * 300)
    with (
        pytest.raises(LedgerError, match=r"a{300} cannot be read: File name too long"),
        offline.reading(place),
    ):
        raise AssertionError("it was opened")
    monkeypatch.setattr(Path, "is_file", forbidden)  # as for all but root in a folder of mode 0700
    with (
        pytest.raises(LedgerError, match="cannot be read: Permission denied"),
        offline.reading(tmp_path / "b.sqlite"),
    ):
        raise AssertionError("it was opened")
