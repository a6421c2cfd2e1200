"""The three kinds of tasks over a shop: what is asked, the gold query, and the query that is to be mended."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cluster.tasksets.analyst.shop import CITIES, EUROPEAN, FIRST_YEAR, YEARS, DateStyle, Disorder
from cluster.tasksets.analyst.skin import Skin
from services.contracts.tasks import Difficulty
from services.grader.analyst.gold import KeyColumn, Kind


@dataclass(frozen=True)
class AnalystQuestion:
    """A task before its gold is frozen. `shown_sql` is the query in the question, if it shows one."""

    kind: Kind
    difficulty: Difficulty
    question: str
    gold_sql: str
    keys: tuple[KeyColumn, KeyColumn]
    shown_sql: str = ""


def questions(skin: Skin, disorder: Disorder, rng: random.Random, instance: int) -> tuple[AnalystQuestion, ...]:
    """One task of each kind; broken joins take turns in their form."""
    joins: tuple[Callable[[Skin, random.Random], AnalystQuestion], ...] = (_join_orders, _join_lines, _join_three)
    return joins[instance % len(joins)](skin, rng), _revenue(skin, disorder, rng), _churn(skin, rng)


def _keys(left: str, right: str, column: str) -> tuple[KeyColumn, KeyColumn]:
    return KeyColumn(table=left, column=column), KeyColumn(table=right, column=column)


def _broken(purpose: str, broken: str, keep: str) -> str:
    return (
        f"This query was meant to list {purpose}, but the comma between its tables makes a Cartesian product:\n"
        f"{broken}\n"
        f"Rewrite it with INNER JOIN ... ON. Keep its columns in their order and its filter. {keep}"
    )


def _join_orders(skin: Skin, rng: random.Random) -> AnalystQuestion:
    person, order = f"{skin.person}_id", f"{skin.order}_id"
    columns = f"o.{order}, p.name, o.{skin.placed}"
    where = f"WHERE LOWER(TRIM(o.status)) = '{rng.choice(('completed', 'pending', 'cancelled'))}'"
    broken = f"SELECT {columns} FROM {skin.people} p, {skin.orders} o {where}"
    gold = f"SELECT {columns} FROM {skin.people} p INNER JOIN {skin.orders} o ON o.{person} = p.{person} {where}"
    purpose = f"each {skin.order} of that status with the {skin.person} who placed it"
    keep = f"A row of {skin.orders} whose {skin.person} is unknown is left out."
    return AnalystQuestion(
        "fix_broken_join", "easy", _broken(purpose, broken, keep), gold, _keys(skin.orders, skin.people, person), broken
    )


def _join_lines(skin: Skin, rng: random.Random) -> AnalystQuestion:
    item = f"{skin.item}_id"
    columns = f"l.{skin.sold}, i.name, l.quantity, l.unit_price"
    where = f"WHERE l.quantity >= {rng.choice((2, 3, 4))}"
    broken = f"SELECT {columns} FROM {skin.lines} l, {skin.items} i {where}"
    gold = f"SELECT {columns} FROM {skin.lines} l INNER JOIN {skin.items} i ON i.{item} = l.{item} {where}"
    purpose = f"each {skin.line.replace('_', ' ')} of that quantity with its {skin.item}"
    keep = f"Every recorded row counts, twice if it was recorded twice; unknown {_plural(skin.item)} are left out."
    return AnalystQuestion(
        "fix_broken_join", "easy", _broken(purpose, broken, keep), gold, _keys(skin.lines, skin.items, item), broken
    )


def _join_three(skin: Skin, rng: random.Random) -> AnalystQuestion:
    person, order = f"{skin.person}_id", f"{skin.order}_id"
    columns = f"p.name, o.{order}, l.unit_price"
    where = f"WHERE LOWER(TRIM(p.city)) = '{rng.choice(CITIES).lower()}'"
    broken = f"SELECT {columns} FROM {skin.people} p, {skin.orders} o, {skin.lines} l {where}"
    gold = (
        f"SELECT {columns} FROM {skin.people} p INNER JOIN {skin.orders} o ON o.{person} = p.{person} "
        f"INNER JOIN {skin.lines} l ON l.{order} = o.{order} {where}"
    )
    purpose = f"what {_plural(skin.person)} of that city paid in their {_plural(skin.order)}, row by row"
    keep = "Every recorded row counts, twice if it was recorded twice; rows without a partner are left out."
    return AnalystQuestion(
        "fix_broken_join", "easy", _broken(purpose, broken, keep), gold, _keys(skin.orders, skin.people, person), broken
    )


def _revenue(skin: Skin, disorder: Disorder, rng: random.Random) -> AnalystQuestion:
    item = f"{skin.item}_id"
    quarter, year = rng.randint(1, 4), FIRST_YEAR + rng.randrange(YEARS)
    day = f"l.{skin.sold}"
    parsed = f"TRY_STRPTIME({day}, {_formats(disorder.sold)})"
    months = f"TIMESTAMP '{year}-{3 * quarter - 2:02d}-01'"
    gold = (
        f"SELECT LOWER(TRIM(i.category)) AS category, SUM(l.quantity * l.unit_price) AS revenue "
        f"FROM (SELECT DISTINCT * FROM {skin.lines}) l INNER JOIN {skin.items} i ON i.{item} = l.{item} "
        f"WHERE {parsed} >= {months} AND {parsed} < {months} + INTERVAL 3 MONTH AND i.category IS NOT NULL "
        f"GROUP BY LOWER(TRIM(i.category)) ORDER BY revenue DESC LIMIT 1"
    )
    question = (
        f"Which category of {skin.items} had the highest revenue in the {_ORDINALS[quarter - 1]} quarter of {year}? "
        f"Show the category in lower case without outer spaces, and its revenue, in this order; only the first row "
        f"counts. Revenue is quantity times unit price, summed over {skin.lines}, by {skin.sold}"
        f"{_dates_said(disorder.sold)}. Some rows were recorded twice by mistake: count fully identical ones once. "
        f"Leave out rows without a quantity, and those whose {skin.item} or category is unknown."
    )
    return AnalystQuestion("category_revenue", "medium", question, gold, _keys(skin.lines, skin.items, item))


def _churn(skin: Skin, rng: random.Random) -> AnalystQuestion:
    person, order = f"{skin.person}_id", f"{skin.order}_id"
    year = FIRST_YEAR + rng.randrange(YEARS)
    slow, lean = _churn_sql(skin, year, fat=True), _churn_sql(skin, year, fat=False)
    question = (
        f"Which {skin.people} churned after their third completed {skin.order}: they have exactly three with a "
        f"date, and the third was in {year}? This query finds them, slowly:\n{slow}\n"
        f"Give the same rows at less cost: drop each DISTINCT that is not needed, and replace LIKE by comparisons that "
        f"the engine can use. {person} is unique in {skin.people}, {order} in {skin.orders}; {skin.placed} is "
        "YYYY-MM-DD or NULL."
    )
    return AnalystQuestion("churn_analysis", "hard", question, lean, _keys(skin.orders, skin.people, person), slow)


def _churn_sql(skin: Skin, year: int, fat: bool) -> str:
    """Ranks each person's orders by state; the fat are DISTINCT on rows that differ, and LIKE on columns put together,
    which the engine cannot take to where the rows come from."""
    person, order, placed = f"{skin.person}_id", f"{skin.order}_id", skin.placed
    distinct = "DISTINCT " if fat else ""
    dated = f"o.{placed} LIKE '20%'" if fat else f"o.{placed} IS NOT NULL"
    churned = (
        f"CONCAT_WS('/', r.state, r.nth, r.total, r.{placed}) LIKE 'completed/3/3/{year}-%'"
        if fat
        else f"r.state = 'completed' AND r.nth = 3 AND r.total = 3 "
        f"AND r.{placed} >= '{year}-01-01' AND r.{placed} < '{year + 1}-01-01'"
    )
    group = f"PARTITION BY o.{person}, o.state"
    return (
        f"SELECT {distinct}p.{person}, p.name FROM {skin.people} p INNER JOIN "
        f"(SELECT {distinct}o.{order}, o.{person}, o.state, o.{placed}, "
        f"ROW_NUMBER() OVER ({group} ORDER BY o.{placed}, o.{order}) AS nth, COUNT(*) OVER ({group}) AS total "
        f"FROM (SELECT {distinct}{order}, {person}, {placed}, LOWER(TRIM(status)) AS state FROM {skin.orders}) o "
        f"WHERE {dated}) r ON r.{person} = p.{person} WHERE {churned}"
    )


_ORDINALS = ("first", "second", "third", "fourth")


def _formats(style: DateStyle) -> str:
    return {"iso": "'%Y-%m-%d'", "european": f"'{EUROPEAN}'", "mixed": f"['%Y-%m-%d', '{EUROPEAN}']"}[style]


def _dates_said(style: DateStyle) -> str:
    said = {"iso": "YYYY-MM-DD", "european": "DD/MM/YYYY", "mixed": "YYYY-MM-DD or DD/MM/YYYY"}[style]
    return f", which is text, {said}"


def _plural(noun: str) -> str:
    """The noun for several, in plain words."""
    spoken = noun.replace("_", " ")
    return spoken[:-1] + "ies" if spoken.endswith("y") else f"{spoken}s"
