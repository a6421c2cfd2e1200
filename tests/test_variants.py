"""Variants keep every rule of their database, near misses are slips of one place, and replays see one variant each."""

import json
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
import pytest_asyncio
import sqlglot

from cluster.tasksets.keys import keys_of_folder, keys_of_spider
from cluster.tasksets.tables import Table
from services.contracts.errors import BadInput
from services.contracts.keys import ForeignKey, TableKeys
from services.contracts.statements import ResultTable, SqlError
from services.env_actor.taskset import TaskSet, parse_manifest
from services.grader.gold import GoldAnswer
from services.grader.variants.agreement import Expected, agrees
from services.grader.variants.draft import Draft
from services.grader.variants.hints import hints_of
from services.grader.variants.mutants import Mutant, mutants_of
from services.grader.variants.mutations import MIX, MUTATIONS, dice_of, mutated
from services.grader.variants.proofs import proof
from services.grader.variants.relations import Tables, read_tables, write_tables
from services.grader.variants.rules import Rules, broken, mend, rules_of
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

QUERY = (
    "SELECT DISTINCT s.name FROM suppliers s JOIN products p ON p.supplier_id = s.supplier_id "
    "WHERE p.list_price > 50 AND s.rating >= 3 ORDER BY s.name"
)


@pytest.fixture(scope="module")
def shop(builtin: TaskSet) -> Tables:
    return read_tables(builtin.database_path("retail"))


@pytest.fixture(scope="module")
def rules(builtin: TaskSet, shop: Tables) -> Rules:
    return rules_of(shop, builtin.manifest.databases["retail"].keys)


def made(shop: Tables, rules: Rules, mutation: str, seed: int = 0) -> Tables:
    hints = hints_of([sqlglot.parse_one(QUERY, read="duckdb")], shop)
    draft = Draft(shop, shop, rules, hints, dice_of(seed, mutation))
    mutated(draft, mutation)
    mend(draft.tables, rules)
    return draft.tables


@pytest.mark.parametrize("mutation", [*MUTATIONS, MIX])
def test_each_mutation_changes_rows_and_keeps_every_rule(
    shop: Tables, rules: Rules, mutation: str, tmp_path: Path
) -> None:
    tables = made(shop, rules, mutation)
    assert broken(tables, rules) == []
    assert {name: table.columns for name, table in tables.items()} == {n: t.columns for n, t in shop.items()}
    assert any(tables[name].rows != shop[name].rows for name in shop)
    write_tables(tmp_path / "variant.duckdb", tables)  # every value fits its type
    again = read_tables(tmp_path / "variant.duckdb")
    assert {name: len(table.rows) for name, table in again.items()} == {n: len(t.rows) for n, t in tables.items()}


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(shop: Tables, rules: Rules) -> None:
    first, again, other = (made(shop, rules, MIX, seed)["orders"].rows for seed in (1, 1, 2))
    assert first == again != other


def test_a_foreign_key_that_the_database_breaks_is_no_rule_but_the_others_are(rules: Rules) -> None:
    links = {(name, link.table): link.loose for name, rule in rules.items() for link in rule.links}
    assert links["products", "suppliers"]
    assert not links["order_items", "orders"]


def test_text_that_only_one_column_holds_stays_in_its_domain(shop: Tables, rules: Rules) -> None:
    status = shop["orders"].place("status")
    known = set(shop["orders"].values(status))
    assert set(made(shop, rules, "label swap")["orders"].values(status)) == known


def test_near_misses_slip_in_one_place_each(shop: Tables) -> None:
    schema = {name: {column.lower(): kind for column, kind in table.columns} for name, table in shop.items()}
    mutants = mutants_of(sqlglot.parse_one(QUERY, read="duckdb"), schema, QUERY)
    kinds = {mutant.kind for mutant in mutants}
    assert {"DISTINCT dropped", "predicate dropped", "bound moved", "INNER for LEFT, or back", "order turned"} <= kinds
    assert {"ORDER BY missing", "wrong join column", "AND for OR, or back", "wrong column"} <= kinds
    assert len({mutant.sql for mutant in mutants}) == len(mutants)


def _proof(sql: str, mutant: str, kind: str, rules: Rules, shop: Tables) -> str | None:
    return proof(Mutant(kind, mutant), sqlglot.parse_one(sql, read="duckdb"), rules, shop)


def test_an_equivalent_is_one_only_with_a_proof(rules: Rules, shop: Tables) -> None:
    kind = "COUNT(*) for COUNT(col), or back"
    counted = "SELECT COUNT(*) FROM suppliers"
    assert _proof(counted, "SELECT COUNT(supplier_id) FROM suppliers", kind, rules, shop) is not None
    assert _proof(counted, "SELECT COUNT(rating) FROM suppliers", kind, rules, shop) is None
    distinct = "SELECT DISTINCT name, supplier_id FROM suppliers"
    assert _proof(distinct, "SELECT name, supplier_id FROM suppliers", "DISTINCT dropped", rules, shop) is not None
    assert (
        _proof("SELECT DISTINCT name FROM suppliers", "SELECT name FROM suppliers", "DISTINCT dropped", rules, shop)
        is None
    )


def _gold(answer_type: str, answer: object, ordered: bool = False) -> GoldAnswer:
    return GoldAnswer.model_validate(
        {"task_id": "t", "gold_sql": "", "gold_answer": answer, "answer_type": answer_type, "ordered": ordered}
    )


def test_a_list_may_leave_repeats_out_but_not_bring_any() -> None:
    gold, expected = _gold("list", ["a", "b"]), Expected(rows=(("a",), ("a",), ("b",)))
    assert agrees(gold, expected, [["b"], ["a"]])
    assert not agrees(gold, Expected(rows=(("a",), ("b",))), [["a"], ["a"], ["b"]])
    assert agrees(gold, Expected(rows=(("a",), ("b",)), repeats=False), [["a"], ["a"], ["b"]])


def test_tied_rows_may_change_places_and_no_others() -> None:
    gold = _gold("table", [["a", 1], ["b", 1]], ordered=True)
    expected = Expected(rows=(("a", 2), ("b", 2), ("c", 1)), tie_groups=(2, 1))
    assert agrees(gold, expected, [["b", 2], ["a", 2], ["c", 1]])
    assert not agrees(gold, expected, [["a", 2], ["c", 1], ["b", 2]])


@pytest_asyncio.fixture
async def replays(tmp_path: Path) -> AsyncIterator[tuple[SandboxPool, list[Path]]]:
    tmp_path.chmod(0o755)
    paths = [tmp_path / f"v{number}.duckdb" for number in range(3)]
    for number, path in enumerate(paths):
        with duckdb.connect(str(path)) as connection:
            connection.execute(f"CREATE TABLE t AS SELECT {number} AS x")
    async with SandboxPool({"base": paths[0]}, SandboxLimits(children=2)) as pool:
        yield pool, paths


@pytest.mark.parametrize(
    "sql", ["SELECT x FROM t", "SELECT x FROM main.t", "SELECT x FROM db.t", "SELECT db.x FROM t db"]
)
async def test_a_replay_sees_the_variant_that_was_picked(replays: tuple[SandboxPool, list[Path]], sql: str) -> None:
    pool, paths = replays
    outcomes = await pool.replay("variants", paths, sql, [2, 0, 1])
    assert [outcome.rows for outcome in outcomes if isinstance(outcome, ResultTable)] == [[[2]], [[0]], [[1]]]


async def test_a_replay_cannot_name_another_variant(replays: tuple[SandboxPool, list[Path]]) -> None:
    pool, paths = replays
    for sql in ("SELECT * FROM v1.t", "SELECT * FROM duckdb_databases()", f"SELECT * FROM '{paths[1]}'"):
        assert not any(isinstance(o, ResultTable) for o in await pool.replay("variants", paths, sql, [0, 1, 2])), sql
    failed = await pool.replay("variants", paths, "SELECT nothing FROM t", [0])
    assert isinstance(failed[0], SqlError)


def test_keys_are_read_from_a_sqlite_schema() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, code TEXT UNIQUE, name TEXT NOT NULL)")
        connection.execute("CREATE TABLE b (a_id INT REFERENCES a(id), n INT, PRIMARY KEY (a_id, n))")
        tables = [Table("a", (), ()), Table("b", (), ())]
        assert keys_of_spider(connection, tables, None) == (
            TableKeys(table="a", primary_key=("id",), unique=(("code",),), not_null=("name",)),
            TableKeys(
                table="b",
                primary_key=("a_id", "n"),
                foreign_keys=(ForeignKey(columns=("a_id",), table="a", other=("id",)),),
            ),
        )


def test_keys_beside_csv_files_must_name_columns_that_are_there(tmp_path: Path) -> None:
    tables = [Table("orders", (("id", "BIGINT"), ("who", "BIGINT")), ()), Table("people", (("id", "BIGINT"),), ())]
    assert keys_of_folder(tmp_path, tables) is None
    stated = {"orders": {"primary_key": ["id"], "foreign_keys": {"who": "people.id"}}}
    (tmp_path / "keys.json").write_text(json.dumps(stated))
    found = keys_of_folder(tmp_path, tables)
    assert found is not None
    assert found[0].foreign_keys == (ForeignKey(columns=("who",), table="people", other=("id",)),)
    (tmp_path / "keys.json").write_text(json.dumps({"orders": {"primary_key": ["key"]}}))
    with pytest.raises(BadInput, match="no column key in orders"):
        keys_of_folder(tmp_path, tables)


def test_a_task_set_without_keys_or_variants_opens_with_the_hash_that_it_had(builtin: TaskSet) -> None:
    whole = json.loads((builtin.folder / "manifest.json").read_text())
    for entry in whole["databases"].values():
        del entry["keys"]
    del whole["variants"]
    old = parse_manifest(json.dumps(whole), "manifest.json")
    assert old.task_set_hash() == builtin.manifest.task_set_hash()


def test_a_large_table_is_cut_down_to_rows_that_still_join(shop: Tables, rules: Rules) -> None:
    from services.grader.variants.shrink import shrunk

    small = shrunk(shop, rules, {}, random.Random(0), rows=20)
    assert broken(small, rules) == []
    assert 0 < len(small["order_items"].rows) <= 20
    ids = {row[0] for row in small["orders"].rows}
    assert {row[0] for row in small["order_items"].rows} <= ids
