import socket
from pathlib import Path

import pytest

from flexpact.demo.accuracy import nmae
from flexpact.demo.control import Control
from flexpact.demo.errors import DemoError
from flexpact.demo.faults import Fault, victim
from flexpact.demo.homes import ask, listens, true_reduction_kwh
from flexpact.demo.plan import GENERATED_DAY


def test_nmae_is_the_sum_of_errors_over_the_sum_of_true_values() -> None:
    assert nmae([(10.0, 8.0), (10.0, 13.0)]) == pytest.approx(5 / 20)


def test_nmae_leaves_out_where_nothing_was_forecast() -> None:
    assert nmae([(10.0, 9.0), (50.0, None)]) == pytest.approx(1 / 10)


@pytest.mark.parametrize("pairs", [[], [(5.0, None)], [(0.0, 0.0)]])
def test_nmae_of_nothing_is_none(pairs: list[tuple[float, float | None]]) -> None:
    assert nmae(pairs) is None


async def test_a_simulator_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="does not answer health"):
        await ask(tmp_path / "homes", "health")
    with pytest.raises(DemoError, match="does not answer truth"):
        await true_reduction_kwh(tmp_path / "homes", ["node-1"], GENERATED_DAY, GENERATED_DAY)


async def test_an_aggregator_that_is_not_there_is_not_alive(tmp_path: Path) -> None:
    async with Control(tmp_path / "aggregator") as control:
        assert not await control.alive()


async def test_a_control_client_outside_its_block_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="outside"):
        await Control(tmp_path / "aggregator").get("/health")


@pytest.mark.parametrize(
    ("fault", "name"),
    [(Fault.KILL_AGGREGATOR, "aggregator"), (Fault.KILL_FEID, "node-3"), (Fault.CHAIN_OFF, "chain")],
)
def test_each_fault_has_its_victim(fault: Fault, name: str) -> None:
    assert victim(fault, ["node-3", "node-1"]) == name


async def test_a_simulator_listens_when_it_takes_connections_and_not_when_its_socket_has_a_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "homes"
    assert not await listens(path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert not await listens(path)
        bound.listen()
        assert await listens(path)
