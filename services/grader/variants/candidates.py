"""Candidate variants of one database, as files: each of the ten mutations alone, mixtures, and what a task asks for."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from services.grader.variants.draft import Draft
from services.grader.variants.hints import hints_of
from services.grader.variants.mutations import MIX, MUTATIONS, dice_of, mutated
from services.grader.variants.relations import Tables, reversed_rows, write_tables
from services.grader.variants.rules import Rules, broken, mend
from services.grader.variants.shrink import shrunk

MIXTURES = 6
FOCUSED = 4
"""Candidates made for one task whose near misses are left; they serve the other tasks of the database too."""
BUDGET = len(MUTATIONS) + MIXTURES + FOCUSED
"""Candidates that a task's near misses may be held against in the search."""


@dataclass(frozen=True)
class Candidate:
    """One variant on disk, and with every table's rows reversed: a gold that tells the two apart is no measure."""

    name: str
    mutation: str
    path: Path
    reverse: Path


class CandidateMaker:
    """Makes the candidates of one database in a folder; the same seed gives the same rows."""

    def __init__(
        self, name: str, base: Tables, rules: Rules, trees: Sequence[exp.Expr], folder: Path, seed: int
    ) -> None:
        self._name = name
        self._base = base
        self._rules = rules
        self._hints = hints_of(trees, base)
        self._folder = folder
        self._seed = seed
        self.made: list[Candidate] = []

    def of_all(self, mixtures: int = MIXTURES) -> list[Candidate]:
        """Each mutation alone, then mixtures."""
        return [self._make(mutation, self._hints) for mutation in (*MUTATIONS, *[MIX] * mixtures)]

    def of_task(self, tree: exp.Expr, count: int = FOCUSED) -> list[Candidate]:
        """Mixtures around the constants of one query."""
        hints = hints_of([tree], self._base)
        return [self._make(MIX, hints) for _ in range(count)]

    def _make(self, mutation: str, hints: dict[tuple[str, int], list[object]]) -> Candidate:
        name = f"v{len(self.made):03d}"
        dice = dice_of(self._seed, self._name, name)
        start = shrunk(self._base, self._rules, hints, random.Random(dice.random()))
        draft = Draft(self._base, start, self._rules, hints, dice)
        mutated(draft, mutation)
        mend(draft.tables, self._rules)
        if broken(draft.tables, self._rules):
            raise RuntimeError(
                f"the variant {name} of {self._name} breaks a rule: {broken(draft.tables, self._rules)[0]}"
            )
        candidate = Candidate(name, mutation, self._folder / f"{name}.duckdb", self._folder / f"{name}-reverse.duckdb")
        write_tables(candidate.path, draft.tables)
        write_tables(candidate.reverse, reversed_rows(draft.tables))
        self.made.append(candidate)
        return candidate
