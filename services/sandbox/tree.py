"""Facts about a statement from its syntax tree: what it reads, and what it is called when written another way."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NAMES = frozenset(
    {"table_name", "schema_name", "catalog_name", "function_name", "column_names", "alias", "using_columns"}
)
_COMMUTATIVE = frozenset({"COMPARE_EQUAL", "COMPARE_NOTEQUAL"})
_LIMITS = frozenset({"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"})


@dataclass
class _Reads:
    tables: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    literals: set[str] = field(default_factory=set)
    star: bool = False


def facts_of(node: dict[str, Any], schema: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """The fields of QueryFacts but `volatile`, and `unknown`: names that are neither a table nor a CTE in scope."""
    reads = _Reads()
    _collect(node, frozenset(), schema, reads)
    seen = {
        (table, column) for table in reads.tables for column in schema[table] if reads.star or column in reads.columns
    }
    return {
        "tables": sorted(reads.tables),
        "columns": sorted(seen),
        "tree": _digest(_normal(node, bare=False)),
        "skeleton": _digest(_normal(node, bare=True)),
        "literals": sorted(reads.literals),
        "from_data": _from_data(node),
        "unknown": reads.unknown,
    }


def spell_out_method(node: dict[str, Any]) -> None:
    """Turn a function whose qualifiers are the column that it is called on into one that takes it first."""
    parts = [str(node.pop(part)) for part in ("catalog", "schema") if node.get(part)]
    receiver = {"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": parts}
    node["children"] = [receiver, *node.get("children", ())]
    node.pop("schema", None)


def _collect(node: object, scope: frozenset[str], schema: Mapping[str, frozenset[str]], reads: _Reads) -> None:
    if isinstance(node, list):
        for item in node:
            _collect(item, scope, schema, reads)
    if not isinstance(node, dict):
        return
    scope = _collect_ctes(node, scope, schema, reads)
    if "table_name" in node and node.get("type") == "BASE_TABLE":
        written = str(node["table_name"])
        if _ascii_lower(written) in scope and not node.get("schema_name"):
            pass
        elif written.lower() in schema:
            reads.tables.add(written.lower())
        else:
            reads.unknown.append(written)
    match node.get("class"):
        case "COLUMN_REF":
            reads.columns.update(str(part).lower() for part in node["column_names"])
        case "STAR":
            reads.star = True
        case "CONSTANT":
            _collect_literal(node, reads)
            return
    if "is_null" in node and "class" not in node:  # of the lists of a PIVOT or UNPIVOT
        _collect_literal({"value": node}, reads)
    if node.get("type") == "JOIN":
        reads.columns.update(str(name).lower() for name in node.get("using_columns", ()))
    outside = set(reads.literals) if str(node.get("type")) in _LIMITS else None
    for key, value in node.items():
        inner = scope
        if node.get("type") == "RECURSIVE_CTE_NODE" and key != "left":  # its first branch cannot see the CTE
            inner = scope | {_ascii_lower(str(node["cte_name"]))}
        if key != "cte_map":
            _collect(value, inner, schema, reads)
    if outside is not None:  # tables behind LIMIT are read like any other; its constants are not of interest
        reads.literals = outside


def _collect_ctes(
    node: dict[str, Any], scope: frozenset[str], schema: Mapping[str, frozenset[str]], reads: _Reads
) -> frozenset[str]:
    """Collect from the CTEs of a query node; the names that are in scope for the rest of it."""
    for entry in node.get("cte_map", {}).get("map", ()):
        _collect(entry["value"], scope, schema, reads)
        scope |= {_ascii_lower(str(entry["key"]))}
    return scope


def _ascii_lower(name: str) -> str:
    """The name as the engine compares it: were K (the Kelvin sign) folded to k, a CTE could hide a system view."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _collect_literal(node: dict[str, Any], reads: _Reads) -> None:
    value = node.get("value", {})
    if value.get("is_null"):
        return
    literal = value.get("value")
    scale = value.get("type", {}).get("type_info", {}).get("scale", 0)
    if isinstance(literal, dict) and "upper" in literal:
        literal = (int(literal["upper"]) << 64) + int(literal["lower"])
    if isinstance(literal, int) and not isinstance(literal, bool) and scale:
        literal = literal / 10**scale
    if isinstance(literal, str | int | float):
        reads.literals.add(str(literal))


def _from_data(node: dict[str, Any]) -> bool:
    """Whether every branch of the query has an output that is no constant."""
    match node.get("type"):
        case "SELECT_NODE":
            return any(_mentions_data(item) for item in node.get("select_list", ()))
        case "SET_OPERATION_NODE":
            children = [node[key] for key in ("left", "right") if key in node] + list(node.get("children", ()))
            return all(_from_data(child) for child in children)
        case _:
            return True


def _mentions_data(expression: object) -> bool:
    if isinstance(expression, list):
        return any(map(_mentions_data, expression))
    if not isinstance(expression, dict):
        return False
    kind = expression.get("class")
    if kind in ("COLUMN_REF", "STAR", "SUBQUERY", "WINDOW", "POSITIONAL_REFERENCE"):
        return True
    if kind == "FUNCTION" and expression.get("function_name") == "count_star":
        return True
    return any(map(_mentions_data, expression.values()))


def _normal(node: object, bare: bool) -> Any:
    """The tree with positions dropped, names folded, and operands of AND, OR and = sorted; `bare` is the skeleton."""
    if isinstance(node, list):
        kept = [item for item in node if not (bare and isinstance(item, dict) and str(item.get("type")) in _LIMITS)]
        return [_normal(item, bare) for item in kept]
    if not isinstance(node, dict):
        return node
    if bare and node.get("class") == "CONSTANT":
        return "?"
    normal: dict[str, Any] = {
        key: _folded(value) if key in _NAMES else _normal(value, bare)
        for key, value in node.items()
        if key != "query_location" and not (key == "alias" and (bare or "class" in node))
    }
    if normal.get("class") == "CONJUNCTION":
        normal["children"] = sorted(normal["children"], key=json.dumps)
    if str(normal.get("type")) in _COMMUTATIVE:
        normal["left"], normal["right"] = sorted((normal["left"], normal["right"]), key=json.dumps)
    return normal


def _folded(value: object) -> object:
    if isinstance(value, list):
        return [str(item).lower() for item in value]
    return str(value).lower()


def _digest(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]
