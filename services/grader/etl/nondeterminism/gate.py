"""The strict gate: which output columns may be left out of the comparison without a person.

Invariant: only a column that is made of no data at all, by the function that its name and its type speak of (class A),
or that calls itself a sample (class D). B, C and F never pass, nor does a column with a second class beside its own.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.contracts.etl import TableColumn
from services.grader.etl.nondeterminism.facts import CLOCKS, Facts, Relation, words

_EVENTS = (
    "run|load|loaded|insert|inserted|ingest|ingested|ingestion|process|processed|refresh|refreshed|snapshot|batch|"
    "audit|job|pipeline|etl|elt|dw|dwh|row_created|row_updated|generated|materialized|materialised|written|extracted"
)


@dataclass(frozen=True)
class Stamp:
    """Columns that differ by definition: what makes them, and what they are called and typed."""

    sources: frozenset[str]
    name: re.Pattern[str]
    type: re.Pattern[str]


STAMPS = (
    Stamp(
        CLOCKS,
        re.compile(rf"_?(?:etl_|elt_|dw_|dwh_|meta_)?(?:{_EVENTS})(?:_run|_load)?_(?:at|on|ts|time|timestamp|date|datetime|dt)(?:_utc)?"),
        re.compile(r"DATE|TIME|TIMESTAMP(?:_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|TIME WITH TIME ZONE|TIMESTAMPTZ"),
    ),
    Stamp(
        words("uuid gen_random_uuid uuidv4 uuidv7"),
        re.compile(rf"_?(?:(?:etl_|elt_|dw_|dwh_)?(?:{_EVENTS}|execution|trace|row|record)_)?(?:uuid|guid)|"
                   rf"_?(?:etl_|elt_|dw_|dwh_)?(?:{_EVENTS}|execution|trace)(?:_run)?_id"),
        re.compile(r"UUID|VARCHAR"),
    ),
    Stamp(
        words("random rand"),
        re.compile(r"_?(?:rand|random|rnd|shuffle)(?:_value|_number|_key|_order)?"),
        re.compile(r"DOUBLE|FLOAT"),
    ),
)  # fmt: skip
SAMPLE = Stamp(
    words("sample limit reservoir_quantile"),
    re.compile(r"(?:.*_)?sampled?(?:_.*)?"),
    re.compile(r"(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+,\d+\)|DOUBLE|FLOAT)"),
)


def excluded(columns: Iterable[TableColumn], relation: Relation) -> Iterator[str]:
    """The output columns that pass, in order."""
    for column in columns:
        if _passes(column, relation.columns[column.name.lower()]):
            yield column.name


def _passes(column: TableColumn, facts: Facts) -> bool:
    kinds = {finding.kind for finding in facts.findings}
    if kinds == {"A"} and facts.pure:
        return any(_says(stamp, column, facts) for stamp in STAMPS)
    return kinds == {"D"} and _says(SAMPLE, column, facts)


def _says(stamp: Stamp, column: TableColumn, facts: Facts) -> bool:
    made = all(finding.source in stamp.sources for finding in facts.findings)
    named = stamp.name.fullmatch(column.name.lower())
    return made and named is not None and stamp.type.fullmatch(column.type.upper()) is not None
