"""Candidate variants of one database, as files: each of the ten mutations alone, mixtures, and what a task asks for."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from services.grader.variants.draft import Draft
from services.grader.variants.hints import Hints, hints_of
from services.grader.variants.mutations import MIX, MUTATIONS, dice_of, mutated
from services.grader.variants.relations import Tables, reversed_rows, write_tables
from services.grader.variants.rules import Rules, broken, mend, with_names
from services.grader.variants.shrink import shrunk

MIXTURES = 6
FOCUSED = 4
"""Candidates made for one task whose near misses are left; they serve the other tasks of the database too."""


@dataclass(frozen=True)
class Candidate:
    """One variant on disk, and with every table's rows reversed: a gold that tells the two apart is no measure."""

    name: str
    mutation: str
    path: Path
    reverse: Path
    repeats: bool


LOOSE = ("ties", "label swap")
"""Mutations that may let two rows have one name; so does every second mixture."""


class CandidateMaker:
    """Makes the candidates of one database in a folder; the same seed gives the same rows."""

    def __init__(
        self, name: str, base: Tables, rules: Rules, trees: Sequence[exp.Expr], folder: Path, seed: int
    ) -> None:
        self._name = name
        self._base = base
        self._rules = rules
        self._strict = with_names(rules, base)
        self._hints = hints_of(trees, base)
        self._folder = folder
        self._seed = seed
        self.made: list[Candidate] = []

    def of_all(self, mixtures: int = MIXTURES) -> list[Candidate]:
        """Each mutation alone, then mixtures."""
        alone = [self._make(mutation, self._hints, mutation not in LOOSE) for mutation in MUTATIONS]
        return alone + [self._make(MIX, self._hints, number % 2 == 0) for number in range(mixtures)]

    def of_task(self, tree: exp.Expr, count: int = FOCUSED) -> list[Candidate]:
        """Mixtures around the constants of one query."""
        hints = hints_of([tree], self._base)
        return [self._make(MIX, hints, number % 2 == 0) for number in range(count)]

    def _make(self, mutation: str, hints: Hints, strict: bool) -> Candidate:
        name = f"v{len(self.made):03d}"
        dice = dice_of(self._seed, self._name, name)
        start = shrunk(self._base, self._rules, hints, random.Random(dice.random()))
        rules = self._strict if strict else self._rules
        draft = Draft(self._base, start, rules, hints, dice)
        mutated(draft, mutation)
        mend(draft.tables, rules)
        if broken(draft.tables, rules):
            raise RuntimeError(f"the variant {name} of {self._name} breaks a rule: {broken(draft.tables, rules)[0]}")
        paths = self._folder / f"{name}.duckdb", self._folder / f"{name}-reverse.duckdb"
        candidate = Candidate(name, mutation, *paths, repeats=strict)
        write_tables(candidate.path, draft.tables)
        write_tables(candidate.reverse, reversed_rows(draft.tables))
        self.made.append(candidate)
        return candidate
