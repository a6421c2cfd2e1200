"""One messy database: four tables of a skin, spoilt as its disorder says."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from cluster.tasksets.analyst.skin import Skin
from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, TableData, table_of

DateStyle = Literal["iso", "european", "mixed"]
FIRST_YEAR, YEARS = 2021, 3
CITIES = ("Lyon", "Bergen", "Porto", "Hamburg", "Osaka", "Toronto", "Recife", "Nairobi")
STATUSES = ("Completed", "Completed", "Completed", "Pending", "Cancelled")
EUROPEAN = "%d/%m/%Y"


@dataclass(frozen=True)
class Disorder:
    """How messy a database is; each share is of a table's rows."""

    orphans: float
    repeats: float
    blanks: float
    recased: float
    sold: DateStyle

    @classmethod
    def drawn(cls, rng: random.Random) -> "Disorder":
        """A disorder of its own for each database; its hidden copies share it."""
        return cls(
            orphans=rng.uniform(0.03, 0.12),
            repeats=rng.uniform(0.04, 0.15),
            blanks=rng.uniform(0.02, 0.12),
            recased=rng.uniform(0.2, 0.6),
            sold=rng.choice(("iso", "european", "mixed")),
        )


def build(skin: Skin, disorder: Disorder, rng: random.Random) -> tuple[TableData, ...]:
    """The four tables; the same generator state gives the same rows."""
    first_person, first_item, first_order = (rng.randrange(100, 5_000) for _ in range(3))
    people = range(first_person, first_person + rng.randint(90, 130))
    items = range(first_item, first_item + rng.randint(40, 60))
    orders = _orders(skin, disorder, rng, people, first_order)
    numbers = [row[0] for row in orders.rows]
    return (
        _people(skin, disorder, rng, people),
        _items(skin, disorder, rng, items),
        orders,
        _lines(skin, disorder, rng, items, numbers),
    )


def _people(skin: Skin, disorder: Disorder, rng: random.Random, keys: range) -> TableData:
    names = words.people(rng, len(keys))
    cities = mess.recased(rng, mess.spread(rng, CITIES, len(keys)), disorder.recased)
    return table_of(
        skin.people,
        (
            Column(f"{skin.person}_id", "INTEGER", _shuffled(rng, keys)),
            Column("name", "VARCHAR", mess.recased(rng, names, disorder.recased / 2)),
            Column("city", "VARCHAR", mess.blanked(rng, cities, disorder.blanks)),
            Column("joined_on", "VARCHAR", mess.iso_dates(rng, date(2018, 1, 1), date(2020, 12, 31), len(keys))),
        ),
        primary_key=(f"{skin.person}_id",),
    )


def _items(skin: Skin, disorder: Disorder, rng: random.Random, keys: range) -> TableData:
    size = len(keys)
    categories = mess.recased(rng, mess.skewed(rng, skin.categories * 3, size), disorder.recased)
    prices = mess.money(rng, 3, 250, size)
    return table_of(
        skin.items,
        (
            Column(f"{skin.item}_id", "INTEGER", _shuffled(rng, keys)),
            Column("name", "VARCHAR", words.pairs(rng, words.ADJECTIVES, skin.goods, size)),
            Column("category", "VARCHAR", mess.blanked(rng, categories, disorder.blanks / 2)),
            Column("list_price", "DECIMAL(10,2)", prices),
            Column("cost", "DECIMAL(10,2)", mess.blanked(rng, mess.scaled(rng, prices, 0.3, 0.7), disorder.blanks)),
        ),
        primary_key=(f"{skin.item}_id",),
    )


def _orders(skin: Skin, disorder: Disorder, rng: random.Random, people: range, first: int) -> TableData:
    """Orders: some people have exactly three that are completed, which is what churn is about."""
    buyers = [person for person in people for _ in range(rng.choice((0, 1, 2, 3, 3, 3, 4, 5, 7)))]
    rng.shuffle(buyers)
    size = len(buyers)
    strangers = range(people.stop + 50, people.stop + 60)
    days = [_day(rng).isoformat() for _ in range(size)]
    statuses = mess.recased(rng, mess.spread(rng, STATUSES, size), disorder.recased)
    return table_of(
        skin.orders,
        (
            Column(f"{skin.order}_id", "INTEGER", _shuffled(rng, range(first, first + size))),
            Column(f"{skin.person}_id", "INTEGER", mess.orphaned(rng, buyers, strangers, disorder.orphans)),
            Column(skin.placed, "VARCHAR", mess.blanked(rng, days, disorder.blanks / 2)),
            Column("status", "VARCHAR", mess.blanked(rng, statuses, disorder.blanks / 2)),
            Column("shipping", "DECIMAL(10,2)", mess.blanked(rng, mess.money(rng, 1, 30, size), disorder.blanks)),
        ),
        primary_key=(f"{skin.order}_id",),
        foreign_keys=((f"{skin.person}_id", skin.people, f"{skin.person}_id"),),
    )


def _lines(skin: Skin, disorder: Disorder, rng: random.Random, items: range, orders: Sequence[object]) -> TableData:
    size = rng.randint(480, 620)
    sold = mess.orphaned(rng, mess.skewed(rng, items, size), range(items.stop + 50, items.stop + 60), disorder.orphans)
    lines = table_of(
        skin.lines,
        (
            Column(f"{skin.order}_id", "INTEGER", [rng.choice(orders) for _ in range(size)]),
            Column(f"{skin.item}_id", "INTEGER", sold),
            Column(skin.sold, "VARCHAR", _written(disorder.sold, rng, [_day(rng) for _ in range(size)])),
            Column("quantity", "INTEGER", mess.blanked(rng, mess.spread(rng, (1, 1, 2, 3, 4), size), disorder.blanks)),
            Column("unit_price", "DECIMAL(10,2)", mess.money(rng, 3, 250, size)),
        ),
        foreign_keys=(
            (f"{skin.order}_id", skin.orders, f"{skin.order}_id"),
            (f"{skin.item}_id", skin.items, f"{skin.item}_id"),
        ),
    )
    return mess.repeated(rng, lines, disorder.repeats)


def _day(rng: random.Random) -> date:
    return date(FIRST_YEAR, 1, 1) + timedelta(days=rng.randrange(365 * YEARS))


def _written(style: DateStyle, rng: random.Random, days: Sequence[date]) -> list[str]:
    patterns = {"iso": ("%Y-%m-%d",), "european": (EUROPEAN,), "mixed": ("%Y-%m-%d", EUROPEAN)}[style]
    return [day.strftime(rng.choice(patterns)) for day in days]


def _shuffled(rng: random.Random, keys: range) -> list[int]:
    return rng.sample(list(keys), len(keys))
