"""Knowledge: what an agent has found out about the question and the database, and what the question's words may name.

Invariant: it is read from the turn alone: the question, described tables, and cells that a query has shown.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from services.contracts.policy import Turn
from services.policy.heuristic import plan
from services.policy.heuristic.cues import Cue, find_cues, number_of
from services.policy.heuristic.linking import Hit, Mention, link
from services.policy.heuristic.looking import found_cells
from services.policy.heuristic.reading import Column, Schema, Table, read_outcomes, read_schema
from services.policy.heuristic.words import STOP, Word, identifier_words, likeness, tokens
from services.policy.tier.operations import Operations, Scalar
from services.policy.tier.translating import Untranslatable, translate

_LIKE = re.compile(
    r"(?:contain|start|begin|end|includ|word|letter|substring|prefix|suffix|string|phrase|like|has|have)"
)
_REACH = 5
_CHUNK = re.compile(r"[^\s\"]*[^\s\".,;?!]")
FLAGS = ("Yes", "No", "Y", "N", "T", "F")
"""What a column may hold that the question does not say."""


@dataclass(frozen=True, slots=True)
class Value:
    """Something to compare with: where the question says it (-1: nowhere), and the columns whose cells hold it.

    `kind` is hit, number, literal, pattern or guess; a pattern is for LIKE, a guess is a common flag.
    """

    value: Scalar
    kind: str
    place: int
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True)
class Knowledge:
    """Question, schema and cells found; equal knowledge gives equal candidates and features."""

    question: str
    schema: Schema
    hits: tuple[Hit, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.question, self.schema, self.hits))

    @cached_property
    def plan(self) -> Operations:
        """The heuristic's first statement as operations; none where it cannot be said in them."""
        statements = plan(self.question, self.schema, self.hits) if self.schema.tables else ()
        try:
            return translate(statements[0].sql, self.schema) if statements else ()
        except Untranslatable:
            return ()

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The question's tokens."""
        return tokens(self.question)

    @cached_property
    def cues(self) -> tuple[Cue, ...]:
        """What the question's phrases ask for."""
        return tuple(find_cues(self.words))

    @cached_property
    def mentions(self) -> tuple[Mention, ...]:
        """What runs of the question's words name."""
        return link(self.words, self.schema, self.hits)

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of the question's words."""
        return frozenset(word.stem for word in self.words)

    @cached_property
    def values(self) -> tuple[Value, ...]:
        """Everything that a condition may compare with, each once, cells first."""
        guessed: tuple[Scalar, ...] = (*FLAGS, 0, 1)
        guesses = (Value(value, "guess", -1) for value in guessed)
        found = (*self._cells(), *self._numbers(), *self._texts(), *self._names(), *guesses)
        return tuple({(value.kind, value.value): value for value in found}.values())

    @cached_property
    def numbers(self) -> tuple[Value, ...]:
        """The numbers of the question, in its order."""
        return tuple(value for value in self.values if value.kind == "number")

    @cached_property
    def _affinities(self) -> dict[str, float]:
        return {}

    def affinity(self, named: Table | Column) -> float:
        """How well the question's words name it, 0 to 1: the mean over the words of its name."""
        known = self._affinities.get(named.name)
        if known is None:
            known = self._affinities[named.name] = self._measured(named)
        return known

    def _measured(self, named: Table | Column) -> float:
        parts = identifier_words(named.name)
        said = [word.stem for word in self.words if word.kind == "word" and word.stem not in STOP] or [""]
        return sum(max(likeness(stem, part) for stem in said) for part in parts) / len(parts) if parts else 0.0

    def _cells(self) -> Iterator[Value]:
        by_text: dict[str, list[Column]] = {}
        for hit in self.hits:
            by_text.setdefault(hit.value, []).append(hit.column)
        for text, columns in by_text.items():
            yield Value(text, "hit", self._place(text), tuple(columns))

    def _numbers(self) -> Iterator[Value]:
        for place, word in enumerate(self.words):
            digits = number_of(word)
            if digits is not None:
                yield Value(float(digits) if "." in digits else int(digits[:18]), "number", place)

    def _texts(self) -> Iterator[Value]:
        """Quoted texts and dates, and what LIKE may look for: those, single letters, and words after its cues."""
        for place, word in enumerate(self.words):
            if word.is_literal:
                yield Value(word.text, "literal", place)
            digits = number_of(word)
            near = " ".join(one.text.lower() for one in self.words[max(0, place - _REACH) : place])
            cued = word.stem not in STOP and word.kind == "word" and _LIKE.search(near) is not None
            letter = len(word.text) == 1 and word.text.isalpha() and word.text not in ("a", "i")
            number = digits is not None and (len(digits) >= 2 or _LIKE.search(near) is not None)
            if word.is_literal or cued or letter or number:
                for pattern in (f"%{word.text}%", f"{word.text}%", f"%{word.text}"):
                    yield Value(pattern, "pattern", place)

    def _names(self) -> Iterator[Value]:
        """Runs of words with a capital or a digit in them, and words with marks inside, as the question writes them."""
        run: list[str] = []
        for chunk in [*_CHUNK.findall(self.question)[1:], ""]:
            if any(letter.isupper() or letter.isdigit() for letter in chunk):
                run.append(chunk)
                if not chunk.isalnum():
                    yield Value(chunk, "literal", self._place(chunk))
            elif run:
                yield Value(" ".join(run), "literal", self._place(run[0]))
                run = []

    def _place(self, text: str) -> int:
        wanted = text.lower().split()
        texts = [word.text.lower() for word in self.words]
        for start in range(len(texts)):
            if texts[start] == text.lower() or (wanted and texts[start : start + len(wanted)] == wanted):
                return start
        return -1


def knowledge_of(turn: Turn) -> Knowledge:
    """What the turn's history has shown."""
    question, schema = turn.first.question, read_schema(turn.history)
    return _kept(question, schema, found_cells(question, schema, read_outcomes(turn.history)))


@lru_cache(maxsize=512)
def _kept(question: str, schema: Schema, hits: tuple[Hit, ...]) -> Knowledge:
    return Knowledge(question, schema, hits)
