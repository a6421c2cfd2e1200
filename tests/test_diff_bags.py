"""The algebra of table equality: equal bags, any single change, tolerance; against a plain oracle on small tables."""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.grader.tables.compare import compare
from services.grader.tables.verdict import Comparison, TableJob, TableRules

Row = tuple[Any, ...]
QUICK = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-31, 1.5, -2.0, 5e-324, 1e300, math.inf, -math.inf, math.nan])
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "long": (pa.int64(), st.sampled_from([0, 1, -1, 2**63 - 1])),
    "small": (pa.int8(), st.integers(-2, 2)),
    "text": (pa.string(), st.sampled_from(["", "a", "aa", "a" * 4, "b" * 5, "c" * 70, "d" * 700, "\0", "\0\0"])),
    "bytes": (pa.binary(), st.binary(max_size=3)),
    "money": (pa.decimal128(20, 2), st.sampled_from([Decimal("1.00"), Decimal("-1.00"), Decimal("9e17")])),
    "flag": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.sampled_from([date(2020, 1, 1), date(1960, 1, 1)])),
    "at": (pa.timestamp("us", tz="UTC"), st.sampled_from([datetime(2020, 1, n, tzinfo=UTC) for n in (1, 2)])),
    "double": (pa.float64(), FLOATS),
    "single": (pa.float32(), st.sampled_from([0.5, -0.0, math.nan, 1.0])),
    "list": (pa.list_(pa.float64()), st.lists(st.one_of(st.none(), FLOATS), max_size=2)),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"a": st.one_of(st.none(), st.integers(0, 1)), "b": st.none() | st.just(["x", None])}),
    ),
    "map": (
        pa.map_(pa.string(), pa.int32()),
        st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 1)), max_size=2),
    ),
}


@st.composite
def tables(draw: st.DrawFn, smallest: int = 0) -> tuple[tuple[str, ...], list[Row]]:
    """Column names, which are names of types here, and rows with many duplicates and NULLs."""
    names = tuple(draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=4, unique=True)))
    row = st.tuples(*(st.one_of(st.none(), TYPES[name][1]) for name in names))
    return names, draw(st.lists(row, min_size=smallest, max_size=6))


def write(path: Path, names: Sequence[str], rows: Sequence[Row], **options: Any) -> Path:
    arrays = [pa.array([row[place] for row in rows], TYPES[name][0]) for place, name in enumerate(names)]
    pq.write_table(pa.table(arrays, names=list(names)), path, **options)
    return path


def judged(folder: Path, names: Sequence[str], left: Sequence[Row], right: Sequence[Row], **rules: Any) -> Comparison:
    """The verdict on two lists of rows, the same with and without examples; the right file is packed another way."""
    ours = write(folder / "left.parquet", names, left)
    theirs = write(folder / "right.parquet", names, right, row_group_size=2, use_dictionary=False, version="2.6")
    job = TableJob(left=str(ours), right=str(theirs), rules=TableRules(**rules))
    found = compare(job)
    verdict_only = job.rules.model_copy(update={"examples": 0})
    assert compare(job.model_copy(update={"rules": verdict_only})).verdict == found.verdict
    return found


def plain(value: Any) -> Any:
    """A value of which equal ones are equal in Python too, also NaN and the two zeros."""
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return tuple((key, plain(item)) for key, item in sorted(value.items()))
    return value


def bag(rows: Sequence[Row]) -> list[str]:
    return sorted(repr(plain(row)) for row in rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bags")


@QUICK
@given(table=tables(), data=st.data())
def test_a_bag_equals_itself_in_any_order(folder: Path, table: tuple[tuple[str, ...], list[Row]], data: Any) -> None:
    names, rows = table
    mixed = data.draw(st.permutations(rows))
    found = judged(folder, names, rows, mixed, key=data.draw(st.sampled_from([(), names[:1], names])))
    assert found.verdict == "identical"


@QUICK
@given(table=tables(smallest=1), data=st.data())
def test_any_single_change_of_a_value_is_found(
    folder: Path, table: tuple[tuple[str, ...], list[Row]], data: Any
) -> None:
    names, rows = table
    at, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(names) - 1))
    value = data.draw(st.one_of(st.none(), TYPES[names[column]][1]))
    changed = [*rows[:at], (*rows[at][:column], value, *rows[at][column + 1 :]), *rows[at + 1 :]]
    assume(bag(changed) != bag(rows))
    found = judged(folder, names, rows, changed, rtol=0, atol=0)
    assert found.verdict == "different"
    assert (found.missing, found.extra, found.changed) == (1, 1, 0)
    keyed = judged(folder, names, rows, data.draw(st.permutations(changed)), rtol=0, atol=0, key=names[:1])
    assert keyed.verdict == "different"
    assert keyed.counterexamples


@settings(QUICK, max_examples=30)
@given(table=tables(smallest=1), data=st.data())
def test_any_dropped_or_doubled_row_is_found(folder: Path, table: tuple[tuple[str, ...], list[Row]], data: Any) -> None:
    names, rows = table
    at = data.draw(st.integers(0, len(rows) - 1))
    key = data.draw(st.sampled_from([(), names[:1]]))
    dropped = judged(folder, names, rows, rows[:at] + rows[at + 1 :], key=key)
    doubled = judged(folder, names, rows, [*rows, rows[at]], key=key)
    assert (dropped.verdict, dropped.extra) == ("different", 0)
    assert (doubled.verdict, doubled.missing, doubled.extra) == ("different", 0, 1)
    swapped = judged(folder, names, [*rows, rows[at]], [*rows, (None,) * len(names)], key=key, rtol=0, atol=0)
    assert swapped.equal == (bag([rows[at]]) == bag([(None,) * len(names)]))


NUMBERS = st.sampled_from([0.0, 1.0, 1.0 - 2**-10, 1.0 + 2**-10, 1.0 + 2**-9, 2.0, 2.0 + 2**-9, -1.0, 8.0, 1e-9])
LOOSE = {"rtol": 2**-10, "atol": 0.0}
PAIRS = st.lists(st.tuples(st.sampled_from(["a", "b"]), NUMBERS, st.one_of(st.none(), NUMBERS)), max_size=7)


def close(a: Any, b: Any) -> bool:
    if not isinstance(a, float) or not isinstance(b, float):
        return bool(a == b)
    return abs(a - b) <= LOOSE["rtol"] * max(abs(a), abs(b))


def can_be_paired(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """Whether a one-to-one pairing within the tolerance exists, by trying augmenting paths."""
    partner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for other in range(len(right)):
            if other not in seen and all(map(close, left[row], right[other])):
                seen.add(other)
                if other not in partner or place(partner[other], seen):
                    partner[other] = row
                    return True
        return False

    return len(left) == len(right) and all(place(row, set()) for row in range(len(left)))


@settings(QUICK, max_examples=100)
@given(left=PAIRS, data=st.data())
def test_tolerance_is_a_matching_and_symmetric(folder: Path, left: list[Row], data: Any) -> None:
    moved = [(text, data.draw(NUMBERS) if data.draw(st.booleans()) else x, y) for text, x, y in left]
    right = data.draw(st.permutations(moved))
    names = ("text", "double", "double2")
    TYPES.setdefault("double2", TYPES["double"])
    forward, backward = (judged(folder, names, *pair, **LOOSE) for pair in ((left, right), (right, left)))
    assert forward.equal == backward.equal == can_be_paired(left, right)
    assert (forward.missing, forward.extra) == (backward.extra, backward.missing)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("low_on_the_left", [True, False])
def test_drift_exactly_at_the_bound_passes_and_beyond_it_does_not(
    folder: Path, sign: float, low_on_the_left: bool
) -> None:
    def verdict(low: float, high: float, **rules: Any) -> str:
        sides = [[(sign * low,)], [(sign * high,)]]
        return judged(folder, ("double",), *(sides if low_on_the_left else reversed(sides)), **rules).verdict

    at, beyond = 1.0 - 2**-20, math.nextafter(1.0 - 2**-20, 0)
    assert verdict(at, 1.0, rtol=2**-20, atol=0) == "within_tolerance"
    assert verdict(beyond, 1.0, rtol=2**-20, atol=0) == "different"
    # the absolute part: the typical size of both columns is 2, so it is twice atol
    assert verdict(2.0, 2.0 + 2**-9, rtol=0, atol=2**-10) == "within_tolerance"
    assert verdict(2.0, math.nextafter(2.0 + 2**-9, 3), rtol=0, atol=2**-10) == "different"


def test_a_pairing_that_needs_a_matching_is_found(folder: Path) -> None:
    TYPES.setdefault("double2", TYPES["double"])
    step = 2**-11
    left = [("a", 1.0, 1.0), ("a", 1.0 + step, 1.0 + 2 * step)]
    right = [("a", 1.0 + step, 1.0), ("a", 1.0 - step / 2, 1.0 + 2 * step)]
    assert can_be_paired(left, right)
    assert judged(folder, ("text", "double", "double2"), left, right, **LOOSE).verdict == "within_tolerance"
