"""The disorder of real databases, made to measure: each function spoils an exact share of what it is given."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from cluster.tasksets.builtin.domain import TableData

T = TypeVar("T")


def _positions(rng: random.Random, size: int, share: float) -> list[int]:
    return rng.sample(range(size), round(size * share))


def spread(rng: random.Random, options: Sequence[T], size: int) -> list[T]:
    """Each option about equally often, in random order."""
    values = [options[i % len(options)] for i in range(size)]
    rng.shuffle(values)
    return values


def skewed(rng: random.Random, options: Sequence[T], size: int) -> list[T]:
    """Each option at least once and some far more often, in random order; `size` is at least `len(options)`."""
    weights = [rng.random() ** 3 + 0.02 for _ in options]
    values = [*options, *rng.choices(options, weights, k=size - len(options))]
    rng.shuffle(values)
    return values


def without(options: Sequence[T], idle: Sequence[T]) -> list[T]:
    """The options that are not idle, in their own order."""
    return [option for option in options if option not in idle]


def blanked(rng: random.Random, values: Sequence[T], share: float) -> list[T | None]:
    """The values with a share of them NULL."""
    result: list[T | None] = list(values)
    for position in _positions(rng, len(result), share):
        result[position] = None
    return result


def orphaned(rng: random.Random, keys: Sequence[T], missing: Sequence[T], share: float) -> list[T]:
    """The keys with a share of them pointing at one of the `missing` keys, which no parent row has."""
    result = list(keys)
    for position in _positions(rng, len(result), share):
        result[position] = rng.choice(missing)
    return result


def recased(rng: random.Random, values: Sequence[str], share: float = 0.4) -> list[str]:
    """The texts with a share of them in another case or with stray spaces around them."""
    result = list(values)
    for position in _positions(rng, len(result), share):
        text = result[position]
        result[position] = rng.choice((text.upper(), text.lower(), text.title(), f"{text} ", f" {text.upper()}"))
    return result


def doubled(rng: random.Random, names: Sequence[str], emails: Sequence[str], count: int) -> tuple[list[str], list[str]]:
    """The people with `count` of them entered a second time at the end, in capitals."""
    again = rng.sample(range(len(names)), count)
    return [*names, *(names[i].upper() for i in again)], [*emails, *(emails[i].upper() for i in again)]


def repeated(rng: random.Random, table: TableData, share: float) -> TableData:
    """The table with a share of its rows recorded twice, in random order; for tables without a primary key."""
    rows = list(table.rows)
    rows.extend(rows[position] for position in _positions(rng, len(rows), share))
    rng.shuffle(rows)
    return replace(table, rows=tuple(rows))


def money(rng: random.Random, low: int, high: int, size: int) -> list[Decimal]:
    """Amounts with two decimals between `low` and `high` whole units."""
    return [Decimal(rng.randint(low * 100, high * 100)) / 100 for _ in range(size)]


def scaled(rng: random.Random, amounts: Sequence[Decimal], low: float, high: float) -> list[Decimal]:
    """Each amount times a factor of its own, to two decimals."""
    return [(amount * Decimal(str(rng.uniform(low, high)))).quantize(Decimal("0.01")) for amount in amounts]


def as_text(rng: random.Random, amounts: Sequence[Decimal], junk_share: float = 0.1) -> list[str | None]:
    """The amounts as text, a share of them being no number at all."""
    result: list[str | None] = [f"{amount:.2f}" for amount in amounts]
    for position in _positions(rng, len(result), junk_share):
        result[position] = rng.choice((None, "n/a", "", "unknown"))
    return result


def iso_dates(rng: random.Random, first: date, last: date, size: int) -> list[str]:
    """Dates between first and last, both included, as YYYY-MM-DD text."""
    span = (last - first).days
    return [(first + timedelta(days=rng.randint(0, span))).isoformat() for _ in range(size)]


def days_after(rng: random.Random, dates: Sequence[str], low: int, high: int) -> list[str]:
    """For each YYYY-MM-DD date another one, low to high days later."""
    return [(date.fromisoformat(day) + timedelta(days=rng.randint(low, high))).isoformat() for day in dates]


def rewritten(dates: Sequence[str], pattern: str) -> list[str]:
    """YYYY-MM-DD dates written by a strftime pattern instead."""
    return [date.fromisoformat(day).strftime(pattern) for day in dates]


def mixed_formats(rng: random.Random, dates: Sequence[str]) -> list[str]:
    """YYYY-MM-DD dates written in whatever way each clerk liked."""
    patterns = ("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y", "%Y%m%d")
    return [date.fromisoformat(day).strftime(rng.choice(patterns)) for day in dates]
