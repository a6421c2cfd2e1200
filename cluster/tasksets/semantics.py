"""What SQLite does with values where DuckDB does otherwise, written out as SQL.

SQLite compares by the affinity of columns (sqlite.org/datatype3.html §3–4): a number is less than any text; a column of
text makes a literal text; a numeric column makes text a number if it looks like one. Aggregates read a number from the
start of a text. A column that holds numbers and text is VARCHAR in DuckDB, its numbers written as text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp

NUMERIC_KINDS = ("BIGINT", "DOUBLE")
_NUMBER_START = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


@dataclass(frozen=True)
class ColumnKind:
    """A column as DuckDB has it (BIGINT, DOUBLE, VARCHAR, BLOB) and its affinity in SQLite (numeric, text, none)."""

    kind: str
    affinity: str


Columns = Mapping[str, Mapping[str, ColumnKind]]
"""Tables, each with its columns; all names in lower case."""

Change = Callable[[exp.Expr, Columns], exp.Expr]


def kind_of(node: exp.Expr | None, columns: Columns) -> ColumnKind | None:
    """What is known of a column or a literal."""
    match node:
        case exp.Paren() | exp.AnyValue():
            return kind_of(node.this, columns)
        case exp.Column():
            return _column(node, columns)
        case exp.Literal():
            return ColumnKind("VARCHAR" if node.is_string else "DOUBLE" if "." in node.name else "BIGINT", "none")
        case exp.Neg():
            return kind_of(node.this, columns)
        case exp.Count():
            return ColumnKind("BIGINT", "none")
        case exp.Avg():
            return ColumnKind("DOUBLE", "none")
        case exp.Sum() | exp.Min() | exp.Max():
            inner = kind_of(node.this, columns)
            return ColumnKind(inner.kind, "none") if inner is not None and inner.kind in NUMERIC_KINDS else None
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            return _arithmetic(node, columns)
        case _:
            return None


def _arithmetic(node: exp.Binary, columns: Columns) -> ColumnKind | None:
    sides = [kind_of(node.this, columns), kind_of(node.expression, columns)]
    kinds = {side.kind for side in sides if side is not None}
    if None in sides or not kinds <= set(NUMERIC_KINDS):
        return None
    return ColumnKind("BIGINT" if kinds == {"BIGINT"} else "DOUBLE", "none")


def _column(node: exp.Column, columns: Columns) -> ColumnKind | None:
    """The column of the nearest query around that has it."""
    select = node.find_ancestor(exp.Select)
    while select is not None:
        for source in select.find_all(exp.Table):
            names = {source.alias_or_name.lower(), source.name.lower()}
            if source.find_ancestor(exp.Select) is select and (not node.table or node.table.lower() in names):
                found = columns.get(source.name.lower(), {}).get(node.name.lower())
                if found is not None:
                    return found
        select = select.find_ancestor(exp.Select)
    return None


def comparisons(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """Comparisons between a text and a number, as SQLite decides them."""
    for node in list(tree.find_all(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)):
        _compare(node, columns)
    for between in list(tree.find_all(exp.Between)):
        kinds = {getattr(kind_of(between.args[part], columns), "kind", None) for part in ("this", "low", "high")}
        if "VARCHAR" in kinds and kinds & set(NUMERIC_KINDS):
            low = exp.GTE(this=between.this.copy(), expression=between.args["low"].copy())
            high = exp.LTE(this=between.this.copy(), expression=between.args["high"].copy())
            both = exp.Paren(this=exp.And(this=low, expression=high))
            between.replace(both)
            for side in (low, high):
                _compare(side, columns)
    for within in list(tree.find_all(exp.In)):
        _within(within, columns)
    return tree


def _compare(node: exp.Binary, columns: Columns) -> None:
    sides = (node.this, node.expression)
    kinds = [_side_kind(side, columns) for side in sides]
    if kinds[0] is None or kinds[1] is None or (kinds[0].kind == "VARCHAR") == (kinds[1].kind == "VARCHAR"):
        return
    text = 0 if kinds[0].kind == "VARCHAR" else 1
    known, other = kinds[text], kinds[1 - text]
    if known is None or other is None:
        return
    if known.affinity == "text" and other.affinity == "none":
        sides[1 - text].replace(_cast(sides[1 - text], "VARCHAR"))
        return
    number = _number(sides[text])
    if isinstance(node, exp.EQ):
        sides[text].replace(number)
    elif isinstance(node, exp.NEQ) or _text_is_the_larger(node, text):
        whole = node.copy()
        (whole.this if text == 0 else whole.expression).replace(number.copy())
        node.replace(exp.paren(exp.or_(whole, _is_text(sides[text]))))
    else:
        sides[text].replace(number)


def _side_kind(side: exp.Expr, columns: Columns) -> ColumnKind | None:
    if isinstance(side, exp.Subquery) and isinstance(side.this, exp.Select) and len(side.this.selects) == 1:
        return kind_of(side.this.selects[0].unalias(), columns)
    return kind_of(side, columns)


def _text_is_the_larger(node: exp.Expr, text: int) -> bool:
    """Whether the comparison holds when the text side is above every number."""
    return isinstance(node, (exp.GT, exp.GTE) if text == 0 else (exp.LT, exp.LTE))


def _within(node: exp.In, columns: Columns) -> None:
    """IN compares as = does; text and number meet as numbers, or as text where the column is text."""
    query = node.args.get("query")
    mine = kind_of(node.this, columns)
    if mine is None:
        return
    if query is not None and isinstance(query.this, exp.Select) and len(query.this.selects) == 1:
        item = query.this.selects[0]
        theirs = kind_of(item.unalias(), columns)
        if theirs is None or (mine.kind == "VARCHAR") == (theirs.kind == "VARCHAR"):
            return
        side = node.this if mine.kind == "VARCHAR" else item.unalias()
        side.replace(_number(side))
        return
    for value in node.expressions:
        theirs = kind_of(value, columns)
        if theirs is not None and (mine.kind == "VARCHAR") != (theirs.kind == "VARCHAR"):
            if mine.affinity == "text":
                value.replace(_cast(value, "VARCHAR"))
            elif mine.kind == "VARCHAR":
                node.set("this", _number(node.this))
                return


def aggregates(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """SUM and AVG of text read the number that it starts with, or 0; MIN and MAX put numbers before text."""
    for node in list(tree.find_all(exp.Sum, exp.Avg)):
        if getattr(kind_of(node.this, columns), "kind", None) == "VARCHAR":
            node.this.replace(_leading_number(node.this))
    for node in list(tree.find_all(exp.Min, exp.Max)):
        kind = kind_of(node.this, columns)
        if kind is not None and kind.kind == "VARCHAR" and kind.affinity != "text":
            node.replace(_extreme(node))
    for sum_ in list(tree.find_all(exp.Add, exp.Sub, exp.Mul, exp.Div)):
        for side in (sum_.this, sum_.expression):
            if getattr(kind_of(side, columns), "kind", None) == "VARCHAR":
                side.replace(_leading_number(side))
    return tree


def _extreme(node: exp.Expr) -> exp.Expr:
    """Numbers as numbers, then texts as texts; the result is text, since it may be either."""
    number = _number(node.this)
    texts = exp.case().when(exp.Is(this=number.copy(), expression=exp.null()), node.this.copy())
    of_numbers = _cast(exp.ArgMin(this=node.this.copy(), expression=number), "VARCHAR")
    of_texts: exp.Expr = exp.Min(this=texts)
    if isinstance(node, exp.Max):
        of_numbers = _cast(exp.ArgMax(this=node.this.copy(), expression=number.copy()), "VARCHAR")
        return exp.func("COALESCE", exp.Max(this=texts), of_numbers)
    return exp.func("COALESCE", of_numbers, of_texts)


def orders(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """ORDER BY a column of numbers and text: NULL, then numbers by value, then text."""
    for order in list(tree.find_all(exp.Order)):
        spread: list[exp.Expr] = []
        for item in order.expressions:
            kind = kind_of(item.this, columns)
            if kind is None or kind.kind != "VARCHAR" or kind.affinity == "text":
                spread.append(item)
                continue
            present = exp.not_(exp.Is(this=item.this.copy(), expression=exp.null()))
            keys = (present, _is_text(item.this), _number(item.this), item.this.copy())
            desc = item.args.get("desc")
            spread += [exp.Ordered(this=key, desc=desc, nulls_first=not desc) for key in keys]
        order.set("expressions", spread)
    return tree


def divisions(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """7 / 2 is 3 between whole numbers, and NULL where the divisor is 0."""
    for node in list(tree.find_all(exp.Div)):
        kind = _arithmetic(node, columns)
        if kind is not None and kind.kind == "BIGINT":
            node.replace(exp.IntDiv(this=node.this.copy(), expression=node.expression.copy()))
    return tree


def likes(tree: exp.Expr, columns: Columns) -> exp.Expr:
    """LIKE takes letters of either case, and numbers as text."""
    for node in list(tree.find_all(exp.Like)):
        kind = kind_of(node.this, columns)
        side = _cast(node.this, "VARCHAR") if kind is not None and kind.kind != "VARCHAR" else node.this.copy()
        node.replace(exp.ILike(this=side, expression=node.expression.copy(), negate=node.args.get("negate")))
    return tree


def _number(node: exp.Expr) -> exp.Expr:
    return exp.TryCast(this=node.copy(), to=exp.DataType.build("DOUBLE"))


def _is_text(node: exp.Expr) -> exp.Expr:
    """Neither NULL nor a number."""
    not_a_number = exp.Is(this=_number(node), expression=exp.null())
    return exp.and_(not_a_number, exp.not_(exp.Is(this=node.copy(), expression=exp.null())))


def _leading_number(node: exp.Expr) -> exp.Expr:
    start = exp.func("REGEXP_EXTRACT", node.copy(), exp.Literal.string(_NUMBER_START))
    number = exp.func("COALESCE", exp.TryCast(this=start, to=exp.DataType.build("DOUBLE")), exp.Literal.number(0))
    return exp.case().when(exp.not_(exp.Is(this=node.copy(), expression=exp.null())), number)


def _cast(node: exp.Expr, kind: str) -> exp.Expr:
    return exp.Cast(this=node.copy(), to=exp.DataType.build(kind))
