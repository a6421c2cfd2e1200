"""One SELECT: from its sources to the relation that it gives."""

from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp

from services.grader.etl.nondeterminism.expressions import Expressions
from services.grader.etl.nondeterminism.facts import NONE, Facts, Finding, Findings, Pick, Relation, hardened
from services.grader.etl.nondeterminism.frames import Frame, has_aggregate
from services.grader.etl.nondeterminism.narrowing import carried, first_only
from services.grader.etl.nondeterminism.sources import Sources, conjuncts
from services.grader.etl.nondeterminism.spaces import Space, Term, Terms
from services.grader.etl.nondeterminism.windows import over, picking


class Selects:
    """Reads SELECTs."""

    def __init__(self, expressions: Expressions, sources: Sources) -> None:
        self._expressions = expressions
        self._sources = sources

    def read(self, select: exp.Select, frame: Frame) -> Relation:
        """The relation that a SELECT gives. Raises NotUnderstood."""
        self._sources.fill(select, frame)
        outputs = _outputs(select)
        frame.outputs = {part.alias.lower(): part.unalias() for part in select.selects if part.alias}
        frame.windows = {part.name.lower(): part for part in select.args.get("windows") or ()}
        self._group(select, frame)
        rows = frame.rows
        if frame.grouped is not None and select.args.get("group") is None:
            rows = NONE
        having = select.args.get("having")
        if having is not None:
            rows |= self._expressions.decided(having.this, frame, "HAVING")
        facts = [self._output(part, frame, outputs) for _, part in outputs]
        relation = self._result(outputs, facts, rows, frame)
        if select.args.get("qualify") or select.args.get("distinct"):
            facts = [replace(one, pick=None) for one in facts]
            relation = replace(relation, columns=dict(zip(relation.columns, facts, strict=True)))
        relation = self._qualified(select, relation, outputs, frame)
        relation = self._distinct(select, relation, outputs, frame)
        return self._limited(select, relation, outputs, frame)

    def _group(self, select: exp.Select, frame: Frame) -> None:
        """Turn the frame to groups, if the SELECT has any."""
        group = select.args.get("group")
        parts: list[exp.Expr] = list(group.expressions) if group is not None else []
        if group is not None and group.args.get("all"):
            parts = [part.unalias() for part in select.selects if not has_aggregate(part)]
        deciding = [
            *select.selects,
            *(select.args[part] for part in ("having", "qualify", "order") if select.args.get(part)),
        ]
        if group is None and not any(map(has_aggregate, deciding)):
            return
        several = (exp.Rollup, exp.Cube, exp.GroupingSets)
        sets = group is not None and group.find(*several) is not None
        parts = [frame.output(part) for part in parts if not isinstance(part, several)]
        frame.groups = tuple(term for term in map(frame.term, parts) if term)
        for part in group.find_all(*several) if group is not None else ():
            parts.extend(part.find_all(exp.Column))
        for part in parts:
            facts = self._expressions.facts(part, frame)
            frame.rows |= NONE if facts.clock_only else hardened(facts.findings, "GROUP BY")
        frame.grouped = _groups(parts, frame, unique=not sets)

    def _output(self, part: exp.Expr, frame: Frame, outputs: list[tuple[str, exp.Expr]]) -> Facts:
        """One output column: its facts, and its pick if it is an untied numbering, new or passed on."""
        facts = self._expressions.facts(part, frame)
        if isinstance(part, exp.Column):
            source = frame.sources.get(part.table)
            known = source.columns.get(part.name.lower()) if source is not None else None
            if known is None or known.pick is None or frame.grouped is not None:
                return replace(facts, pick=None)
            own = {(part.table, name) for name in (*known.pick.settled, part.name.lower())}
            asked = {term for condition in frame.conditions for term in frame.used(condition) if term[0] == part.table}
            if not asked <= own - {(part.table, part.name.lower())}:
                return replace(facts, pick=None)
            alone = len(frame.sources) == 1 and known.pick.key is not None and not _multiplies(outputs)
            key = [(part.table, name) for name in sorted(known.pick.key or ())] if alone else None
            return replace(facts, pick=_pick(outputs, frame, frozenset(own), key, known.pick.finding))
        found = picking(part, frame, self._expressions.facts)
        if found is None or _multiplies(outputs):
            return replace(facts, pick=None)
        return replace(facts, pick=_pick(outputs, frame, *found))

    def _result(
        self, outputs: list[tuple[str, exp.Expr]], facts: list[Facts], rows: Findings, frame: Frame
    ) -> Relation:
        plain = {term: name for name, part in reversed(outputs) if (term := frame.term(part)) is not None}
        found = [] if _multiplies(outputs) else frame.result.smallest(plain)
        keys = [key for key in found if key <= plain.keys()]
        named = frozenset(frozenset(plain[term] for term in key) for key in keys)
        dependencies = frozenset(
            (frozenset(plain[term] for term in some), frozenset(plain[term] for term in others if term in plain))
            for some, others in frame.space.dependencies
            if some <= plain.keys()
        )
        columns = {name: one for (name, _), one in zip(outputs, facts, strict=True)}
        return Relation(columns, rows, named, dependencies)

    def _qualified(
        self, select: exp.Select, relation: Relation, outputs: list[tuple[str, exp.Expr]], frame: Frame
    ) -> Relation:
        """QUALIFY: picks by number leave their rows' carried columns open, other conditions the row set."""
        qualify = select.args.get("qualify")
        settled: Terms | None = None
        rest: list[exp.Expr] = []
        for condition in conjuncts(qualify.this if qualify is not None else None):
            numbering = frame.output(condition.this) if isinstance(condition, exp.Binary) else condition
            found = picking(numbering, frame, self._expressions.facts)
            constant = isinstance(condition, exp.Binary) and isinstance(condition.expression, exp.Literal)
            if found and found[2] is not None and constant and settled is None:
                settled, key, _ = found
                relation = _carrying(relation, outputs, frame, settled, found[2])
            else:
                rest.append(condition)
                key = self._partition(numbering, frame)
            relation = _keyed(relation, outputs, frame, key if first_only(condition) else None)
        rows = relation.rows
        for condition in rest:
            rows |= self._expressions.decided(condition, frame, "QUALIFY")
            if settled is not None and not frame.fixed(condition, settled):
                rows |= {Finding("B", "QUALIFY asks more of rows that an untied order picks", "qualify")}
        return replace(relation, rows=rows)

    def _partition(self, node: exp.Expr, frame: Frame) -> list[Term] | None:
        """The columns that part a ROW_NUMBER, if it is one and they are all plain columns."""
        node = node.unalias()
        if not isinstance(node, exp.Window) or not isinstance(node.this, exp.RowNumber):
            return None
        parts = over(node, frame).partition
        terms = [term for term in map(frame.term, parts) if term]
        return terms if len(terms) == len(parts) and all(alias for alias, _ in terms) else None

    def _distinct(
        self, select: exp.Select, relation: Relation, outputs: list[tuple[str, exp.Expr]], frame: Frame
    ) -> Relation:
        distinct = select.args.get("distinct")
        if distinct is None:
            return relation
        if distinct.args.get("on") is None:
            return deduplicated(relation)
        parts = [frame.output(part) for part in distinct.args["on"].expressions]
        order = [frame.output(part.this) for part in _ordered(select)]
        found: Findings = NONE
        for part in [*parts, *order]:
            found |= self._expressions.decided(part, frame, "DISTINCT ON")
        relation = replace(relation, rows=relation.rows | found)
        known = frame.result.closure(term for part in [*parts, *order] if (term := frame.term(part)))
        if not frame.result.same(known):
            finding = Finding("B", "DISTINCT ON takes any of the rows tied as first", "distinct on")
            relation = _carrying(relation, outputs, frame, known, finding)
        return _keyed(relation, outputs, frame, [term for part in parts if (term := frame.term(part))])

    def _limited(
        self, select: exp.Select, relation: Relation, outputs: list[tuple[str, exp.Expr]], frame: Frame
    ) -> Relation:
        if not any(select.args.get(part) for part in ("limit", "offset", "sample")):
            return relation
        if select.args.get("sample"):
            finding = Finding("D", "a sample of the rows; with threads not even a seed settles which", "sample")
            return replace(relation, rows=relation.rows | {finding})
        order = [frame.output(part.this) for part in _ordered(select)]
        found: Findings = NONE
        for part in order:
            found |= self._expressions.decided(part, frame, "ORDER BY with LIMIT")
        known = frame.result.closure(term for part in order if (term := frame.term(part)))
        total = bool(order) and (frame.result.same(known) and not select.args.get("distinct"))
        total = total or bool(order and all(frame.fixed(part, known) for _, part in outputs))
        if not total and not _unordered_all(select) and frozenset() not in relation.keys:
            found |= {LIMITED}
        return replace(relation, rows=relation.rows | found)


LIMITED = Finding("D", "LIMIT or OFFSET without an order that is total", "limit")


def _unordered_all(select: exp.Query) -> bool:
    """LIMIT 0 takes no row, whatever the order is."""
    limit = select.args.get("limit")
    return limit is not None and isinstance(limit.expression, exp.Literal) and limit.expression.name == "0"


def deduplicated(relation: Relation) -> Relation:
    """The rows without repetitions: which of them are repetitions follows from all columns."""
    found = frozenset(
        finding
        for facts in relation.columns.values()
        if not facts.clock_only
        for finding in hardened(facts.findings, "DISTINCT")
    )
    keys = relation.keys | {frozenset(relation.columns)}
    return replace(relation, rows=relation.rows | found, keys=keys)


def _ordered(select: exp.Query) -> Iterable[exp.Ordered]:
    order = select.args.get("order")
    return order.expressions if order is not None else ()


def _groups(parts: list[exp.Expr], frame: Frame, unique: bool) -> Space:
    """The groups as rows; those of several grouping sets have no key, for a total looks like a group of NULL."""
    terms = frozenset(frame.groups)
    space = Space(list(frame.space.dependencies))
    for part in parts:
        term = frame.term(part)
        if term is not None and not term[0]:
            space.dependencies.append((frame.used(part), frozenset([term])))
    space.keys.append((terms,) if unique else ())
    space.whole.append(terms if unique else frozenset([("", "no name")]))
    return space


def _pick(
    outputs: list[tuple[str, exp.Expr]], frame: Frame, known: Terms, key: list[Term] | None, finding: Finding | None
) -> Pick:
    names: dict[Term, str] = {}
    settled: set[str] = set()
    for name, part in outputs:
        term = frame.term(part)
        if term is not None:
            names.setdefault(term, name)
        if frame.fixed(part, known):
            settled.add(name)
    whole = key is not None and all(term in names for term in key)
    return Pick(
        frozenset(settled), frozenset(names[term] for term in key) if key is not None and whole else None, finding
    )


def _carrying(
    relation: Relation, outputs: list[tuple[str, exp.Expr]], frame: Frame, known: Terms, finding: Finding
) -> Relation:
    """The columns that a pick does not settle carry its finding."""
    columns = dict(relation.columns)
    for name, (_, part) in zip(relation.columns, outputs, strict=True):
        numbering = isinstance(part, exp.Window) and isinstance(part.this, exp.RowNumber)
        if not frame.fixed(part, known) and not numbering:
            columns[name] = columns[name].adding([carried(finding)])
    return replace(relation, columns=columns)


def _keyed(relation: Relation, outputs: list[tuple[str, exp.Expr]], frame: Frame, key: list[Term] | None) -> Relation:
    """The relation with a key more, if all its terms are output."""
    if key is None:
        return relation
    names = {term: name for name, part in reversed(outputs) if (term := frame.term(part)) is not None}
    if not all(term in names for term in key):
        return relation
    return replace(relation, keys=relation.keys | {frozenset(names[term] for term in key)})


def _outputs(select: exp.Select) -> list[tuple[str, exp.Expr]]:
    """Names and expressions of the output: DuckDB numbers the second column of a name."""
    found: dict[str, exp.Expr] = {}
    for part in select.selects:
        name = free = part.alias_or_name.lower()
        number = 1
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found[free] = part.unalias()
    return list(found.items())


def _multiplies(outputs: list[tuple[str, exp.Expr]]) -> bool:
    """Whether a row of the SELECT list becomes several, which then have no key."""
    return any(part.find(exp.Unnest, exp.Explode) for _, part in outputs)
