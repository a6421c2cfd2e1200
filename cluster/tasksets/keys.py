"""The keys that a source states of its tables: Spider's tables.json, a SQLite schema, a built-in domain, keys.json."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from cluster.tasksets.builtin.domain import Domain
from cluster.tasksets.tables import Table
from services.contracts.errors import BadInput
from services.contracts.keys import ForeignKey, TableKeys
from services.contracts.record import Record

KEYS_FILE = "keys.json"


class SpiderSchema(Record):
    """One entry of Spider's tables.json; columns by their place in `column_names_original`."""

    model_config = ConfigDict(extra="ignore")
    db_id: str
    table_names_original: tuple[str, ...]
    column_names_original: tuple[tuple[int, str], ...]
    primary_keys: tuple[int | tuple[int, ...], ...]
    foreign_keys: tuple[tuple[int, int], ...]


class CsvKeys(Record):
    """The keys of one table in keys.json; a foreign key is column: "table.column"."""

    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    not_null: tuple[str, ...] = ()
    foreign_keys: dict[str, str] = Field(default_factory=dict)


def spider_schemas(source: Path) -> dict[str, SpiderSchema]:
    """Spider's schemas by database; none without a tables.json. Raises BadInput."""
    path = source / "tables.json"
    if not path.is_file():
        return {}
    try:
        found = TypeAdapter(list[SpiderSchema]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadInput(f"{path} is not Spider's list of schemas: {str(error).splitlines()[0]}") from error
    return {schema.db_id: schema for schema in found}


def keys_of_spider(
    connection: sqlite3.Connection, tables: Iterable[Table], schema: SpiderSchema | None
) -> tuple[TableKeys, ...]:
    """What the SQLite schema states, and what tables.json adds to it."""
    return tuple(_both(_of_sqlite(connection, table.name), _of_spider(table.name, schema)) for table in tables)


def keys_of_domain(domain: Domain) -> tuple[TableKeys, ...]:
    """The keys of a built-in database; its columns without a NULL are never NULL."""
    return tuple(
        TableKeys(
            table=table.name,
            primary_key=table.primary_key,
            not_null=tuple(
                name
                for place, (name, _) in enumerate(table.columns)
                if all(row[place] is not None for row in table.rows)
            ),
            foreign_keys=tuple(
                ForeignKey(columns=(column,), table=other, other=(theirs,))
                for column, other, theirs in table.foreign_keys
            ),
        )
        for table in domain.tables
    )


def keys_of_folder(folder: Path, tables: Sequence[Table]) -> tuple[TableKeys, ...] | None:
    """What keys.json of a folder states of its tables; None without one. Raises BadInput."""
    path = folder / KEYS_FILE
    if not path.is_file():
        return None
    try:
        stated = TypeAdapter(dict[str, CsvKeys]).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name}: {str(error).splitlines()[0]}") from error
    columns = {table.name: {name for name, _ in table.columns} for table in tables}
    return tuple(_of_csv(name, keys, columns) for name, keys in stated.items())


def _of_csv(name: str, keys: CsvKeys, columns: dict[str, set[str]]) -> TableKeys:
    named = {*keys.primary_key, *(c for key in keys.unique for c in key), *keys.not_null, *keys.foreign_keys}
    unknown = sorted(named - columns.get(name, set()))
    if name not in columns or unknown:
        what = f"no column {unknown[0]} in {name}" if name in columns else f"no table {name}"
        raise BadInput(f"{KEYS_FILE}: {what}")
    foreign = []
    for column, target in keys.foreign_keys.items():
        table, _, other = target.rpartition(".")
        if other not in columns.get(table, set()):
            raise BadInput(f"{KEYS_FILE}: {name}.{column} points to {target}, which is no table.column")
        foreign.append(ForeignKey(columns=(column,), table=table, other=(other,)))
    return TableKeys(
        table=name,
        primary_key=keys.primary_key,
        unique=keys.unique,
        not_null=keys.not_null,
        foreign_keys=tuple(foreign),
    )


def _of_sqlite(connection: sqlite3.Connection, name: str) -> TableKeys:
    quoted = '"' + name.replace('"', '""') + '"'
    info = connection.execute(f"PRAGMA table_info({quoted})").fetchall()
    primary = [row[1] for row in sorted(info, key=lambda row: int(row[5])) if row[5]]
    unique = []
    for index in connection.execute(f"PRAGMA index_list({quoted})").fetchall():
        if index[2] and index[3] == "u":
            inside = '"' + str(index[1]).replace('"', '""') + '"'
            unique.append(tuple(str(row[2]) for row in connection.execute(f"PRAGMA index_info({inside})").fetchall()))
    foreign: dict[int, list[tuple[str, str, str | None]]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted})").fetchall():
        foreign.setdefault(int(row[0]), []).append((str(row[2]), str(row[3]), row[4]))
    return TableKeys(
        table=name,
        primary_key=tuple(primary),
        unique=tuple(unique),
        not_null=tuple(str(row[1]) for row in info if row[3]),
        foreign_keys=tuple(
            ForeignKey(columns=tuple(p[1] for p in parts), table=parts[0][0], other=tuple(str(p[2]) for p in parts))
            for parts in foreign.values()
            if all(part[2] is not None for part in parts)
        ),
    )


def _of_spider(name: str, schema: SpiderSchema | None) -> TableKeys:
    if schema is None or name.lower() not in [table.lower() for table in schema.table_names_original]:
        return TableKeys(table=name)
    number = [table.lower() for table in schema.table_names_original].index(name.lower())
    columns = schema.column_names_original
    primary: list[str] = []
    for key in schema.primary_keys:
        places = key if isinstance(key, tuple) else (key,)
        primary += [columns[place][1] for place in places if columns[place][0] == number]
    foreign = tuple(
        ForeignKey(
            columns=(columns[mine][1],),
            table=schema.table_names_original[columns[theirs][0]],
            other=(columns[theirs][1],),
        )
        for mine, theirs in schema.foreign_keys
        if columns[mine][0] == number
    )
    return TableKeys(table=name, primary_key=tuple(primary), foreign_keys=foreign)


def _both(one: TableKeys, other: TableKeys) -> TableKeys:
    """The first's primary key, or the second's; the links of both."""
    known = {tuple(column.lower() for column in key.columns) for key in one.foreign_keys}
    more = tuple(key for key in other.foreign_keys if tuple(column.lower() for column in key.columns) not in known)
    return one.model_copy(
        update={"primary_key": one.primary_key or other.primary_key, "foreign_keys": one.foreign_keys + more}
    )
