"""The conformance table says pass only where a test has passed for every side."""

from __future__ import annotations

import pytest

from tests.conformance.table import (
    REQUIRED,
    Criterion,
    Proof,
    Table,
    ids_in_name,
    read_criteria,
    read_excuses,
    read_states,
)

BOTH = Criterion("GEN-01", "both", "said in short")
ONE = Criterion("EVT-16", "VTN", "order")
LATER = Criterion("XMPP-01", "both", "another transport")
CRITERIA = {criterion.id: criterion for criterion in (BOTH, ONE, LATER)}


def proof(criterion: str, *sides: str, passed: bool = True, test: str = "vtn/test_x.py::test_y") -> Proof:
    return Proof(criterion, sides, test, passed)


def table(*proofs: Proof, **excuses: str) -> Table:
    return Table(CRITERIA, {key.replace("_", "-"): reason for key, reason in excuses.items()}, proofs)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("test_evt_16_order", ("EVT-16",)),
        ("test_opt_11_and_13_qualified", ("OPT-11", "OPT-13")),
        ("test_vex_09_10_lists", ("VEX-09", "VEX-10")),
        ("test_evt_38_err_03_wrong_answers", ("EVT-38", "ERR-03")),
        ("test_a20_03_bare_root", ("A20-03",)),
        ("test_evt_16", ("EVT-16",)),
        ("test_evt_16_100_events", ("EVT-16",)),
        ("test_minutes_15_are_900_seconds", ()),
        ("test_event_16_is_an_event", ()),
        ("test_the_list_evt_16", ()),
        ("test_evt_160_events", ()),
    ],
)
def test_names_open_with_their_criteria(name: str, ids: tuple[str, ...]) -> None:
    assert ids_in_name(name) == ids


@pytest.mark.parametrize(
    ("proofs", "state"),
    [
        ([], "open"),
        ([proof("GEN-01", "VTN")], "open for VEN"),
        ([proof("GEN-01", "VTN"), proof("GEN-01", "VEN")], "pass"),
        ([proof("GEN-01", "VTN", "VEN")], "pass"),
        ([proof("GEN-01", "VTN", "VEN"), proof("GEN-01", "VEN", passed=False)], "open for VEN"),
        ([proof("GEN-01", "VTN", "VEN", passed=False)], "open"),
    ],
    ids=["none", "one side", "each side", "both at once", "one side fails", "failed"],
)
def test_criterion_of_both_needs_a_passing_test_for_each(proofs: list[Proof], state: str) -> None:
    assert table(*proofs).state(BOTH) == state


def test_page_reads_back_as_the_states() -> None:
    made = table(proof("EVT-16", "VTN"), proof("GEN-01", "VTN"), XMPP_01="later")
    page = made.render()
    assert (
        read_states(page) == made.states() == {"GEN-01": "open for VEN", "EVT-16": "pass", "XMPP-01": "open"}
    )
    assert "| EVT | 1 | 1 | 0 | 0 |" in page
    assert "| all | 3 | 1 | 1 | 1 |" in page
    assert "| XMPP-01 | both | another transport | later | open |" in page


def test_page_names_few_tests_and_counts_the_others() -> None:
    proofs = [proof("EVT-16", "VTN", test=f"test_{letter}") for letter in "abcdea"]
    assert "| `test_a`; `test_b`; `test_c`; and 2 more | pass |" in table(*proofs).render()


def test_whole_table_has_no_faults() -> None:
    made = table(proof("EVT-16", "VTN"), proof("GEN-01", "VTN", "VEN"))
    assert made.faults(made.states()) == []


def test_open_criterion_of_a_required_group_is_a_fault() -> None:
    made = table(proof("GEN-01", "VTN"))
    assert made.faults(made.states()) == ["GEN-01 (VEN): no passing test", "EVT-16 (VTN): no passing test"]


def test_failed_test_is_named() -> None:
    made = table(proof("EVT-16", "VTN", passed=False), proof("GEN-01", "VTN", "VEN"))
    assert made.faults(made.states()) == ["EVT-16 (VTN): failed: vtn/test_x.py::test_y"]


@pytest.mark.parametrize("key", ["GEN-01", "GEN-01 VEN"])
def test_excused_criterion_is_no_fault_until_it_is_proven(key: str) -> None:
    first = proof("GEN-01", "VTN")
    order = proof("EVT-16", "VTN")
    proofs = [order, first] if " " in key else [order]
    made = Table(CRITERIA, {key: "no way"}, proofs)
    assert made.faults(made.states()) == []
    proven = Table(CRITERIA, {key: "no way"}, [order, first, proof("GEN-01", "VEN")])
    assert proven.faults(proven.states()) == [f"untestable.toml: {key} has a passing test"]


@pytest.mark.parametrize("key", ["GEN-99", "EVT-16 VEN"])
def test_excuse_of_nothing_is_a_fault(key: str) -> None:
    made = Table(CRITERIA, {key: "no way"}, [proof("EVT-16", "VTN"), proof("GEN-01", "VTN", "VEN")])
    assert made.faults(made.states()) == [f"untestable.toml: {key!r} is no criterion"]


def test_unknown_criterion_is_a_fault() -> None:
    made = table(proof("EVT-99"), proof("EVT-16", "VTN"), proof("GEN-01", "VTN", "VEN"))
    assert made.faults(made.states()) == ["vtn/test_x.py::test_y: EVT-99 is no criterion"]


def test_committed_page_that_differs_is_a_fault() -> None:
    made = table(proof("EVT-16", "VTN"), proof("GEN-01", "VTN", "VEN"))
    said = {**made.states(), "EVT-16": "open"}
    del said["XMPP-01"]
    assert made.faults(said) == [
        "docs/conformance.md says open of EVT-16, this run says pass",
        "docs/conformance.md says nothing of XMPP-01, this run says open",
    ]


def test_checklist_is_whole_and_short() -> None:
    criteria = read_criteria()
    assert len(criteria) == 305
    assert {criterion.group for criterion in criteria.values()} == REQUIRED | {"XMPP", "A20"}
    assert all(criterion.sides and 0 < len(criterion.short) <= 80 for criterion in criteria.values())
    assert all(read_excuses().values())
