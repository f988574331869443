"""The conformance table: what each criterion asks, which tests prove it, and what is wrong with the whole.

A criterion of both sides is proven when a test has passed for each. A failing test spoils what others prove.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SIDES = {"VTN": ("VTN",), "VEN": ("VEN",), "both": ("VTN", "VEN"), "server": ("server",)}
# Every criterion of these groups is proven or excused; the others belong to later work.
REQUIRED = frozenset(
    ["GEN", "HTTP", "SEC", "SIG", "REG", "POLL", "EVT", "VEX", "SGN", "TGT", "OPT", "RPT", "ERR", "MIN"]
)
_TESTS_SHOWN = 3

_GROUPS = "gen|http|sec|sig|xmpp|reg|poll|evt|vex|sgn|tgt|opt|rpt|err|a20|min"
_NAME = re.compile(rf"test_((?:{_GROUPS})_\d\d(?:_(?:and_)?(?:(?:{_GROUPS})_)?\d\d)*)(?:_|$)")
_ID_IN_NAME = re.compile(rf"(?:({_GROUPS})_)?(\d\d)(?!\d)")
_ROW = re.compile(r"^\| ([A-Z0-9]+-\d\d) \|.*\| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the checklist; `sides` are those that must meet it."""

    id: str
    who: str
    short: str

    @property
    def group(self) -> str:
        return self.id.rpartition("-")[0]

    @property
    def sides(self) -> tuple[str, ...]:
        return SIDES[self.who]


@dataclass(frozen=True, slots=True)
class Proof:
    """A test that claims a criterion for some sides, and whether it passed."""

    criterion: str
    sides: tuple[str, ...]
    test: str
    passed: bool


def read_criteria(path: Path = HERE / "criteria.toml") -> dict[str, Criterion]:
    """All criteria by ID, in the order of the checklist."""
    return {
        name: Criterion(name, row["who"], row["short"])
        for name, row in tomllib.loads(path.read_text("utf-8")).items()
    }


def read_excuses(path: Path = HERE / "untestable.toml") -> dict[str, str]:
    """Reasons by "ID", or by "ID VTN" and "ID VEN" when only one side of a criterion cannot be tested."""
    return tomllib.loads(path.read_text("utf-8"))


def ids_in_name(name: str) -> tuple[str, ...]:
    """The criteria that a test's name opens with.

    `test_evt_16_order` gives EVT-16; `test_opt_11_and_13_...` and `test_vex_09_10_...` give both of a group;
    `test_evt_38_err_03_...` gives one of each.
    """
    found = _NAME.match(name)
    if found is None:
        return ()
    ids, group = [], ""
    for named, number in _ID_IN_NAME.findall(found[1]):
        group = named or group
        ids.append(f"{group.upper()}-{number}")
    return tuple(ids)


class Table:
    """The criteria with the proofs of one test run."""

    def __init__(
        self, criteria: Mapping[str, Criterion], excuses: Mapping[str, str], proofs: Iterable[Proof]
    ) -> None:
        self.criteria, self.excuses = criteria, excuses
        self.unknown: list[Proof] = []
        self._proofs: dict[str, list[Proof]] = {name: [] for name in criteria}
        for proof in proofs:
            self._proofs.get(proof.criterion, self.unknown).append(proof)

    def missing(self, criterion: Criterion) -> tuple[str, ...]:
        """The sides for which nothing has passed, or something has failed."""
        proofs = self._proofs[criterion.id]
        outcomes = {side: [p.passed for p in proofs if side in p.sides] for side in criterion.sides}
        return tuple(side for side, passed in outcomes.items() if not passed or not all(passed))

    def state(self, criterion: Criterion) -> str:
        """`pass`, or `open`; `open for VEN` when only that side of a criterion of both is open."""
        missing = self.missing(criterion)
        if not missing:
            return "pass"
        return "open" if missing == criterion.sides else f"open for {missing[0]}"

    def excuse(self, criterion: Criterion, side: str) -> str | None:
        """Why a side of a criterion has no test, if that is known."""
        return self.excuses.get(criterion.id) or self.excuses.get(f"{criterion.id} {side}")

    def states(self) -> dict[str, str]:
        """The state of every criterion by ID."""
        return {name: self.state(criterion) for name, criterion in self.criteria.items()}

    def faults(self, committed: Mapping[str, str]) -> list[str]:
        """What is wrong, a line each: open without excuse, excused but proven, unknown, not as committed."""
        return [*self._open(), *self._needless(), *self._strangers(), *self._stale(committed)]

    def _open(self) -> Iterator[str]:
        for criterion in self.criteria.values():
            if criterion.group not in REQUIRED:
                continue
            sides = [side for side in self.missing(criterion) if not self.excuse(criterion, side)]
            if sides:
                failed = sorted({p.test for p in self._proofs[criterion.id] if not p.passed})
                why = f"failed: {', '.join(failed)}" if failed else "no passing test"
                yield f"{criterion.id} ({', '.join(sides)}): {why}"

    def _needless(self) -> Iterator[str]:
        for key in self.excuses:
            name, _, side = key.partition(" ")
            criterion = self.criteria.get(name)
            if criterion is None or (side and side not in criterion.sides):
                yield f"untestable.toml: {key!r} is no criterion"
            elif any(p.passed and (side in p.sides if side else True) for p in self._proofs[name]):
                yield f"untestable.toml: {key} has a passing test"

    def _strangers(self) -> Iterator[str]:
        yield from sorted({f"{proof.test}: {proof.criterion} is no criterion" for proof in self.unknown})

    def _stale(self, committed: Mapping[str, str]) -> Iterator[str]:
        for name, state in self.states().items():
            if (said := committed.get(name, "nothing")) != state:
                yield f"docs/conformance.md says {said} of {name}, this run says {state}"

    def render(self) -> str:
        """The page: the counts of each group, then every criterion."""
        return "\n".join(
            [*_HEAD, *self._counts(), "", *_ROWS_HEAD, *map(self._row, self.criteria.values()), ""]
        )

    def _counts(self) -> Iterator[str]:
        groups = dict.fromkeys(criterion.group for criterion in self.criteria.values())
        totals = [0, 0, 0, 0]
        for group in groups:
            members = [criterion for criterion in self.criteria.values() if criterion.group == group]
            passed = sum(self.state(criterion) == "pass" for criterion in members)
            excused = sum(
                bool(missing := self.missing(c)) and all(self.excuse(c, s) for s in missing) for c in members
            )
            counts = [len(members), passed, excused, len(members) - passed - excused]
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
            yield _line(group, *map(str, counts))
        yield _line("all", *map(str, totals))

    def _row(self, criterion: Criterion) -> str:
        tests = sorted({proof.test for proof in self._proofs[criterion.id]})
        parts = [f"`{test}`" for test in tests[:_TESTS_SHOWN]]
        if len(tests) > _TESTS_SHOWN:
            parts.append(f"and {len(tests) - _TESTS_SHOWN} more")
        reasons = dict.fromkeys(self.excuse(criterion, side) for side in self.missing(criterion))
        parts.extend(reason for reason in reasons if reason)
        return _line(criterion.id, criterion.who, criterion.short, "; ".join(parts), self.state(criterion))


def read_states(page: str) -> dict[str, str]:
    """The state of each criterion in a page that `Table.render` has written."""
    return dict(_ROW.findall(page))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


_HEAD = [
    "# Conformance",
    "",
    "Which criteria of OpenADR 2.0b are proven by which tests. Written by a test run, never by hand:",
    "",
    "    .venv/bin/pytest -m 'not long' --conformance docs/conformance.md",
    "",
    "A criterion of both sides passes when a test has passed for the VTN and one for the VEN. Excuses",
    "are in `tests/conformance/untestable.toml`; the gate refuses anything else that is open.",
    "",
    "| group | criteria | pass | excused | open |",
    "| --- | --- | --- | --- | --- |",
]
_ROWS_HEAD = ["| ID | who | criterion in short | tests | pass/open |", "| --- | --- | --- | --- | --- |"]
