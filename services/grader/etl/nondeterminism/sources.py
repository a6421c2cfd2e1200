"""The FROM of a SELECT: which rows its sources bring, and which columns fix which among them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from services.grader.etl.nondeterminism.expressions import Expressions
from services.grader.etl.nondeterminism.facts import Facts, Finding, Relation, hardened
from services.grader.etl.nondeterminism.frames import Frame, NotUnderstood
from services.grader.etl.nondeterminism.functions import name_of
from services.grader.etl.nondeterminism.narrowing import narrow
from services.grader.etl.nondeterminism.spaces import Space, Term, Terms

ReadSource = Callable[[exp.Expr, Frame], Relation]
NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "DECIM",
)


@dataclass(frozen=True)
class Joined:
    """One source of a FROM after the first."""

    alias: str
    side: str
    kind: str
    method: str
    on: exp.Expr | None
    outer: Terms = frozenset()
    """Columns of the sources before it that a LATERAL source reads."""

    @property
    def filters(self) -> bool:
        """Whether what ON says holds for every row of the result."""
        return self.side == "" and self.kind in ("", "INNER", "CROSS") and self.method != "ASOF"


def conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    """The parts of a condition that all have to hold."""
    if isinstance(node, exp.And):
        yield from conjuncts(node.this)
        yield from conjuncts(node.expression)
    elif isinstance(node, exp.Paren):
        yield from conjuncts(node.this)
    elif node is not None:
        yield node


class Sources:
    """Reads the FROM and WHERE of a SELECT into its frame."""

    def __init__(self, expressions: Expressions, read: ReadSource) -> None:
        self._expressions = expressions
        self._read = read

    def fill(self, select: exp.Select, frame: Frame) -> None:
        """Fill a frame's sources, space and row findings. Raises NotUnderstood."""
        joins = [_narrowed(joined, frame) for joined in self._sources(select, frame)]
        where = select.args.get("where")
        filters = list(conjuncts(where.this if where is not None else None))
        for joined in joins:
            if joined.filters:
                filters.extend(conjuncts(joined.on))
        for joined in joins:
            _merge(frame, joined)
        rest = narrow(frame, filters)
        for relation in frame.sources.values():
            frame.rows |= relation.rows
        for joined in joins:
            if not joined.filters and joined.on is not None:
                frame.rows |= self._expressions.decided(joined.on, frame, "a join")
        self._connect(frame, joins, filters)
        frame.conditions.extend([*rest, *(joined.on for joined in joins if joined.on and not joined.filters)])
        for condition in rest:
            frame.rows |= self._expressions.decided(condition, frame, "a filter or join")

    def _sources(self, select: exp.Select, frame: Frame) -> Iterator[Joined]:
        start = select.args.get("from_")
        if start is None:
            return
        self._add(start.this, frame)
        pending = [*(start.this.args.get("joins") or ()), *(select.args.get("joins") or ())]
        laterals = [exp.Join(this=lateral) for lateral in select.args.get("laterals") or ()]
        for join in [*pending, *laterals]:
            joined = self._joined(join, frame)
            if joined is not None:
                yield joined

    def _joined(self, join: exp.Join, frame: Frame) -> Joined | None:
        said = {part: str(join.args.get(part) or "").upper() for part in ("side", "kind", "method")}
        if said["method"] not in ("", "ASOF", "NATURAL") or (said["method"] == "NATURAL" and not join.args.get("on")):
            raise NotUnderstood(f"a {said['method']} join is not understood")
        on = join.args.get("on")
        if said["kind"] in ("SEMI", "ANTI") or said["side"] in ("SEMI", "ANTI"):
            inner = Frame(frame.tables, frame)
            relation = inner.sources[self._add(join.this, inner)]
            frame.rows |= hardened(relation.rows, "a join")
            if on is not None:
                frame.conditions.append(on)
                frame.rows |= self._expressions.decided(on, inner, "a join")
            return None
        outer = frame.used(join.this)
        alias = self._add(join.this, frame)
        return Joined(alias, said["side"], said["kind"], said["method"], on, outer)

    def _add(self, node: exp.Expr, frame: Frame) -> str:
        alias = node.alias_or_name
        if alias in frame.sources:
            raise NotUnderstood(f"two sources are called {alias}")
        relation = self._read(node, frame)
        sample = node.args.get("sample")
        if sample is not None:
            reason = "a sample of the rows; with threads not even a seed settles which"
            relation = replace(relation, rows=relation.rows | {Finding("D", reason, "sample")})
        names = node.args.get("alias")
        columns = [column.name.lower() for column in names.args.get("columns") or ()] if names is not None else []
        frame.sources[alias] = relation.renamed(columns)
        return alias

    def _connect(self, frame: Frame, joins: list[Joined], filters: list[exp.Expr]) -> None:
        """Build the space of a frame from its sources' keys, its joins and what its filters equate."""
        optional = _optional(list(frame.sources), joins)
        full = any(joined.side == "FULL" for joined in joins)
        outer = {joined.alias: joined.outer for joined in joins}
        for alias, relation in frame.sources.items():
            _enter(frame.space, alias, relation, alias in optional, keyed=not full)
            if outer.get(alias):
                _relate(frame.space, alias, outer[alias])
        for condition in filters:
            frame.space.dependencies.extend(
                (some, others) for some, others in _equated(condition, frame) if some or not optional
            )
        for joined in joins:
            self._determine(frame, joined)
        for alias in optional:
            columns = frame.sources[alias].columns
            absent = {name: replace(facts, present=False) for name, facts in columns.items()}
            frame.sources[alias] = replace(frame.sources[alias], columns=absent)

    def _determine(self, frame: Frame, joined: Joined) -> None:
        """A LEFT or ASOF join to at most one row: what ON reads of the left fixes the right."""
        if joined.on is None or joined.side in ("RIGHT", "FULL") or self._expressions.facts(joined.on, frame).findings:
            self._untie(frame, joined)
            return
        mine = Space()
        relation = frame.sources[joined.alias]
        _enter(mine, joined.alias, relation, optional=False, keyed=True)
        parts = list(conjuncts(joined.on))
        fixed = [term for part in parts for term in _matched(part, joined, frame)]
        left = frame.used(joined.on) - mine.whole[0]
        if mine.named(fixed):
            frame.space.dependencies.append((left, mine.whole[0]))
        else:
            self._untie(frame, joined)

    def _untie(self, frame: Frame, joined: Joined) -> None:
        """An ASOF join takes one of the nearest rows: without a key among what it compares, any of them."""
        if joined.method == "ASOF":
            finding = Finding("B", "an ASOF join takes any of the rows tied as nearest", "asof")
            relation = frame.sources[joined.alias]
            columns = {name: facts.adding([finding]) for name, facts in relation.columns.items()}
            frame.sources[joined.alias] = replace(relation, columns=columns)


def _narrowed(joined: Joined, frame: Frame) -> Joined:
    """A LEFT join whose ON picks from its right side by number: that is a filter of the right side."""
    if joined.side != "LEFT" or joined.on is None:
        return joined
    rest = narrow(frame, conjuncts(joined.on), {joined.alias})
    return replace(joined, on=exp.and_(*rest, copy=True) if rest else None)


def _merge(frame: Frame, joined: Joined) -> None:
    """Note what COALESCE over the equal columns of an inner or left join comes to."""
    if joined.side not in ("", "LEFT"):
        return
    for part in conjuncts(joined.on):
        if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Column):
            both = exp.Coalesce(this=part.this.copy(), expressions=[part.expression.copy()])
            frame.merged[both.sql("duckdb")] = part.this


def _relate(space: Space, alias: str, outer: Terms) -> None:
    """What holds among the rows of a LATERAL source holds for each row of the sources before it only."""
    space.dependencies[:] = [
        (some | outer, others) if any(owner == alias for owner, _ in others) else (some, others)
        for some, others in space.dependencies
    ]


def _optional(aliases: list[str], joins: list[Joined]) -> set[str]:
    """The sources whose columns a join may fill with NULL."""
    found: set[str] = set()
    for joined in joins:
        before = aliases[: aliases.index(joined.alias)]
        if joined.side in ("LEFT", "FULL"):
            found.add(joined.alias)
        if joined.side in ("RIGHT", "FULL"):
            found.update(before)
    return found


def _enter(space: Space, alias: str, relation: Relation, optional: bool, keyed: bool) -> None:
    """Add a source. What holds among its rows holds among padded ones too if it hangs on a column never NULL."""
    whole = frozenset((alias, name) for name in relation.columns)
    known = [(key, frozenset(relation.columns)) for key in relation.keys]
    for some, others in [*known, *relation.dependencies]:
        if not optional or any(relation.columns[name].present for name in some):
            space.dependencies.append((_terms(alias, some), _terms(alias, others)))
    space.keys.append(tuple(sorted((_terms(alias, key) for key in relation.keys), key=sorted)) if keyed else ())
    space.whole.append(whole)


def _terms(alias: str, names: frozenset[str]) -> Terms:
    return frozenset((alias, name) for name in names)


def _equated(node: exp.Expr, frame: Frame) -> Iterator[tuple[Terms, Terms]]:
    """What an equality fixes: each column by the other, or a column by a constant."""
    if not isinstance(node, exp.EQ):
        return
    for mine, other in ((node.this, node.expression), (node.expression, node.this)):
        term = _comparable(mine, other, frame)
        if term is not None:
            yield frame.used(other), frozenset([term])


def _matched(node: exp.Expr, joined: Joined, frame: Frame) -> Iterator[Term]:
    """The columns of a joined source that a part of ON fixes, once the other side's row is known."""
    nearest = exp.GTE | exp.GT | exp.LTE | exp.LT
    if not isinstance(node, exp.EQ) and not (joined.method == "ASOF" and isinstance(node, nearest)):
        return
    for mine, other in ((node.this, node.expression), (node.expression, node.this)):
        term = _comparable(mine, other, frame)
        if (
            term is not None
            and term[0] == joined.alias
            and all(alias != joined.alias for alias, _ in frame.used(other))
        ):
            yield term


def _comparable(mine: exp.Expr, other: exp.Expr, frame: Frame) -> Term | None:
    """The column of an equality that leaves no room for two of its values to equal one of the other side's."""
    term = frame.term(mine) if isinstance(mine, exp.Column) else None
    if term is None:
        return None
    facts = frame.sources[term[0]].columns[term[1]]
    if facts.floating or not facts.type:
        return None
    return term if _same_family(facts, other, frame) else None


def _same_family(facts: Facts, other: exp.Expr, frame: Frame) -> bool:
    family = _family(facts.type)
    if isinstance(other, exp.Column):
        theirs = frame.facts(other)
        return not theirs.floating and _family(theirs.type) == family
    if isinstance(other, exp.Literal):
        return other.is_string or family == "number"
    if isinstance(other, exp.Cast) and isinstance(other.this, exp.Literal):
        return family in ("DATE", "TIMESTAMP") and _family(other.to.sql("duckdb").upper()) in ("DATE", "TIMESTAMP")
    return False


def _family(type_text: str) -> str:
    """Types whose values compare without loss."""
    upper = type_text.upper()
    return "number" if upper.startswith((*NUMBERS, "INT")) and not upper.startswith("INTERVAL") else upper


def table_function(node: exp.Expr, frame: Frame, expressions: Expressions) -> Relation:
    """The rows of range(), generate_series() and unnest(). Raises NotUnderstood for other functions."""
    if not isinstance(node, exp.GenerateSeries | exp.Unnest | exp.Explode):
        raise NotUnderstood(f"the table function {name_of(node)}() is not understood")
    parts = [expressions.facts(part, frame) for part in node.iter_expressions() if not isinstance(part, exp.TableAlias)]
    found = frozenset(finding for facts in parts for finding in facts.findings)
    series = isinstance(node, exp.GenerateSeries)
    name = "range" if series and node.args.get("is_end_exclusive") else "generate_series" if series else "unnest"
    column = Facts(found, floating=not series, derived=True)
    return Relation({name: column}, hardened(found, name), frozenset([frozenset([name])]) if series else frozenset())
