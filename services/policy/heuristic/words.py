"""Words: a question as tokens, an identifier as words, and when two words mean the same."""

import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(
    r"\"(?P<double>[^\"]+)\"|“(?P<curly>[^”]+)”|(?<!\w)'(?P<single>(?:[^']|'(?=\w))+)'(?!\w)"
    r"|(?P<mail>[\w.+-]+@[\w.-]+\w)|(?P<date>\d+(?:[-/:]\d+)+)|(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w])"
    r"|(?P<word>\w+(?:'s\b)?)|(?P<mark>[,.;?])"
)
_QUOTES = str.maketrans("\u2018\u2019", "''")
_SHARED = re.compile(r"\b(first),? and (?:the )?(last) names?\b", re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ENDINGS = ("name", "id", "type", "date", "code", "number", "year", "title", "time", "price", "count")

EXPANSIONS = {
    "fname": ("first", "name"),
    "lname": ("last", "name"),
    "firstname": ("first", "name"),
    "lastname": ("last", "name"),
    "dept": ("department",),
    "num": ("number",),
    "no": ("number",),
    "nbr": ("number",),
    "cust": ("customer",),
    "emp": ("employee",),
    "stu": ("student",),
    "prof": ("professor",),
    "desc": ("description",),
    "amt": ("amount",),
    "qty": ("quantity",),
    "addr": ("address",),
    "tel": ("phone",),
    "lang": ("language",),
    "avg": ("average",),
    "min": ("minimum",),
    "max": ("maximum",),
    "dob": ("birth", "date"),
    "pop": ("population",),
    "yr": ("year",),
    "ref": (),
}

_GROUPS = (
    "name title",
    "sex gender",
    "country nation nationality",
    "nationality citizenship",
    "city town",
    "location place",
    "salary wage pay earning",
    "price cost",
    "fee charge",
    "duration length runtime",
    "company firm",
    "description detail",
    "phone telephone cell",
    "year",
    "begin start",
    "end finish",
    "birth born birthday",
    "founded founder established",
    "id identifier ids",
    "code abbreviation",
    "student pupil",
    "teacher instructor professor faculty",
    "employee staff worker",
    "person people individual",
    "car vehicle automobile",
    "movie film",
    "airplane aircraft plane",
    "maximum max",
    "minimum min",
    "average mean",
    "number count",
    "points score",
    "score point rating",
    "capacity seating",
    "rank ranking position",
    "address street",
    "email mail",
    "date day",
    "type kind category",
    "population people",
    "region area",
    "hometown home",
    "author writer",
    "origin from",
    "quantity amount",
)
SYNONYMS: dict[str, frozenset[str]] = {}
for _group in _GROUPS:
    for _member in _group.split():
        SYNONYMS[_member] = SYNONYMS.get(_member, frozenset()) | frozenset(_group.split())

STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "and",
        "or",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "do",
        "does",
        "did",
        "has",
        "have",
        "had",
        "that",
        "which",
        "who",
        "whose",
        "what",
        "where",
        "when",
        "how",
        "many",
        "much",
        "all",
        "any",
        "each",
        "every",
        "per",
        "show",
        "list",
        "find",
        "give",
        "return",
        "tell",
        "me",
        "us",
        "count",
        "number",
        "there",
        "this",
        "these",
        "those",
        "their",
        "its",
        "it",
        "his",
        "her",
        "than",
        "more",
        "less",
        "not",
        "no",
        "as",
        "also",
        "please",
        "we",
        "i",
        "you",
        "can",
        "name",
        "names",
        "id",
        "ids",
        "most",
        "least",
        "different",
        "distinct",
        "between",
        "either",
        "both",
    ]
)


@dataclass(frozen=True, slots=True)
class Word:
    """A token of the question; `stem` is what it is compared by."""

    text: str
    stem: str
    kind: str

    @property
    def is_literal(self) -> bool:
        """Whether it stood in quotes, or is a date."""
        return self.kind in ("double", "curly", "single", "date", "mail")


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """The word in lower case and in the singular."""
    word = word.lower().removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


@lru_cache(maxsize=1024)
def tokens(question: str) -> tuple[Word, ...]:
    """The question as words, numbers, quoted literals and marks."""
    found = []
    for match in _TOKEN.finditer(_SHARED.sub(r"\1 name and \2 name", question.translate(_QUOTES))):
        kind = match.lastgroup or "word"
        text = match[kind].strip()
        found.append(Word(text, "" if kind in ("double", "curly", "single") else stem(text), kind))
    return tuple(found)


@lru_cache(maxsize=16384)
def identifier_words(name: str) -> tuple[str, ...]:
    """The stems in a table's or column's name: `StuID`, `stu_id` and `stuid` are all student + id."""
    if name.lower() in EXPANSIONS:
        return EXPANSIONS[name.lower()]
    words: list[str] = []
    for part in _PARTS.findall(name):
        words.extend(_split(part.lower()))
    return tuple(words)


def _split(part: str) -> tuple[str, ...]:
    if part in EXPANSIONS:
        return EXPANSIONS[part]
    if len(part) == 3 and part.endswith("id") and part not in ("bid", "kid", "did", "hid"):
        return (part[0], "id")
    for ending in _ENDINGS:
        head = part.removesuffix(ending)
        if head != part and len(head) > 2 and part not in ("update", "subtype", "period"):
            return (*_split(head), ending)
    return (stem(part),)


@lru_cache(maxsize=65536)
def likeness(asked: str, named: str) -> float:
    """How well a question's stem names an identifier's stem: 0 to 1."""
    if asked == named:
        return 1.0
    if named in SYNONYMS.get(asked, frozenset()):
        return 0.7
    short, long = sorted((asked, named), key=len)
    if len(short) > 3 and long.startswith(short) and not long.isdigit():
        return 0.8 if len(long) - len(short) < 4 else 0.65
    common = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return 0.6 if common >= 5 and common >= len(short) - 3 and len(long) - common < 6 else 0.0
