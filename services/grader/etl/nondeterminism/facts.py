"""What is known of a relation before it runs: the risks of its columns and of its row set, its keys and dependencies.

Invariant: what is not known to be the same in every run carries a finding. Keys and dependencies are only ever those
that hold; to know fewer of them costs a finding too many.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["A", "B", "C", "D", "E", "F"]


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Finding:
    """One reason why a value or a row set may differ. `source` is the function or clause that it began with."""

    kind: Kind
    reason: str
    source: str = ""


Findings = frozenset[Finding]
NONE: Findings = frozenset()


@dataclass(frozen=True)
class Pick:
    """A numbering: without a total order it is open which row gets which number, but not its `settled` columns."""

    settled: frozenset[str]
    key: frozenset[str] | None
    """Columns that name a partition, if all of them are columns: with number 1 alone they are a key."""
    finding: Finding | None
    """None if the order is total."""


@dataclass(frozen=True)
class Facts:
    """What is known of a value. `floating`: it may be FLOAT or DOUBLE. `derived`: it depends on the data."""

    findings: Findings = NONE
    floating: bool = True
    derived: bool = True
    pick: Pick | None = None
    stamped: bool = False
    """What a statement added to it is made of no data, whatever older rows hold."""
    present: bool = False
    """Never NULL, by the contract."""
    type: str = ""
    """DuckDB's text of a source column's type; empty where it was not declared."""

    def adding(self, findings: Iterable[Finding]) -> "Facts":
        """The same with more findings."""
        return replace(self, findings=self.findings | frozenset(findings))

    @property
    def pure(self) -> bool:
        """Whether the statements make it of clocks, chance and constants alone."""
        return bool(self.findings) and (self.stamped or not self.derived)

    @property
    def clock_only(self) -> bool:
        """Whether every row of one statement has the same value, however it differs from run to run."""
        return not self.derived and all(one.kind == "A" and one.source in CLOCKS for one in self.findings)


CLOCKS = words(
    "now today current_date current_time current_timestamp localtime localtimestamp get_current_time "
    "get_current_timestamp transaction_timestamp"
)
"""Functions with one value for a whole statement."""

Dependency = tuple[frozenset[str], frozenset[str]]


@dataclass(frozen=True)
class Relation:
    """Rows and columns. Names are lower case; the empty key says that there is at most one row."""

    columns: Mapping[str, Facts]
    rows: Findings = NONE
    keys: frozenset[frozenset[str]] = field(default_factory=frozenset)
    dependencies: frozenset[Dependency] = field(default_factory=frozenset)

    def renamed(self, names: Iterable[str]) -> "Relation":
        """The same with other names for its first columns, such as those of `t(a, b)`."""
        given = dict(zip(self.columns, names, strict=False))
        return self if not given else self._mapped({name: given.get(name, name) for name in self.columns})

    def _mapped(self, to: Mapping[str, str]) -> "Relation":
        def moved(names: Iterable[str]) -> frozenset[str]:
            return frozenset(to[name] for name in names)

        columns = {
            to[name]: replace(facts, pick=_moved(facts.pick, to)) if facts.pick else facts
            for name, facts in self.columns.items()
        }
        dependencies = frozenset((moved(some), moved(others)) for some, others in self.dependencies)
        return Relation(columns, self.rows, frozenset(map(moved, self.keys)), dependencies)


def _moved(pick: Pick, to: Mapping[str, str]) -> Pick:
    key = None if pick.key is None else frozenset(to[name] for name in pick.key)
    return Pick(frozenset(to[name] for name in pick.settled), key, pick.finding)


def hardened(findings: Findings, use: str) -> Findings:
    """A drift that feeds a decision is no drift any more: E becomes C, with the decision as its reason."""
    return frozenset(
        Finding("C", f"{one.reason}, and it feeds {use}", one.source) if one.kind == "E" else one for one in findings
    )


def merged(parts: Iterable[Facts]) -> Facts:
    """A value made of several."""
    found: Findings = NONE
    floating = derived = False
    for part in parts:
        found |= part.findings
        floating |= part.floating
        derived |= part.derived
    return Facts(found, floating, derived)
