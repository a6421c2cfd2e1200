"""Every edit that a rule offers gives the same bag, on any small tables that respect the contract it relied on."""

from collections.abc import Sequence
from functools import cache

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.etl.builtin.catalog import JOBS, PAYING
from cluster.etl.builtin.domain import NOTHING_DECLARED, JobSpec
from services.contracts.etl import Contract
from services.policy.rewriter.candidates import Edit, candidates
from tests.random_tables import Bags, tables_of

MOST_EDITS = 12
QUICK = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
Stack = tuple[str, tuple[str, ...]]


def schema_of(spec: JobSpec) -> dict[str, dict[str, str]]:
    return {table.name: {column.name: column.type for column in table.columns} for table in spec.tables}


@cache
def stacks_of(task_key: str, contract: Contract, most: int = MOST_EDITS) -> tuple[Stack, ...]:
    """Edits, and edits of edits: the chain of rules and places, and what it gives."""
    spec = JOBS[task_key]
    found = {spec.statements: "original"}
    waiting = [spec.statements]
    while waiting and len(found) <= most:
        statements = waiting.pop(0)
        for edit in candidates(statements, contract, schema_of(spec)):
            if edit.statements not in found and len(found) <= most:
                found[edit.statements] = f"{found[statements]} > {edit.rule} at {edit.place}"
                waiting.append(edit.statements)
    return tuple((chain, statements) for statements, chain in found.items())[1:]


def check(spec: JobSpec, contract: Contract, data: st.DataObject, rewrites: Sequence[Stack]) -> None:
    with Bags(spec, data.draw(tables_of(spec.tables, contract))) as bags:
        bags.fill("wanted", spec.statements)
        for chain, statements in rewrites:
            bags.fill("got", statements)
            assert bags.same("wanted", "got"), (chain, statements, bags.rows("wanted"), bags.rows("got"))
            bags.drop("got")


@pytest.mark.parametrize("task_key", JOBS)
def test_every_edit_gives_the_same_bag_under_the_contract(task_key: str) -> None:
    spec = JOBS[task_key]
    rewrites = (*stacks_of(task_key, spec.contract), ("right", spec.right))

    @QUICK
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        check(spec, spec.contract, data, rewrites)

    holds()


@pytest.mark.parametrize("task_key", [key for key, spec in JOBS.items() if spec.contract != NOTHING_DECLARED])
def test_without_a_contract_an_edit_still_gives_the_same_bag_on_any_data(task_key: str) -> None:
    spec = JOBS[task_key]
    rewrites = stacks_of(task_key, NOTHING_DECLARED)

    @QUICK
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        check(spec, NOTHING_DECLARED, data, rewrites)

    if rewrites:
        holds()


@pytest.mark.soak
@pytest.mark.parametrize("contracted", [True, False])
@pytest.mark.parametrize("task_key", JOBS)
def test_edits_hold_over_many_tables(task_key: str, contracted: bool) -> None:
    spec = JOBS[task_key]
    contract = spec.contract if contracted else NOTHING_DECLARED
    rewrites = stacks_of(task_key, contract, 40)

    @LONG
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        try:
            check(spec, contract, data, rewrites)
        except duckdb.ConversionException:
            assert not contracted

    holds()


@pytest.mark.parametrize("spec", PAYING, ids=lambda spec: spec.task_key)
def test_every_paying_job_has_an_edit_and_its_places_are_told_apart(spec: JobSpec) -> None:
    edits = candidates(spec.statements, spec.contract, schema_of(spec))
    assert edits
    assert len({(edit.rule, edit.place) for edit in edits}) == len(edits)
    assert edits == candidates(spec.statements, spec.contract, schema_of(spec))


@pytest.mark.parametrize(
    "task_key",
    ["open_tickets", "shipments_of_week", "orders_unjoined", "running_balance", "distinct_orders", "cleaned_keys",
     "customer_totals", "all_channels", "rated_orders"],
)  # fmt: skip
def test_what_needs_the_contract_is_not_offered_without_it(task_key: str) -> None:
    spec = JOBS[task_key]
    licensed = {edit.rule for edit in candidates(spec.statements, spec.contract, schema_of(spec))}
    free = {edit.rule for edit in candidates(spec.statements, NOTHING_DECLARED, schema_of(spec))}
    assert licensed - free


def rules_for(sql: str, contract: Contract = NOTHING_DECLARED) -> set[str]:
    schema = {"t": {"k": "BIGINT", "d": "TIMESTAMP", "s": "VARCHAR", "v": "DOUBLE", "z": "TIMESTAMP WITH TIME ZONE"}}
    found: tuple[Edit, ...] = candidates((sql,), contract, schema)
    return {edit.rule for edit in found}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT k FROM t WHERE year(z) = 2024",
        "SELECT k FROM t WHERE NOT (year(d) = 2024)",
        "SELECT k FROM t WHERE month(d) = 3",
        "SELECT k FROM t WHERE strptime(s, '%Y-%m-%d') > TIMESTAMP '2024-01-01'",
        "SELECT k FROM t WHERE lower(s) = 'a'",
        "SELECT k FROM t WHERE regexp_matches(s, '^a.b')",
        "SELECT k FROM t WHERE regexp_matches(s, '^ab', 'i')",
        "SELECT k FROM (SELECT k, s, rank() OVER (PARTITION BY k ORDER BY d) AS n FROM t) WHERE n = 1 AND s = 'a'",
        "SELECT list(k) FROM (SELECT k FROM t ORDER BY d)",
        "SELECT k FROM (SELECT k FROM t ORDER BY d) LIMIT 3",
        "SELECT a.k FROM t a LEFT JOIN t b ON a.k = b.k",
        "SELECT k FROM t UNION SELECT k FROM t",
        "SELECT a.k, b.s FROM t a LEFT JOIN t b ON a.k = b.k OR a.s = b.s",
        "SELECT DISTINCT k, sum(v) OVER (PARTITION BY k ORDER BY d) FROM t",
        "SELECT DISTINCT k, s, sum(v) OVER (PARTITION BY k) FROM t",
        "SELECT a.k, a.v FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.k = a.k AND b.v > a.v)",
        "this is no statement",
        "DELETE FROM t WHERE k = 1",
    ],
)
def test_nothing_is_offered_where_a_precondition_fails(sql: str) -> None:
    assert rules_for(sql) == set()
