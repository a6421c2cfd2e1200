"""The slips that turn a right query into a near miss. Each gives every tree that one such slip could give."""

from collections.abc import Iterator, Mapping

from sqlglot import exp

from services.grader.variants.editing import changed, conjuncts, disjuncts, owner, sources

Schema = Mapping[str, Mapping[str, str]]
_BOUNDS: dict[type[exp.Expr], type[exp.Binary]] = {exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT}
_AGGREGATES: dict[type[exp.Expr], tuple[type[exp.AggFunc], ...]] = {
    exp.Max: (exp.Min,), exp.Min: (exp.Max,), exp.Sum: (exp.Avg,), exp.Avg: (exp.Sum, exp.Max),
    exp.ArgMax: (exp.ArgMin,), exp.ArgMin: (exp.ArgMax,),
}  # fmt: skip
OTHERS = 3
"""Other columns of a table that may be confused with the right one."""


def without_distinct(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """DISTINCT left out, of rows or inside an aggregate."""

    def plain(node: exp.Distinct) -> exp.Expr | None:
        if isinstance(node.parent, exp.Select):
            node.parent.set("distinct", None)
            return node
        return node.expressions[0].copy() if len(node.expressions) == 1 else None

    yield from changed(tree, exp.Distinct, plain)


def without_predicate(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """One condition of WHERE, HAVING or a join left out."""
    for kind in (exp.Where, exp.Having):
        most = max((len(conjuncts(node.this)) for node in tree.find_all(kind)), default=0)
        for index in range(most):
            yield from changed(tree, kind, lambda node, index=index: _without(node, index))  # type: ignore[misc]


def _without(node: exp.Expr, index: int) -> exp.Expr | None:
    parts = conjuncts(node.this)
    if index >= len(parts):
        return None
    left = [part.copy() for place, part in enumerate(parts) if place != index]
    if left:
        node.set("this", exp.and_(*left))
    else:
        node.pop()
    return node


def other_bound(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """> for >=, < for <=, and back; BETWEEN without its ends."""
    for kind, other in _BOUNDS.items():
        yield from changed(tree, kind, lambda n, other=other: other(this=n.this.copy(), expression=n.expression.copy()))  # type: ignore[misc]

    def open_ends(node: exp.Between) -> exp.Expr:
        low = exp.GT(this=node.this.copy(), expression=node.args["low"].copy())
        return exp.paren(exp.and_(low, exp.LT(this=node.this.copy(), expression=node.args["high"].copy())))

    yield from changed(tree, exp.Between, open_ends)


def other_join(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """INNER for LEFT, LEFT for INNER."""

    def turned(node: exp.Join) -> exp.Expr | None:
        if node.args.get("on") is None and not node.args.get("using"):
            return None
        node.set("side", None if node.side else "LEFT")
        node.set("kind", None)
        return node

    yield from changed(tree, exp.Join, turned)


def other_count(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """COUNT(*) for COUNT(col); COUNT(col) or COUNT(DISTINCT col) for COUNT(*)."""
    yield from changed(tree, exp.Count, lambda n: None if isinstance(n.this, exp.Star) else exp.Count(this=exp.Star()))
    for select in list(tree.find_all(exp.Select))[:1]:
        for alias, table in sources(select).items():
            for column in _some(schema.get(table, {}), exclude=()):
                named = exp.column(column, table=alias, quoted=True)
                yield from changed(tree, exp.Count, lambda n, named=named: _counting(n, named, distinct=False))  # type: ignore[misc]
                yield from changed(tree, exp.Count, lambda n, named=named: _counting(n, named, distinct=True))  # type: ignore[misc]


def _counting(node: exp.Count, column: exp.Column, distinct: bool) -> exp.Expr | None:
    if not isinstance(node.this, exp.Star):
        return None
    return exp.Count(this=exp.Distinct(expressions=[column.copy()]) if distinct else column.copy())


def other_join_column(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """A join on another column of the same type."""

    def slipped(node: exp.Column, turn: int) -> exp.Expr | None:
        if node.find_ancestor(exp.Join) is None or not isinstance(node.parent, exp.EQ):
            return None
        return _sibling(node, schema, turn)

    for turn in range(2):
        yield from changed(tree, exp.Column, lambda n, turn=turn: slipped(n, turn))  # type: ignore[misc]


def without_order(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """ORDER BY left out; a LIMIT stays."""
    yield from changed(tree, exp.Order, lambda n: _popped(n) if isinstance(n.parent, exp.Query) else None)


def without_tie_break(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """The last key of an ORDER BY left out."""

    def shorter(node: exp.Order) -> exp.Expr | None:
        if len(node.expressions) < 2:
            return None
        node.set("expressions", [key.copy() for key in node.expressions[:-1]])
        return node

    yield from changed(tree, exp.Order, shorter)


def other_direction(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """DESC for ASC, and back."""

    def turned(node: exp.Ordered) -> exp.Expr:
        return exp.Ordered(this=node.this.copy(), desc=not node.args.get("desc"), nulls_first=False)

    yield from changed(tree, exp.Ordered, turned)


def other_connective(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """AND for OR, and back; a join's condition aside."""

    def either(node: exp.And) -> exp.Expr | None:
        if node.find_ancestor(exp.Join, exp.Select) is not None and isinstance(
            node.find_ancestor(exp.Join, exp.Select), exp.Join
        ):
            return None
        return exp.paren(exp.or_(*[part.copy() for part in conjuncts(node)]))

    yield from changed(tree, exp.And, either)
    yield from changed(tree, exp.Or, lambda n: exp.paren(exp.and_(*[part.copy() for part in disjuncts(n)])))


def other_aggregate(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """MAX for MIN, SUM for AVG, and back."""
    for kind, others in _AGGREGATES.items():
        for other in others:

            def swapped(node: exp.Expr, other: type[exp.AggFunc] = other) -> exp.Expr:
                copied = {name: value.copy() for name, value in node.args.items() if isinstance(value, exp.Expr)}
                return other(**copied)

            yield from changed(tree, kind, swapped)


def other_level(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """Grouped by one key less, or by what is shown instead of by what identifies it."""
    most = max((len(node.expressions) for node in tree.find_all(exp.Group)), default=0)
    for index in range(most):
        yield from changed(tree, exp.Group, lambda n, index=index: _regrouped(n, index, None))  # type: ignore[misc]
        yield from changed(tree, exp.Group, lambda n, index=index: _regrouped(n, index, _shown_column(n, index)))  # type: ignore[misc]


def _regrouped(node: exp.Group, index: int, instead: exp.Expr | None) -> exp.Expr | None:
    keys = node.expressions
    select = node.parent
    if index >= len(keys) or not isinstance(select, exp.Select):
        return None
    gone = keys[index]
    left = [key.copy() for place, key in enumerate(keys) if place != index] + ([instead.copy()] if instead else [])
    if (instead is None and len(keys) == 1) or (instead is not None and instead == gone):
        return None
    node.set("expressions", left)
    for item in list(select.expressions):  # what is no longer grouped has some value of its group
        if item.unalias() == gone:
            item.replace(exp.alias_(exp.AnyValue(this=gone.copy()), item.alias_or_name or "value"))
    return node


def _shown_column(node: exp.Group, index: int) -> exp.Expr | None:
    select = node.parent
    if not isinstance(select, exp.Select) or index >= len(node.expressions):
        return None
    shown = [item.unalias() for item in select.expressions]
    shown = [item.this if isinstance(item, exp.AnyValue) else item for item in shown]
    return next((s for s in shown if isinstance(s, exp.Column) and s not in node.expressions), None)


def swapped_columns(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """Two neighbouring outputs in the wrong order."""
    if not isinstance(tree, exp.Select):
        return
    for place in range(len(tree.selects) - 1):
        whole = tree.copy()
        items = [item.copy() for item in tree.selects]
        items[place], items[place + 1] = items[place + 1], items[place]
        whole.set("expressions", items)
        yield whole


def other_column(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """Another column of the same table and type, wherever one is shown, compared or aggregated."""
    for turn in range(OTHERS):
        yield from changed(tree, exp.Column, lambda n, turn=turn: _outside_join(n, schema, turn))  # type: ignore[misc]


def _outside_join(node: exp.Column, schema: Schema, turn: int) -> exp.Expr | None:
    return None if isinstance(node.find_ancestor(exp.Join, exp.Select), exp.Join) else _sibling(node, schema, turn)


def other_constant(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """A whole number one too large, where it is compared or counted with."""

    def more(node: exp.Literal) -> exp.Expr | None:
        elsewhere = node.find_ancestor(exp.Limit, exp.Order, exp.Group, exp.DataType, exp.Exists)
        if node.is_string or not node.is_int or elsewhere is not None:
            return None
        return exp.Literal.number(int(node.this) + 1)

    yield from changed(tree, exp.Literal, more)


def other_limit(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """One row too many."""

    def more(node: exp.Limit) -> exp.Expr | None:
        value = node.expression
        return exp.Limit(expression=exp.Literal.number(int(value.this) + 1)) if isinstance(value, exp.Literal) else None

    yield from changed(tree, exp.Limit, more)


def other_set_operation(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """UNION for INTERSECT and the like; UNION ALL for UNION; EXCEPT without what is taken away."""
    for kind, others in (
        (exp.Intersect, (exp.Union, exp.Except)),
        (exp.Union, (exp.Intersect,)),
        (exp.Except, (exp.Intersect,)),
    ):
        for other in others:
            yield from changed(
                tree,
                kind,
                lambda n, o=other: o(this=n.this.copy(), expression=n.expression.copy(), distinct=True),  # type: ignore[misc]
            )
    yield from changed(tree, exp.Except, lambda n: n.this.copy())
    yield from changed(tree, exp.Union, _union_all)


def _union_all(node: exp.Union) -> exp.Expr | None:
    if not node.args.get("distinct"):
        return None
    node.set("distinct", False)
    return node


def other_pattern(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """A pattern that lets more or less stand before or after."""
    for kind in (exp.Like, exp.ILike):
        for end in (True, False):
            yield from changed(tree, kind, lambda n, end=end: _repatterned(n, end))  # type: ignore[misc]


def _repatterned(node: exp.Binary, end: bool) -> exp.Expr | None:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal) or not pattern.is_string:
        return None
    text = str(pattern.this)
    if end:
        text = text[:-1] if text.endswith("%") else text + "%"
    else:
        text = text[1:] if text.startswith("%") else "%" + text
    pattern.replace(exp.Literal.string(text))
    return node


def without_join(tree: exp.Expr, schema: Schema) -> Iterator[exp.Expr]:
    """A join left out whose columns nobody else asks for."""

    def dropped(node: exp.Join) -> exp.Expr | None:
        select = node.parent
        if not isinstance(node.this, exp.Table) or select is None:
            return None
        alias = node.this.alias_or_name.lower()
        outside = [c for c in select.find_all(exp.Column) if c.table.lower() == alias and node not in _above(c)]
        return None if outside else _popped(node)

    yield from changed(tree, exp.Join, dropped)


def _above(node: exp.Expr) -> list[exp.Expr]:
    found, parent = [], node.parent
    while parent is not None:
        found.append(parent)
        parent = parent.parent
    return found


def _popped(node: exp.Expr) -> exp.Expr:
    node.pop()
    return node


def _sibling(node: exp.Column, schema: Schema, turn: int) -> exp.Expr | None:
    """The column's neighbour of the same type, so many places on."""
    found = owner(node, {table: dict(columns) for table, columns in schema.items()})
    if found is None:
        return None
    columns = schema[found[1]]
    kind = columns.get(node.name.lower())
    others = [name for name, other in columns.items() if other == kind and name != node.name.lower()]
    if kind is None or turn >= len(others):
        return None
    return exp.column(others[turn], table=node.table or None, quoted=True)


def _some(columns: Mapping[str, str], exclude: tuple[str, ...]) -> list[str]:
    return [name for name in columns if name not in exclude][:OTHERS]
