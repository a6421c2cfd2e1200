"""What the tests of the structured tier share: a small hostile database, and walks over everything that is legal."""

from collections.abc import Iterator
from itertools import chain

import duckdb
from hypothesis import strategies as st

from services.policy.heuristic.reading import Column, Schema, Table, is_numeric
from services.policy.tier.frames import State
from services.policy.tier.operations import (
    COMPARISONS,
    FUNCTIONS,
    MEMBERSHIPS,
    SET_OPERATORS,
    Close,
    Combine,
    Comparison,
    Distinct,
    Filter,
    Group,
    Having,
    Item,
    Join,
    Limit,
    Match,
    Nest,
    Operation,
    Order,
    Project,
    Ref,
    Scalar,
    Scan,
    Submit,
)
from services.policy.tier.state import after, is_legal

SCRIPT = """
CREATE TABLE singer (singer_id BIGINT, name VARCHAR, country VARCHAR, age BIGINT, born DATE);
INSERT INTO singer VALUES
  (1, 'Joe Sharp', 'Netherlands', 52, '1970-02-01'), (2, 'Timbaland', 'United States', 32, NULL),
  (3, 'O''Brien', 'France', 29, '1990-01-01'), (4, NULL, 'France', NULL, '1981-05-05');
CREATE TABLE "con""cert" ("select" BIGINT, "from; DROP" VARCHAR, price DOUBLE, sold BOOLEAN);
INSERT INTO "con""cert" VALUES (1, '12', 3.5, true), (2, 'x', NULL, false), (3, '-- gone', 9.0, NULL);
CREATE TABLE singing (singer_id VARCHAR, "select" BIGINT);
INSERT INTO singing VALUES ('1', 1), ('2', 1), ('3', 2), ('none', 3), (NULL, NULL);
"""
VALUES: tuple[Scalar, ...] = (
    1,
    -2,
    2.5,
    "France",
    "",
    "O'Brien",
    "%",
    "'; DROP TABLE singer; --",
    "a\\' OR 1=1 --",
    "\n\0\r",
)


def database() -> duckdb.DuckDBPyConnection:
    """The database in memory."""
    connection = duckdb.connect()
    connection.execute(SCRIPT)
    return connection


def schema_of(connection: duckdb.DuckDBPyConnection) -> Schema:
    """Its schema, as DESCRIBE would tell it."""
    return Schema(tuple(_tables(connection)))


def _tables(connection: duckdb.DuckDBPyConnection) -> Iterator[Table]:
    names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY table_oid").fetchall()
    for (name,) in names:
        relation = connection.sql('FROM "' + name.replace('"', '""') + '"')
        columns = zip(relation.columns, map(str, relation.types), strict=True)
        yield Table(name, 4, tuple(Column(name, c, is_numeric(k), i, k) for i, (c, k) in enumerate(columns)))


@st.composite
def walks(draw: st.DrawFn, schema: Schema) -> tuple[Operation, ...]:
    """A legal sequence of operations that ends with a submission."""
    state, taken = State(), []
    for _ in range(draw(st.integers(1, 14))):
        operation = draw(operations(state, schema))
        wide = isinstance(operation, Scan | Join) and len(state.frame.sources) > 2
        if not wide and is_legal(state, operation, schema):
            taken.append(operation)
            state = after(state, operation)
    for operation in _ending(state, schema):
        taken.append(operation)
        state = after(state, operation)
        assert state.over or state.frame.sources
    return tuple(taken)


def _ending(state: State, schema: Schema) -> Iterator[Operation]:
    """What closes everything that is open: nothing that is legal may lead to a dead end."""
    while not state.over:
        shown = (Project(Item(ref, function)) for function in FUNCTIONS for ref in refs(state, schema))
        options: Iterator[Operation] = chain((Submit(), Close(), Scan(schema.tables[0].name)), shown)
        chosen = next((one for one in options if is_legal(state, one, schema)), None)
        assert chosen is not None, state
        yield chosen
        state = after(state, chosen)


def refs(state: State, schema: Schema) -> list[Ref]:
    """Every column of the frame's sources."""
    tables = [schema.table(source.table) for source in state.frame.sources]
    return [Ref(i, c.name) for i, table in enumerate(tables) if table is not None for c in table.columns]


def operations(state: State, schema: Schema) -> st.SearchStrategy[Operation]:
    """Any operation over what the frame has; not all are legal."""
    known = refs(state, schema)
    scans = st.builds(Scan, st.sampled_from([table.name for table in schema.tables]))
    if not known:
        return scans
    ref = st.sampled_from(known)
    item = st.builds(Item, ref, st.sampled_from(FUNCTIONS), st.booleans()) | st.just(Item(None, "count"))
    inner = st.sampled_from([(table.name, column.name) for table in schema.tables for column in table.columns])
    member = st.sampled_from(MEMBERSHIPS)
    return st.one_of(
        scans,
        st.builds(lambda left, to, outer: Join(left, *to, outer), ref, inner, st.booleans()),
        st.builds(lambda left, test, either: Filter(left, *test, either), ref, tests(), st.booleans()),
        st.builds(Match, ref, member.filter(lambda operator: "in" not in operator), ref, st.booleans()),
        st.builds(Nest, item, member, st.booleans()),
        st.just(Close()),
        st.builds(Group, ref),
        st.builds(lambda one, test, either: Having(one, *test, either), item, tests(), st.booleans()),
        st.builds(Project, item),
        st.builds(Project, item, st.sampled_from(["+", "-", "*", "/"]), item),
        st.just(Distinct()),
        st.builds(Order, item, st.booleans()),
        st.builds(Limit, st.integers(1, 3)),
        st.builds(Combine, st.sampled_from(SET_OPERATORS)),
    )


def tests() -> st.SearchStrategy[tuple[Comparison, tuple[Scalar, ...]]]:
    """A comparison and as many values as it takes."""
    value = st.sampled_from(VALUES) | st.text(max_size=4)
    arity = {"between": 2, "is null": 0, "is not null": 0}
    return st.sampled_from(COMPARISONS).flatmap(
        lambda operator: st.tuples(
            st.just(operator),
            st.lists(value, min_size=arity.get(operator, 1), max_size=arity.get(operator, 1)).map(tuple),
        )
    )
