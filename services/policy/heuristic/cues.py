"""Cues: the phrases that say what a question does with the names around them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from services.policy.heuristic.words import Word


class Kind(Enum):
    """What a cue asks for."""

    COUNT = auto()
    AGGREGATE = auto()
    SUPERLATIVE = auto()
    COMPARE = auto()
    DISTINCT = auto()
    GROUP = auto()
    ORDER = auto()
    WHERE = auto()
    START = auto()
    NEGATE = auto()
    LIKE = auto()
    BOTH = auto()
    EVERYTHING = auto()
    FREQUENT = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Cue:
    """Words [start, end) of the question; `value` depends on the kind, `limit` is the N of a top N."""

    start: int
    end: int
    kind: Kind
    value: str = ""
    limit: int = 1


NUMBER_WORDS = {
    word: i
    for i, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"once": 1, "twice": 2}
_N = r"(?:\d+|" + "|".join(list(NUMBER_WORDS)[1:13]) + ")"
_DESC = (
    "most recently|most recent|most|highest|largest|biggest|maximum|max|greatest|longest|oldest|latest|newest|heaviest"
    "|tallest|best|fastest|top|last|richest"
)
_ASC = (
    "least|lowest|smallest|minimum|min|fewest|shortest|youngest|earliest|lightest|cheapest|worst|slowest|first"
    "|least recent"
)
_MORE = "more|greater|larger|higher|bigger|older|longer|heavier|taller|later|better|faster"
_LESS = "less|fewer|smaller|lower|younger|shorter|lighter|earlier|cheaper|worse|slower"
_FRESH = (
    "show|display|list|find|give|return|what|which|tell|select|who|count|report|compute|please|for|among|in|on|order"
    "|sort"
)

_PATTERNS: tuple[tuple[Kind, str, str], ...] = (
    (Kind.ORDER, "", r"(?:sort|order|arrang|rank|list)(?:ed|ing|e|s)?(?: (?:them|it|the \w+|each \w+|results?))?"
                     r" (?:alphabetically )?(?:by|in|from|according to)(?: the| their)?"
                     r"(?: (?:ascending|descending|alphabetical|alphabetic|decreasing|increasing|lexicographical))*"
                     r"(?: order(?: of| by))?(?: the| their)?"),
    (Kind.ORDER, "", r"in (?:an? |the )?(?:reverse )?(?:ascending|descending|alphabetical|alphabetic|lexicographic\w*"
                     r"|decreasing|increasing|chronological)(?: alphabetical| lexicographical| alphabetic)?"
                     r"(?: order)?(?: of| by| on)?(?: the| their)?"),
    (Kind.ORDER, "", r"(?:by (?:a|de)scending(?: order of)?|in (?:the )?order (?:of|by)|(?:alphabetically |order )by"
                     r"|alphabetically|from (?:the )?(?:most|highest|oldest|youngest|largest|lowest|least|earliest"
                     r"|latest|large|high|small|low|old) to (?:the )?\w+)"),
    (Kind.FREQUENT, "least", r"(?:the )?least (?:common|popular|frequent|frequently|commonly)(?: used)?"),
    (Kind.FREQUENT, "most", r"(?:the )?(?P<n>N )?most (?:common|popular|frequent|frequently|commonly|often)(?: used)?"),
    (Kind.COMPARE, ">=", r"at least|no (?:less|fewer) than|not less than|a minimum of"),
    (Kind.COMPARE, "<=", r"at most|no more than|not more than|up to|a maximum of"),
    (Kind.COMPARE, ">", rf"(?:{_MORE}) than|above|over|exceed(?:s|ing)?|after|greater|beyond"),
    (Kind.COMPARE, "<", rf"(?:{_LESS}) than|below|under|before|prior to"),
    (Kind.COMPARE, "between", r"between|ranging from|in the range(?: of| from)?"),
    (Kind.COMPARE, "=", r"exactly|equals?(?: to)?|only"),
    (Kind.COUNT, "distinct", r"(?:how many|(?:total )?number of|count(?: of)?)(?: all)?(?: the)?"
                             r" (?:different|distinct|unique|various)"),
    (Kind.SUPERLATIVE, "desc", rf"(?:{_DESC})(?: total)? (?:number|count)s?(?: of)?(?P<count>)"),
    (Kind.SUPERLATIVE, "asc", rf"(?:{_ASC})(?: total)? (?:number|count)s?(?: of)?(?P<count>)"),
    (Kind.COUNT, "", r"how many|(?:the )?(?:total )?numbers? of|count(?: of| up)?(?: the number of)?|how often"
                     r"|the (?:counts?|numbers?)(?= [.?;,]|$)"),
    (Kind.GROUP, "", r"(?:(?:for|of|in|by|from|to|at|with|on|across|under|within) )?(?:each|every)(?: of)?(?: the)?"
                     r"(?: (?:different|distinct|possible|individual))?|per|group(?:ed)? by|broken down by"
                     r"|for (?:all )?(?:the )?different|(?:of|by|in) different"),
    (Kind.SUPERLATIVE, "asc", rf"(?:top|first) (?P<n>N) (?:{_ASC})"),
    (Kind.SUPERLATIVE, "desc", rf"(?:top|first|last|best) (?P<n>N)(?: (?:{_DESC}))?|(?P<m>N) (?:{_DESC})|(?:{_DESC})"),
    (Kind.SUPERLATIVE, "asc", rf"(?P<n>N) (?:{_ASC})|(?:{_ASC})"),
    (Kind.AGGREGATE, "avg", r"averaged?|mean"),
    (Kind.AGGREGATE, "sum", r"total(?: amount of| of)?|sum(?: of)?|combined|overall"),
    (Kind.DISTINCT, "", r"different|distinct|unique|distinctive"),
    (Kind.NEGATE, "", r"not|never|no|without|\w+n t|cannot|neither|excluding|except(?: for)?|other than|nor|none"),
    (Kind.LIKE, "starts", r"(?:start|begin)(?:s|ning|ing)? with(?: the)?(?: letter)?|prefix"),
    (Kind.LIKE, "ends", r"end(?:s|ing)? with(?: the)?(?: letter)?|suffix"),
    (Kind.LIKE, "contains", r"contain(?:s|ing)?|includ(?:e|es|ing)|substring|has the word|the letters?|the word"),
    (Kind.BOTH, "", r"both"),
    (Kind.EVERYTHING, "", r"all (?:the )?(?:information|info|details|data|records|columns|fields)(?: about| of| on)?"),
    (Kind.START, "", rf"(?<=[.?;,] )(?:and )?(?:{_FRESH})"),
    (Kind.WHERE, "", r"whose|with|who|that|where|have|has|having|had|when|which|located|named|called|belong\w*"
                     r"|used by|made by|did|does|do"),
    (Kind.END, "", r"[.?;]"),
)  # fmt: skip


def _compiled(kind: Kind, text: str) -> re.Pattern[str]:
    """The pattern over whole words, with N standing for a number."""
    if kind is Kind.END:
        return re.compile(text)
    return re.compile(rf"\b(?:{text})(?!\w)".replace("N)", f"{_N})").replace("N ", f"{_N} "))


_COMPILED = tuple((kind, value, _compiled(kind, text)) for kind, value, text in _PATTERNS)


def find_cues(words: Sequence[Word]) -> list[Cue]:
    """The cues of a question in order; where two overlap, the kind listed first wins."""
    texts = ["##" if word.is_literal else word.text.lower().replace(",", "" if len(word.text) > 1 else ",")
             for word in words]  # fmt: skip
    line = " ".join(texts)
    index: dict[int, int] = {}
    position = 0
    for i, text in enumerate(texts):
        index[position] = i
        position += len(text) + 1
    taken: set[int] = set()
    found: list[Cue] = []
    for kind, value, pattern in _COMPILED:
        for match in pattern.finditer(line):
            cue = _cue(match, kind, value, line, index)
            if cue is not None and taken.isdisjoint(range(cue.start, cue.end)):
                taken.update(range(cue.start, cue.end))
                found.append(cue)
    return sorted(found, key=lambda cue: cue.start)


def _cue(match: re.Match[str], kind: Kind, value: str, line: str, index: dict[int, int]) -> Cue | None:
    if match.start() not in index:
        return None
    start = index[match.start()]
    end = start + len(match[0].split())
    groups = match.groupdict()
    count = (groups.get("n") or groups.get("m") or "1").strip()
    limit = NUMBER_WORDS.get(count) or int(count[:6]) if count in NUMBER_WORDS or count.isdecimal() else 1
    if "count" in groups:
        return Cue(start, end, Kind.FREQUENT, "most" if value == "desc" else "least", limit)
    return Cue(start, end, kind, value, limit)


def number_of(word: Word) -> str | None:
    """The number that the word writes, in digits."""
    if word.kind == "number":
        return word.text.replace(",", "")
    value = NUMBER_WORDS.get(word.text.lower())
    return None if value is None else str(value)
