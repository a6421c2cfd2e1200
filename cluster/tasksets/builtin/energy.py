"""Energy management: sites, meters, readings, tariffs, contracts and work orders."""

import random
from datetime import date
from decimal import Decimal

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_REGIONS = ("North", "South", "East", "West")
_UTILITIES = ("Electricity", "Electricity", "Gas", "Heat", "Cooling")
_KINDS = ("Flat", "Night", "Solar", "Peak", "Green")
_JOBS = ("Inspection", "Repair", "Replacement", "Calibration")

QUESTIONS = (
    QuestionSpec("How many meters are there?", "SELECT COUNT(*) FROM meters", "integer", "easy"),
    QuestionSpec("What is the average cost of work orders?", "SELECT AVG(cost) FROM work_orders", "float", "easy"),
    QuestionSpec(
        "List the names of tariffs with a standing charge above 20.",
        "SELECT name FROM tariffs WHERE standing_charge > 20",
        "list",
        "easy",
    ),
    QuestionSpec(
        "What is the name of the site with the largest floor area? Break ties alphabetically by name.",
        "SELECT name FROM sites WHERE floor_area_m2 IS NOT NULL ORDER BY floor_area_m2 DESC, name LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "How many work orders have not been closed yet?",
        "SELECT COUNT(*) FROM work_orders WHERE closed_on IS NULL",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the name and unit rate of the five tariffs with the lowest unit rate, lowest first; "
        "break ties alphabetically by name.",
        "SELECT name, unit_rate FROM tariffs ORDER BY unit_rate, name LIMIT 5",
        "table",
        "easy",
        ordered=True,
    ),
    QuestionSpec(
        "Which site has the most meters? Give its name; break ties alphabetically by name.",
        "SELECT s.name FROM sites s JOIN meters m ON m.site_id = s.site_id "
        "GROUP BY s.site_id, s.name ORDER BY COUNT(*) DESC, s.name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many meters are there for each utility? Ignore case and surrounding spaces in the utility, and show the "
        "utility and the number of meters.",
        "SELECT LOWER(TRIM(utility)) AS utility, COUNT(*) AS meters FROM meters GROUP BY LOWER(TRIM(utility))",
        "table",
        "medium",
    ),
    QuestionSpec(
        "What is the total measured kWh of the readings at sites in the North region? Ignore case and surrounding "
        "spaces in the region and count fully identical reading rows once.",
        "SELECT SUM(r.kwh) FROM (SELECT DISTINCT * FROM readings) r JOIN meters m ON m.meter_id = r.meter_id "
        "JOIN sites s ON s.site_id = m.site_id WHERE LOWER(TRIM(s.region)) = 'north'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "How many recorded reading rows refer to a meter that is not in the meters table?",
        "SELECT COUNT(*) FROM readings r WHERE NOT EXISTS (SELECT 1 FROM meters m WHERE m.meter_id = r.meter_id)",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "List the names of the sites that have no contract.",
        "SELECT s.name FROM sites s WHERE NOT EXISTS (SELECT 1 FROM contracts c WHERE c.site_id = s.site_id)",
        "list",
        "medium",
    ),
    QuestionSpec(
        "What is the total annual fee of the contracts of sites in the South region? Ignore case and surrounding "
        "spaces in the region; fees are stored as text, so leave out those that are not numbers.",
        "SELECT SUM(TRY_CAST(c.annual_fee AS DECIMAL(10, 2))) FROM contracts c "
        "JOIN sites s ON s.site_id = c.site_id WHERE LOWER(TRIM(s.region)) = 'south'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "Which engineer closed the most work orders within 14 days of their opening? Ignore case and surrounding "
        "spaces in the engineer's name; break ties alphabetically.",
        "SELECT LOWER(TRIM(engineer)) AS engineer FROM work_orders WHERE closed_on IS NOT NULL "
        "AND DATE_DIFF('day', CAST(opened_on AS DATE), CAST(closed_on AS DATE)) <= 14 "
        "GROUP BY LOWER(TRIM(engineer)) ORDER BY COUNT(*) DESC, LOWER(TRIM(engineer)) LIMIT 1",
        "string",
        "hard",
    ),
    QuestionSpec(
        "List the names of the sites whose total measured kWh in 2024 is more than one and a half times the average "
        "total of a site. Use every recorded reading row of 2024 with a measured kWh, and average over the sites that "
        "have such a row.",
        "WITH totals AS (SELECT s.name, SUM(r.kwh) AS kwh FROM sites s JOIN meters m ON m.site_id = s.site_id "
        "JOIN readings r ON r.meter_id = m.meter_id WHERE r.read_on LIKE '2024-%' AND r.kwh IS NOT NULL "
        "GROUP BY s.site_id, s.name) SELECT name FROM totals WHERE kwh > 1.5 * (SELECT AVG(kwh) FROM totals)",
        "list",
        "hard",
    ),
    QuestionSpec(
        "For each utility, ignoring case and surrounding spaces, which meter has the highest total measured kWh over "
        "all recorded reading rows? Show the utility and the meter id; where meters tie, take the lowest meter id.",
        "WITH totals AS (SELECT LOWER(TRIM(m.utility)) AS utility, m.meter_id, SUM(r.kwh) AS kwh FROM meters m "
        "JOIN readings r ON r.meter_id = m.meter_id WHERE r.kwh IS NOT NULL "
        "GROUP BY LOWER(TRIM(m.utility)), m.meter_id) SELECT utility, meter_id FROM totals "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY utility ORDER BY kwh DESC, meter_id) = 1",
        "table",
        "hard",
    ),
    QuestionSpec(
        "How many meter ids in the readings have at least one reading of more than twice their own average measured "
        "kWh? Use every recorded row with a measured kWh.",
        "SELECT COUNT(DISTINCT meter_id) FROM (SELECT meter_id, kwh, AVG(kwh) OVER (PARTITION BY meter_id) AS usual "
        "FROM readings) WHERE kwh > 2 * usual",
        "integer",
        "hard",
    ),
)


def _sites(rng: random.Random) -> TableData:
    names = words.towns(rng, rng.randint(36, 46))
    size = len(names)
    areas = rng.choices(range(300, 25000), k=size)
    return table_of(
        "sites",
        (
            Column("site_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", [f"{name} Works" for name in names]),
            Column("display_name", "VARCHAR", mess.blanked(rng, [name.upper() for name in names], 0.15)),
            Column("region", "VARCHAR", mess.recased(rng, mess.spread(rng, _REGIONS, size))),
            Column("floor_area_m2", "INTEGER", mess.blanked(rng, areas, 0.1)),
        ),
        primary_key=("site_id",),
    )


def _meters(rng: random.Random, sites: int) -> TableData:
    size = rng.randint(85, 110)
    places = mess.orphaned(rng, mess.skewed(rng, range(1, sites + 1), size), range(210, 215), 0.05)
    return table_of(
        "meters",
        (
            Column("meter_id", "VARCHAR", [f"M-{number}" for number in range(1001, size + 1001)]),
            Column("site_id", "INTEGER", mess.blanked(rng, places, 0.03)),
            Column("utility", "VARCHAR", mess.recased(rng, mess.skewed(rng, _UTILITIES * 2, size))),
            Column("installed_on", "VARCHAR", mess.iso_dates(rng, date(2005, 1, 1), date(2022, 12, 31), size)),
            Column("is_active", "BOOLEAN", mess.blanked(rng, rng.choices((True, False), (4, 1), k=size), 0.05)),
        ),
        primary_key=("meter_id",),
        foreign_keys=(("site_id", "sites", "site_id"),),
    )


def _readings(rng: random.Random, meter_ids: list[object]) -> TableData:
    size = rng.randint(500, 530)
    kwh = [Decimal(round(rng.lognormvariate(5.5, 0.8) * 100)) / 100 for _ in range(size)]
    sources = mess.orphaned(
        rng, mess.skewed(rng, meter_ids, size), ["M-0001", "M-0002", "M-9999"], rng.uniform(0.03, 0.1)
    )
    readings = table_of(
        "readings",
        (
            Column("meter_id", "VARCHAR", sources),
            Column("read_on", "VARCHAR", mess.iso_dates(rng, date(2023, 7, 1), date(2024, 12, 31), size)),
            Column("kwh", "DECIMAL(10,2)", mess.blanked(rng, kwh, 0.08)),
            Column("estimated_kwh", "DECIMAL(10,2)", mess.scaled(rng, kwh, 0.7, 1.3)),
            Column("quality", "VARCHAR", mess.recased(rng, mess.spread(rng, ("Good", "Good", "Suspect"), size))),
        ),
        foreign_keys=(("meter_id", "meters", "meter_id"),),
    )
    return mess.repeated(rng, readings, 0.12)


def _tariffs(rng: random.Random) -> TableData:
    names = words.firms(rng, _KINDS, rng.randint(30, 38))
    size = len(names)
    charges = [*mess.money(rng, 21, 30, size // 4), *mess.money(rng, 3, 19, size - size // 4)]
    rates = [Decimal(rng.randint(600, 4200)) / 10000 for _ in range(size)]
    return table_of(
        "tariffs",
        (
            Column("tariff_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("unit_rate", "DECIMAL(10,4)", rates),
            Column("standing_charge", "DECIMAL(10,2)", mess.spread(rng, charges, size)),
            Column("currency", "VARCHAR", mess.blanked(rng, mess.spread(rng, ("EUR", "eur", "GBP"), size), 0.1)),
        ),
        primary_key=("tariff_id",),
    )


def _contracts(rng: random.Random, sites: int, tariffs: int) -> TableData:
    size = rng.randint(75, 95)
    ids = range(1, sites + 1)
    parties = mess.skewed(rng, mess.without(ids, rng.sample(ids, rng.randint(4, 8))), size)
    starts = mess.iso_dates(rng, date(2020, 1, 1), date(2023, 12, 31), size)
    terms = mess.skewed(rng, range(1, tariffs + 1), size)
    return table_of(
        "contracts",
        (
            Column("contract_id", "INTEGER", range(601, size + 601)),
            Column("site_id", "INTEGER", parties),
            Column("tariff_id", "INTEGER", mess.orphaned(rng, terms, range(90, 95), 0.06)),
            Column("start_date", "VARCHAR", starts),
            Column("end_date", "VARCHAR", mess.blanked(rng, mess.days_after(rng, starts, 200, 1500), 0.4)),
            Column("annual_fee", "VARCHAR", mess.as_text(rng, mess.money(rng, 100, 5000, size))),
        ),
        primary_key=("contract_id",),
        foreign_keys=(("site_id", "sites", "site_id"), ("tariff_id", "tariffs", "tariff_id")),
    )


def _work_orders(rng: random.Random, meter_ids: list[object]) -> TableData:
    size = rng.randint(160, 210)
    opened = mess.iso_dates(rng, date(2023, 1, 1), date(2024, 11, 30), size)
    closed = mess.days_after(rng, opened, 1, 40)
    staff = mess.recased(rng, mess.spread(rng, words.people(rng, 11), size))
    reported = mess.mixed_formats(rng, opened)
    return table_of(
        "work_orders",
        (
            Column("work_order_id", "INTEGER", range(1, size + 1)),
            Column("meter_id", "VARCHAR", rng.choices(meter_ids, k=size)),
            Column("job", "VARCHAR", mess.recased(rng, mess.spread(rng, _JOBS, size))),
            Column("engineer", "VARCHAR", staff),
            Column("reported_on", "VARCHAR", reported),
            Column("opened_on", "VARCHAR", opened),
            Column("closed_on", "VARCHAR", mess.blanked(rng, closed, rng.uniform(0.1, 0.25))),
            Column("cost", "DECIMAL(10,2)", mess.blanked(rng, mess.money(rng, 40, 1800, size), 0.08)),
        ),
        primary_key=("work_order_id",),
        foreign_keys=(("meter_id", "meters", "meter_id"),),
    )


def build(rng: random.Random) -> Domain:
    """The sites and their meters; the same generator state gives the same sites."""
    sites = _sites(rng)
    meters = _meters(rng, len(sites.rows))
    meter_ids = [row[0] for row in meters.rows]
    readings = _readings(rng, meter_ids)
    tariffs = _tariffs(rng)
    contracts = _contracts(rng, len(sites.rows), len(tariffs.rows))
    orders = _work_orders(rng, meter_ids)
    return Domain("energy", (sites, meters, readings, tariffs, contracts, orders), QUESTIONS)
