"""Composing: an intent as SQL in DuckDB's dialect."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.policy.heuristic.intent import Condition, Having, Intent, Item
from services.policy.heuristic.joining import Edge, is_unique_key, join_path, key_of
from services.policy.heuristic.naming import label_columns
from services.policy.heuristic.quoting import literal, name
from services.policy.heuristic.reading import Column, Schema
from services.policy.heuristic.words import identifier_words

_BOUNDS = frozenset((">", "<", ">=", "<=", "between"))


@dataclass(frozen=True, slots=True)
class Statement:
    """A query, and which of its columns hold numbers."""

    sql: str
    numeric: tuple[bool, ...]


def compose(intent: Intent, schema: Schema) -> Statement | None:
    """The intent as one query, or None where its tables cannot be joined."""
    intent = _extreme_inside(_completed(intent, schema))
    if not intent.items or not schema.tables:
        return None
    parts = _split_both(intent) if intent.both else []
    bodies = [_body(part, schema) for part in parts or [intent]]
    if any(body is None for body in bodies):
        return None
    sql = " INTERSECT ".join(body for body in bodies if body is not None)
    return Statement(sql + ("" if parts else _order(intent)), tuple(map(_is_numeric, intent.items)))


def _completed(intent: Intent, schema: Schema) -> Intent:
    """The intent with something to select, and with a group where functions and columns stand side by side."""
    if intent.everything and intent.tables:
        table = intent.tables[0]
        intent = replace(intent, items=tuple(map(Item, table.columns)))
    elif not intent.items or (intent.group and all(item.column in intent.group for item in intent.items)):
        intent = replace(intent, items=(*intent.items, *_default_items(intent, schema)))
    intent = _counting_rows_once(intent, schema)
    grouped = _needs_group(intent)
    if not grouped:
        return replace(intent, group=())
    plain = [item.column for item in intent.items if item.column is not None and not item.function]
    keys = intent.group or tuple(_group_keys(plain, intent, schema))
    return replace(intent, group=tuple(dict.fromkeys((*keys, *plain))))


def _counting_rows_once(intent: Intent, schema: Schema) -> Intent:
    """A lone count of a table's rows, where a join could repeat them, counts its key."""
    if intent.items != (Item(None, "count"),) or intent.group or intent.having or not intent.tables:
        return intent
    key = key_of(intent.tables[0])
    if len(_used(intent)) < 2 or not is_unique_key(key):
        return intent
    return replace(intent, items=(Item(key, "count", True),))


def _extreme_inside(intent: Intent) -> Intent:
    """An aggregate over the rows with the extreme value: a condition instead of an order."""
    if intent.group or intent.limit != 1 or not all(item.function for item in intent.items):
        return intent
    column = intent.order[0][0].column if intent.order else None
    if column is None:
        return replace(intent, order=(), limit=0)
    extreme = Condition(column, "=", (), "max" if intent.order[0][1] else "min")
    return replace(intent, conditions=(*intent.conditions, extreme), order=(), limit=0)


def _needs_group(intent: Intent) -> bool:
    functions = [item for item in intent.items if item.function]
    ordered = any(item.function for item, _ in intent.order)
    plain = len(functions) < len(intent.items)
    return (bool(functions) and (plain or bool(intent.group))) or ordered or bool(intent.having)


def _group_keys(plain: Sequence[Column], intent: Intent, schema: Schema) -> list[Column]:
    """The key of a row that stands for something counted in another table, else just what is shown."""
    if not plain:
        return []
    table = schema.table(plain[0].table)
    others = {other.name for other in intent.tables} | {condition.column.table for condition in intent.conditions}
    if table is None or others <= {table.name} or len({column.table for column in plain}) > 1:
        return []
    words = identifier_words(plain[0].name)
    return [key_of(table)] if "name" in words or "title" in words else []


def _default_items(intent: Intent, schema: Schema) -> list[Item]:
    if intent.group:
        return [Item(None, "count")] if not intent.order and not intent.having else []
    tables = [*intent.tables, *(t for c in intent.conditions if (t := schema.table(c.column.table)) is not None)]
    tables += list(schema.tables)
    return [Item(column) for column in label_columns(tables[0])] if tables else []


def _split_both(intent: Intent) -> list[Intent]:
    """One intent a condition, for two conditions on the same column."""
    columns = [condition.column for condition in intent.conditions]
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    if not twice:
        return []
    rest = tuple(condition for condition in intent.conditions if condition.column != twice[0])
    split = (condition for condition in intent.conditions if condition.column == twice[0])
    return [replace(intent, conditions=(*rest, condition), order=(), limit=0) for condition in split]


def _is_numeric(item: Item) -> bool:
    return item.function in ("count", "sum", "avg") or (item.column is not None and item.column.numeric)


def _used(intent: Intent) -> list[str]:
    """The tables that the query needs, each once."""
    columns = [item.column for item in intent.items]
    columns += [condition.column for condition in intent.conditions if not _is_foreign(condition, intent)]
    columns += [*intent.group, *(item.column for item, _ in intent.order), *(h.item.column for h in intent.having)]
    named = [column.table for column in columns if column is not None]
    return list(dict.fromkeys((*named, *(table.name for table in intent.tables))))


def _body(intent: Intent, schema: Schema) -> str | None:
    used = _used(intent) or [table.name for table in schema.tables[:1]]
    source = _from(schema, used)
    if source is None:
        return None
    distinct = "DISTINCT " if intent.distinct and not intent.group else ""
    sql = f"SELECT {distinct}{', '.join(map(_item, intent.items))} FROM {source}"
    kept = [condition for condition in intent.conditions if not _is_foreign(condition, intent)]
    where = [*_conditions(kept), *_exclusions(intent, schema, used)]
    sql += f" WHERE {' AND '.join(where)}" if where else ""
    sql += f" GROUP BY {', '.join(map(_column, intent.group))}" if intent.group else ""
    return sql + (f" HAVING {' AND '.join(map(_having, intent.having))}" if intent.having else "")


def _from(schema: Schema, used: Sequence[str]) -> str | None:
    path = join_path(schema, used)
    return None if path is None else name(used[0]) + "".join(map(_join, path))


def _join(edge: Edge) -> str:
    left, right = _comparable(edge)
    return f" JOIN {name(edge.right.table)} ON {left} = {right}"


def _comparable(edge: Edge) -> tuple[str, str]:
    """Both sides of the edge, as text where only one holds numbers."""
    left, right = _column(edge.left), _column(edge.right)
    if edge.left.numeric == edge.right.numeric:
        return left, right
    return f"CAST({left} AS VARCHAR)", f"CAST({right} AS VARCHAR)"


def _column(column: Column) -> str:
    return f"{name(column.table)}.{name(column.name)}"


def _item(item: Item) -> str:
    if item.column is None:
        return "count(*)"
    if not item.function:
        return _column(item.column)
    column = _measure(item.column) if item.function in ("avg", "sum") else _column(item.column)
    return f"{item.function}({'DISTINCT ' if item.distinct else ''}{column})"


def _measure(column: Column) -> str:
    """The column as a number, also where numbers are kept as text."""
    return _column(column) if column.numeric else f"TRY_CAST({_column(column)} AS DOUBLE)"


def _having(having: Having) -> str:
    return f"{_item(having.item)} {having.operator} {having.value}"


def _order(intent: Intent) -> str:
    if not intent.order:
        return ""
    keys = ", ".join(_item(item) + (" DESC" if descending else "") for item, descending in intent.order)
    return f" ORDER BY {keys}" + (f" LIMIT {intent.limit}" if intent.limit else "")


def _conditions(conditions: Sequence[Condition]) -> list[str]:
    """One text a column: equalities of the same column are alternatives."""
    merged: dict[tuple[Column, bool], list[Condition]] = {}
    for condition in conditions:
        merged.setdefault((condition.column, condition.operator in _BOUNDS), []).append(condition)
    texts = []
    for group in merged.values():
        joint = " OR " if group[0].operator in ("=", "like") or _apart(group) else " AND "
        inner = joint.join(dict.fromkeys(map(_condition, group)))
        texts.append(f"({inner})" if len(group) > 1 else inner)
    return texts


def _apart(group: Sequence[Condition]) -> bool:
    """Whether no number can meet both bounds: more than 300 or less than 100."""
    low = [float(c.values[0]) for c in group if c.operator in (">", ">=") and c.values and _is_number(c.values[0])]
    high = [float(c.values[0]) for c in group if c.operator in ("<", "<=") and c.values and _is_number(c.values[0])]
    return bool(low and high) and min(low) >= max(high)


def _condition(condition: Condition) -> str:
    column = _column(condition.column)
    if condition.function:
        inner = _item(Item(condition.column, condition.function))
        return f"{column} {condition.operator} (SELECT {inner} FROM {name(condition.column.table)})"
    if condition.operator in _BOUNDS and all(_is_number(value) for value in condition.values):
        column = _measure(condition.column)
        values = list(condition.values)
    else:
        values = [_value(value, condition.column) for value in condition.values]
    match condition.operator:
        case "between":
            return f"{column} BETWEEN {values[0]} AND {values[1]}"
        case "like" | "not like":
            negation = "" if condition.operator == "like" else "NOT "
            return f"CAST({column} AS VARCHAR) {negation}ILIKE {literal(condition.values[0])}"
        case _:
            return f"{column} {condition.operator} {values[0]}"


def _value(value: str, column: Column) -> str:
    return value if column.numeric and _is_number(value) else literal(value)


def _is_number(value: str) -> bool:
    return value.isascii() and value.replace(".", "", 1).isdecimal()


def _exclusions(intent: Intent, schema: Schema, used: Sequence[str]) -> list[str]:
    foreign = [condition for condition in intent.conditions if _is_foreign(condition, intent)]
    if foreign:
        texts = [_exclusion(one.column.table, schema, used, _condition(replace(one, operator="="))) for one in foreign]
    else:
        texts = [_exclusion(table.name, schema, used, "") for table in intent.excluded]
    return [text for text in texts if text]


def _is_foreign(condition: Condition, intent: Intent) -> bool:
    """Whether it denies a value in a table apart from what is selected: no partner may have it."""
    shown = {item.column.table for item in intent.items if item.column is not None}
    shown = shown or {table.name for table in intent.tables[:1]}
    return condition.operator == "!=" and bool(shown) and condition.column.table not in shown


def _exclusion(table: str, schema: Schema, used: Sequence[str], condition: str) -> str:
    """Rows with no partner in the table, or none that meets the condition."""
    path = join_path(schema, (used[0], table)) if condition or table not in used else None
    if not path:
        return ""
    inner = name(path[0].right.table) + "".join(map(_join, path[1:]))
    left, key = _comparable(path[0])
    where = f"{key} IS NOT NULL" + (f" AND {condition}" if condition else "")
    return f"{left} NOT IN (SELECT {key} FROM {inner} WHERE {where})"
