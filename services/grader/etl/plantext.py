"""A plan of the engine as text, an operator a line: what it does, its rows and its time, and no name of a file."""

import json
from collections.abc import Iterator
from typing import Any

_LEFT_OUT = frozenset({"Filename(s)", "Total Files Read", "Scanning Files", "File Filters"})
_INFO_CHARACTERS = 300


def plan_lines(plan: str) -> Iterator[str]:
    """The lines of an EXPLAIN or EXPLAIN ANALYZE in JSON."""
    tree = json.loads(plan)
    for root in tree if isinstance(tree, list) else tree.get("children", []):
        yield from _lines(root, 0)


def _lines(node: dict[str, Any], depth: int) -> Iterator[str]:
    name = str(node.get("operator_name") or node.get("name")).strip()
    info = {key: value for key, value in node.get("extra_info", {}).items() if key not in _LEFT_OUT}
    guess = info.pop("Estimated Cardinality", None)
    parts = [f"~{guess} rows expected"] if guess is not None else []
    if "operator_cardinality" in node:
        parts += [f"{node['operator_cardinality']} rows", f"{node['operator_timing']:.4f} s"]
    parts += [f"{key}: {_flat(value)}" for key, value in info.items()]
    if name not in ("EXPLAIN_ANALYZE",):
        yield f"{'  ' * depth}{name}  {'; '.join(parts)}".rstrip()
        depth += 1
    for child in node.get("children", []):
        yield from _lines(child, depth)


def _flat(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(text.split())[:_INFO_CHARACTERS]
