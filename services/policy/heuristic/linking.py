"""Schema linking: which words of the question name tables, columns and values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from services.policy.heuristic.reading import Column, Schema, Table
from services.policy.heuristic.words import STOP, Word, identifier_words, likeness

_GENERIC = frozenset(("id", "code", "name", "type", "number", "description", "text", "detail", "title", "value"))
_CUES = frozenset(("total", "average", "maximum", "minimum", "sort", "have", "each", "all", "most", "list"))
_BEFORE_COUNTS = frozenset(
    (
        "top",
        "first",
        "last",
        "than",
        "least",
        "most",
        "exactly",
        "only",
        "after",
        "before",
        "above",
        "over",
        "below",
        "under",
        "between",
    )
)
_THRESHOLD = 0.5
_SLACK = 0.6


@dataclass(frozen=True, slots=True)
class Hit:
    """A cell found in the database whose text stands in the question."""

    column: Column
    value: str


@dataclass(frozen=True, slots=True)
class Mention:
    """Words [start, end) of the question, and what they may name; the best column first.

    `exact` says that a column is named no less well than the table.
    """

    start: int
    end: int
    score: float
    columns: tuple[Column, ...] = ()
    table: Table | None = None
    hits: tuple[Hit, ...] = ()
    exact: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    start: int
    end: int
    score: float
    named: Column | Table


def rank_tables(words: Sequence[Word], names: Sequence[str]) -> list[str]:
    """The tables by how well the question names them, best first; ties keep their order."""
    return sorted(names, key=lambda name: -_affinity(words, identifier_words(name)))


def link(words: Sequence[Word], schema: Schema, hits: Sequence[Hit]) -> tuple[Mention, ...]:
    """The mentions in the order of the question; no two overlap."""
    valued = _value_mentions(words, hits)
    named = _candidates(words, schema)
    strong = [mention for mention in valued if _is_strong(mention, words, named)]
    taken = {i for mention in strong for i in range(mention.start, mention.end)}
    chosen = _cover([item for item in named if taken.isdisjoint(range(item.start, item.end))])
    mentions = sorted([*strong, *chosen], key=lambda mention: mention.start)
    return tuple(_rank(mention, mentions) for mention in mentions)


def _affinity(words: Sequence[Word], named: Sequence[str]) -> float:
    if not named:
        return 0.0
    best = [max((likeness(word.stem, part) for word in words if word.stem not in STOP), default=0.0) for part in named]
    return sum(best) - 0.3 * sum(1 for score in best if score < _THRESHOLD)


def _candidates(words: Sequence[Word], schema: Schema) -> list[_Candidate]:
    found: list[_Candidate] = []
    for table in schema.tables:
        owner = identifier_words(table.name)
        found.extend(_runs(words, owner, owner, 0.4, table))
        for column in table.columns:
            parts = identifier_words(column.name)
            core = tuple(part for part in parts if part not in owner) or parts
            found.extend(_runs(words, parts, core, 0.5, column))
    return found


def _runs(
    words: Sequence[Word], parts: Sequence[str], core: Sequence[str], penalty: float, named: Column | Table
) -> Iterable[_Candidate]:
    """Runs of words that name `parts`; of `core`, each word that is missing costs `penalty`."""
    for start in range(len(words)):
        matched: dict[str, float] = {}
        end = start
        for i in range(start, len(words)):
            part, score = _best_part(words[i], [part for part in parts if part not in matched])
            if score == 0.0:
                if i == start or words[i].stem not in ("of", "the"):
                    break
                continue
            matched[part] = score
            end = i + 1
        missing = [part for part in core if part not in matched]
        if _is_count_of(words, start) and parts[:1] != ("number",) and parts[-1:] != ("count",):
            continue
        if len(missing) == len(core) or (end == start + 1 and _is_cue(words, start)):
            continue
        cost = sum(0.2 if part in _GENERIC else penalty for part in missing)
        total = sum(matched.values()) - cost
        if total >= _THRESHOLD:
            yield _Candidate(start, end, total, named)


def _is_cue(words: Sequence[Word], position: int) -> bool:
    """Whether the word alone says what to do rather than what with: `number of`, `total`."""
    return words[position].stem in _CUES or _is_count_of(words, position)


def _is_count_of(words: Sequence[Word], position: int) -> bool:
    return [word.stem for word in words[position : position + 2]] in (["number", "of"], ["count", "of"])


def _best_part(word: Word, parts: Sequence[str]) -> tuple[str, float]:
    if word.kind != "word" or word.stem in ("of", "the", "in", "is", "are", "and", "or", "to"):
        return "", 0.0
    return max(((part, likeness(word.stem, part)) for part in parts), key=lambda pair: pair[1], default=("", 0.0))


def _cover(candidates: Sequence[_Candidate]) -> list[Mention]:
    """The best spans that do not overlap, each with everything it may name."""
    best: dict[tuple[int, int], float] = {}
    for item in candidates:
        span = (item.start, item.end)
        best[span] = max(best.get(span, 0.0), item.score)
    chosen: list[tuple[int, int]] = []
    for start, end in sorted(best, key=lambda span: (-best[span], span)):
        if all(end <= other[0] or start >= other[1] for other in chosen):
            chosen.append((start, end))
    return [_mention(span, best[span], candidates) for span in chosen]


def _mention(span: tuple[int, int], best: float, candidates: Sequence[_Candidate]) -> Mention:
    inside = [item for item in candidates if (item.start, item.end) == span and item.score > best - _SLACK]
    inside.sort(key=lambda item: -item.score)
    columns = tuple(item.named for item in inside if isinstance(item.named, Column))
    table = next((item.named for item in inside if isinstance(item.named, Table)), None)
    scores = [item.score for item in inside if isinstance(item.named, Table)]
    if columns and scores and scores[0] + 0.25 < best:
        table = None
    if table is not None and inside[0].score > max((i.score for i in inside if isinstance(i.named, Column)), default=9):
        columns = tuple(item.named for item in inside if isinstance(item.named, Column) and item.score > best - 0.25)
    exact = any(isinstance(item.named, Column) and item.score >= best for item in inside)
    return Mention(*span, best, columns, table, exact=exact)


def _value_mentions(words: Sequence[Word], hits: Sequence[Hit]) -> list[Mention]:
    """The longest spans whose text is a cell."""
    spans: dict[tuple[int, int], list[Hit]] = {}
    for hit in hits:
        for span in _spans_of(hit.value, words):
            spans.setdefault(span, []).append(hit)
    chosen: list[Mention] = []
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if all(end <= other.start or start >= other.end for other in chosen):
            chosen.append(Mention(start, end, 3.0, hits=tuple(spans[start, end])))
    return chosen


def _spans_of(value: str, words: Sequence[Word]) -> Iterable[tuple[int, int]]:
    wanted = value.lower().split()
    for start, word in enumerate(words):
        if word.is_literal and (word.text.lower() == value.lower() or value.lower() in word.text.lower().split()):
            yield start, start + 1
            continue
        texts = [other.text.lower().removesuffix("'s") for other in words[start : start + len(wanted)]]
        if wanted and (texts == wanted or (len(wanted) == 1 and wanted[0] in (word.stem, gendered(word)))):
            yield start, start + len(wanted)


def gendered(word: Word) -> str:
    """The letter that a sex column may hold for the word, or the empty text."""
    return {"female": "f", "male": "m", "woman": "f", "man": "m", "girl": "f", "boy": "m"}.get(word.stem, "")


def _is_strong(mention: Mention, words: Sequence[Word], named: Sequence[_Candidate]) -> bool:
    """Whether the words are a value rather than a name in the schema."""
    inside = words[mention.start : mention.end]
    if len(inside) == 1 and inside[0].kind == "number":
        return mention.start == 0 or words[mention.start - 1].stem not in _BEFORE_COUNTS
    if any(word.is_literal or word.kind == "number" for word in inside):
        return True
    if any(hit.value.isupper() and 1 < len(hit.value) < 5 and not inside[0].text.isupper() for hit in mention.hits[:1]):
        return False
    rivals = [item.score for item in named if item.start < mention.end and mention.start < item.end]
    if mention.start > 0 and all(word.text[:1].isupper() for word in inside):
        return True
    return len(inside) > 1 or max(rivals, default=0.0) < 0.75


def _rank(mention: Mention, mentions: Sequence[Mention]) -> Mention:
    """The mention with its columns and hits reordered by what else the question names nearby."""
    order = {column: rank for rank, column in enumerate(mention.columns)}
    columns = sorted(order, key=lambda column: -_evidence(column.table, mention, mentions) + 0.12 * order[column])
    hits = sorted(mention.hits, key=lambda hit: -_near_column(hit, mention, mentions))
    return replace(mention, columns=tuple(columns), hits=tuple(hits))


def _evidence(table: str, mention: Mention, mentions: Sequence[Mention]) -> float:
    """How much speaks for the table at this place: a table named nearby, most of all just after."""
    total = 0.0
    for other in mentions:
        if other is mention:
            continue
        distance = other.start - mention.end if other.start >= mention.end else 2 + mention.start - other.end
        near = 1.0 / (1.0 + 0.15 * distance)
        if other.table is not None and other.table.name == table:
            total = max(total, 0.3 + near)
        elif len({column.table for column in other.columns}) == 1 and other.columns[0].table == table:
            total = max(total, 0.2 + 0.4 * near)
        elif other.hits and other.hits[0].column.table == table:
            total = max(total, 0.2)
    return total


def _near_column(hit: Hit, mention: Mention, mentions: Sequence[Mention]) -> float:
    best = 0.5 * _evidence(hit.column.table, mention, mentions)
    for other in mentions:
        if hit.column in other.columns:
            distance = max(other.start - mention.end, mention.start - other.end)
            best = max(best, 2.0 / (1.0 + 0.3 * max(distance, 0)) + 0.1 * best)
    return best
