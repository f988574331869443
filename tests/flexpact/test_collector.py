"""What a server has loaded is not collected again and again."""

import gc
from collections.abc import Iterator

import pytest

from flexpact.collector import leave_what_is_loaded


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_a_full_collection_looks_at_later_objects_only() -> None:
    loaded = len(gc.get_objects())
    leave_what_is_loaded()
    later = [[number] for number in range(10)]
    assert gc.get_freeze_count() > loaded / 2
    looked_at = gc.get_objects()
    assert len(looked_at) < loaded / 2
    assert all(any(each is found for found in looked_at) for each in later)
