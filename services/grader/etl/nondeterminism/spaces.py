"""Which columns fix which, among the rows of one SELECT: closures of keys, dependencies and equalities.

Invariant: a closure holds only columns whose values are fixed by the given ones, so "same" is never said of two rows
that a reader of the output could tell apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

Term = tuple[str, str]
"""(alias, column), or ("", text of an expression)."""
Terms = frozenset[Term]


@dataclass
class Space:
    """The rows that a SELECT looks at: one row of each source together, or one group."""

    dependencies: list[tuple[Terms, Terms]] = field(default_factory=list)
    keys: list[tuple[Terms, ...]] = field(default_factory=list)
    """For each source its keys; none: its rows have no name."""
    whole: list[Terms] = field(default_factory=list)
    """For each source all its columns: rows that agree in them are interchangeable."""

    def closure(self, terms: Iterable[Term]) -> Terms:
        """All terms that are the same in two rows that agree in the given ones."""
        known = set(terms)
        grown = True
        while grown:
            grown = False
            for some, others in self.dependencies:
                if some <= known and not others <= known:
                    known |= others
                    grown = True
        return frozenset(known)

    def named(self, terms: Iterable[Term]) -> bool:
        """Whether no two rows agree in the terms."""
        known = self.closure(terms)
        return all(any(key <= known for key in keys) for keys in self.keys)

    def same(self, terms: Iterable[Term]) -> bool:
        """Whether rows that agree in the terms are interchangeable."""
        known = self.closure(terms)
        sources = zip(self.keys, self.whole, strict=True)
        return all(whole <= known or any(key <= known for key in keys) for keys, whole in sources)

    def smallest(self, preferred: Iterable[Term]) -> list[Terms]:
        """Keys of the rows, in terms that are preferred where there is a choice; none if rows have no name."""
        if not all(self.keys):
            return []
        wanted = frozenset(preferred)
        start = frozenset(term for keys in self.keys for key in keys for term in key) | wanted
        if not self.named(start):
            return []
        found = {self._reduced(start, wanted, order) for order in ((), *self._candidates())}
        return sorted(found, key=lambda key: (len(key), sorted(key)))

    def _candidates(self) -> list[tuple[Term, ...]]:
        return [tuple(sorted(key)) for keys in self.keys for key in keys][:16]

    def _reduced(self, terms: Terms, wanted: Terms, kept: tuple[Term, ...]) -> Terms:
        """The terms without those that the others make up for: unwanted ones are given up first, `kept` last."""
        left = set(terms)
        for term in sorted(terms, key=lambda one: (one in wanted, one in kept, one)):
            if self.named(left - {term}):
                left.discard(term)
        return frozenset(left)
