"""A contract is kept by all rows or said to be broken, with examples; it is never taken on trust."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.etl.catalog import find_parquet
from cluster.etl.importing import open_pins
from services.contracts.errors import BadInput
from services.contracts.etl import (
    Contract,
    DependencyClause,
    FormatClause,
    KeyClause,
    NotNullClause,
    PinnedTable,
    ReferenceClause,
)
from services.grader.etl.contract import check_contract, require_contract
from tests.etl_world import make_production, write_job

TABLE = pa.table(
    {
        "id": [1, 2, 2, None],
        "shop": ["a", "a", "B", " b"],
        "city": ["x", None, "y", "y"],
        "code": ["07", "7", None, "x7"],
    }
)
KEY = KeyClause(table="t", columns=("id",))
SMALL = st.lists(st.tuples(st.sampled_from([None, 0, 1]), st.sampled_from([None, 0, 1])), max_size=6)


def pinned(folder: Path, table: pa.Table, name: str = "t") -> PinnedTable:
    pq.write_table(table, folder / f"{name}.parquet")
    return find_parquet(name, folder / f"{name}.parquet").table


def broken(contract: Contract, *tables: PinnedTable) -> dict[str, tuple[int, set[str]]]:
    return {b.clause: (b.count, set(b.examples)) for b in check_contract(contract, tables)}


def test_each_broken_clause_is_said_with_its_examples(tmp_path: Path) -> None:
    other = pinned(tmp_path, pa.table({"name": ["a", None]}), "s.shops")
    contract = Contract(
        keys=(KEY,),
        dependencies=(DependencyClause(table="t", determines=("shop",), dependent=("city",)),),
        formats=(FormatClause(table="t", column="code", pattern="[0-9]{2}"),),
        not_null=(NotNullClause(table="t", column="city"),),
        references=(ReferenceClause(table="t", columns=("shop",), target="s.shops", target_columns=("name",)),),
    )
    assert broken(contract, pinned(tmp_path, TABLE), other) == {
        "key of t (id)": (2, {"(2)", "(NULL)"}),
        "dependency in t (shop) -> (city)": (1, {"(a)"}),
        "format of t.code [0-9]{2}": (2, {"(7)", "(x7)"}),
        "not null t.city": (1, {"(2, a, NULL, 7)"}),
        "reference of t (shop) to s.shops (name)": (2, {"(B)", "( b)"}),
    }


def test_no_more_than_three_examples_are_given(tmp_path: Path) -> None:
    table = pinned(tmp_path, pa.table({"id": [i // 2 for i in range(100)]}))
    (found,) = check_contract(Contract(keys=(KEY,)), [table])
    assert (found.count, len(found.examples)) == (50, 3)


@settings(max_examples=30)
@given(SMALL)
def test_keys_and_dependencies_are_those_of_the_definition(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int | None, int | None]]
) -> None:
    columns = {"id": pa.array([a for a, _ in rows], pa.int64()), "v": pa.array([b for _, b in rows], pa.int64())}
    table = pinned(tmp_path_factory.getbasetemp(), pa.table(columns))
    depends = DependencyClause(table="t", determines=("id",), dependent=("v",))
    found = {b.clause.split()[0] for b in check_contract(Contract(keys=(KEY,), dependencies=(depends,)), [table])}
    keys = [a for a, _ in rows]
    assert ("key" in found) == (None in keys or len(set(keys)) < len(keys))
    assert ("dependency" in found) == (len(set(rows)) > len(set(keys)))


@pytest.mark.parametrize(
    ("contract", "why"),
    [
        (Contract(keys=(KeyClause(table="tt", columns=("id",)),)), "there is no table tt; did you mean t"),
        (Contract(keys=(KeyClause(table="t", columns=("shpo",)),)), "t has no column shpo; did you mean shop"),
        (Contract(keys=(KeyClause(table="t", columns=()),)), "it names no column"),
        (Contract(formats=(FormatClause(table="t", column="id", pattern="x"),)), "BIGINT, and a format is of text"),
        (Contract(formats=(FormatClause(table="t", column="code", pattern="(x"),)), "missing \\)"),
        (
            Contract(references=(ReferenceClause(table="t", columns=("id",), target="t", target_columns=()),)),
            "it names no column",
        ),
    ],
)
def test_a_clause_that_cannot_be_checked_is_no_clause_that_is_kept(
    tmp_path: Path, contract: Contract, why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        check_contract(contract, [pinned(tmp_path, TABLE)])


def test_sql_in_a_pattern_or_a_name_is_text(tmp_path: Path) -> None:
    table = pinned(tmp_path, pa.table({'a"b': ["x' OR true --"]}))
    clause = FormatClause(table="t", column='a"b', pattern="x' OR true --")
    assert check_contract(Contract(formats=(clause,)), [table]) == ()


def test_a_key_of_many_rows_is_checked_in_bounded_memory(tmp_path: Path) -> None:
    rows = 1_000_000
    values = pa.table({"id": pa.array(range(rows), pa.int64()), "text": [f"row {i:060d}" for i in range(rows)]})
    table = pinned(tmp_path, values)
    before = set(os.listdir("/tmp"))
    contract = Contract(keys=(KeyClause(table="t", columns=("id", "text")),))
    assert check_contract(contract, [table], memory_mb=128) == ()
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("assay-contract-")]


def test_a_job_whose_contract_is_broken_is_refused(tmp_path: Path) -> None:
    root = make_production(tmp_path)
    contract = {"keys": [{"table": "sales.orders", "columns": ["shop"]}]}
    with pytest.raises(BadInput, match=r"key of sales.orders \(shop\) is broken 1 times, such as \(a\)"):
        open_pins(write_job(root, contract=contract))
    require_contract(Contract(), [])
