"""Air traffic: airlines, airports, aircraft, flights and bookings."""

import random
import string
from datetime import date

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_MODELS = ("A320", "B737", "E190", "ATR 72", "A350", "B787")
_STATUSES = ("Landed", "Landed", "Landed", "Landed", "Diverted", "Cancelled")
_CABINS = ("Economy", "Economy", "Economy", "Premium Economy", "Business", "First")

QUESTIONS = (
    QuestionSpec("How many flights are there?", "SELECT COUNT(*) FROM flights", "integer", "easy"),
    QuestionSpec(
        "What is the name of the airline founded first? Break ties alphabetically by name.",
        "SELECT name FROM airlines ORDER BY founded_year, name LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "List the names of airports in Canada.", "SELECT name FROM airports WHERE country = 'Canada'", "list", "easy"
    ),
    QuestionSpec(
        "What is the average delay in minutes of flights, leaving out flights with no recorded delay?",
        "SELECT AVG(delay_minutes) FROM flights",
        "float",
        "easy",
    ),
    QuestionSpec(
        "How many aircraft have more than 200 seats?",
        "SELECT COUNT(*) FROM aircraft WHERE seats > 200",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "How many flights were cancelled? Ignore case and surrounding spaces in the status.",
        "SELECT COUNT(*) FROM flights WHERE LOWER(TRIM(status)) = 'cancelled'",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the name and elevation of the five highest airports, highest first; break ties alphabetically by name "
        "and leave out airports of unknown elevation.",
        "SELECT name, elevation_m FROM airports WHERE elevation_m IS NOT NULL ORDER BY elevation_m DESC, name LIMIT 5",
        "table",
        "easy",
        ordered=True,
    ),
    QuestionSpec(
        "Which airline has the most flights? Give its name; break ties alphabetically by name.",
        "SELECT a.name FROM airlines a JOIN flights f ON f.airline_id = a.airline_id "
        "GROUP BY a.airline_id, a.name ORDER BY COUNT(*) DESC, a.name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many flights depart from airports in Japan?",
        "SELECT COUNT(*) FROM flights f JOIN airports p ON p.airport_code = f.origin WHERE p.country = 'Japan'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "How many different booking references are there in each cabin? Ignore case and surrounding spaces in the "
        "cabin, and show the cabin and the number of booking references.",
        "SELECT LOWER(TRIM(cabin)) AS cabin, COUNT(DISTINCT booking_ref) AS bookings FROM bookings "
        "GROUP BY LOWER(TRIM(cabin))",
        "table",
        "medium",
    ),
    QuestionSpec(
        "What is the total fare of the bookings on flights of airlines from Germany? Count fully identical booking "
        "rows once; fares are stored as text, so leave out those that are not numbers.",
        "SELECT SUM(TRY_CAST(b.fare AS DECIMAL(10, 2))) FROM (SELECT DISTINCT * FROM bookings) b "
        "JOIN flights f ON f.flight_id = b.flight_id JOIN airlines a ON a.airline_id = f.airline_id "
        "WHERE a.country = 'Germany'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "List the codes of the airports that are not the destination of any flight, in alphabetical order.",
        "SELECT p.airport_code FROM airports p WHERE NOT EXISTS "
        "(SELECT 1 FROM flights f WHERE f.destination = p.airport_code) ORDER BY p.airport_code",
        "list",
        "medium",
        ordered=True,
    ),
    QuestionSpec(
        "What is the average number of seats of the aircraft that belong to airlines from France?",
        "SELECT AVG(c.seats) FROM aircraft c JOIN airlines a ON a.airline_id = c.airline_id WHERE a.country = 'France'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "List the names, each once, of the airlines with a cancelled flight to an airport in Portugal. "
        "Ignore case and surrounding spaces in the flight status.",
        "SELECT DISTINCT a.name FROM airlines a JOIN flights f ON f.airline_id = a.airline_id "
        "JOIN airports p ON p.airport_code = f.destination "
        "WHERE p.country = 'Portugal' AND LOWER(TRIM(f.status)) = 'cancelled'",
        "list",
        "medium",
    ),
    QuestionSpec(
        "Of the flights with a recorded delay, what percentage (0 to 100) was delayed by more minutes than the average "
        "recorded delay of flights with the same airline id?",
        "WITH compared AS (SELECT delay_minutes, AVG(delay_minutes) OVER (PARTITION BY airline_id) AS usual "
        "FROM flights WHERE delay_minutes IS NOT NULL) "
        "SELECT 100.0 * COUNT(*) FILTER (delay_minutes > usual) / COUNT(*) FROM compared",
        "float",
        "hard",
    ),
    QuestionSpec(
        "List the names of the airlines whose average recorded delay is at least 25% above the average recorded delay "
        "of all flights.",
        "SELECT a.name FROM airlines a JOIN flights f ON f.airline_id = a.airline_id GROUP BY a.airline_id, a.name "
        "HAVING AVG(f.delay_minutes) >= 1.25 * (SELECT AVG(delay_minutes) FROM flights)",
        "list",
        "hard",
    ),
    QuestionSpec(
        "For each month of 2024 in order, show the month as YYYY-MM, the number of flights with a departure "
        "date in it, and the running total of flights since the start of 2024.",
        "WITH monthly AS (SELECT LEFT(departure_date, 7) AS month, COUNT(*) AS flights FROM flights "
        "WHERE departure_date LIKE '2024-%' GROUP BY month) "
        "SELECT month, flights, CAST(SUM(flights) OVER (ORDER BY month) AS BIGINT) AS running_total "
        "FROM monthly ORDER BY month",
        "table",
        "hard",
        ordered=True,
    ),
)


def _airlines(rng: random.Random) -> TableData:
    names = words.firms(rng, ("Air", "Airways", "Aviation", "Wings"), rng.randint(30, 36))
    size = len(names)
    return table_of(
        "airlines",
        (
            Column("airline_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("trade_name", "VARCHAR", mess.blanked(rng, [f"Fly {name.split()[0]}" for name in names], 0.2)),
            Column("country", "VARCHAR", mess.blanked(rng, mess.spread(rng, words.COUNTRIES, size), 0.05)),
            Column("founded_year", "INTEGER", rng.choices(range(1925, 2016), k=size)),
        ),
        primary_key=("airline_id",),
    )


def _airports(rng: random.Random) -> TableData:
    cities = words.towns(rng, rng.randint(40, 50))
    size = len(cities)
    letters = [a + b + c for a in "BCDFGKLM" for b in "AEIOU" for c in string.ascii_uppercase]
    kinds = rng.choices(("International", "Regional", "Field"), k=size)
    heights = rng.choices(range(1, 1900), k=size)
    return table_of(
        "airports",
        (
            Column("airport_code", "VARCHAR", rng.sample(letters, size)),
            Column("name", "VARCHAR", [f"{city} {kind}" for city, kind in zip(cities, kinds, strict=True)]),
            Column("city", "VARCHAR", mess.recased(rng, cities, 0.2)),
            Column("country", "VARCHAR", mess.spread(rng, words.COUNTRIES, size)),
            Column("elevation_m", "INTEGER", mess.blanked(rng, heights, 0.12)),
        ),
        primary_key=("airport_code",),
    )


def _aircraft(rng: random.Random, airlines: int) -> TableData:
    size = rng.randint(85, 115)
    tails = [f"{prefix}-{number}" for prefix in ("AX", "BZ", "QK") for number in range(100, 200)]
    owners = mess.orphaned(rng, mess.skewed(rng, range(1, airlines + 1), size), range(60, 66), 0.05)
    return table_of(
        "aircraft",
        (
            Column("tail_number", "VARCHAR", rng.sample(tails, size)),
            Column("airline_id", "INTEGER", owners),
            Column("model", "VARCHAR", mess.recased(rng, mess.spread(rng, _MODELS, size))),
            Column("seats", "INTEGER", rng.choices(range(70, 360, 5), k=size)),
            Column("first_flight", "VARCHAR", mess.iso_dates(rng, date(1998, 1, 1), date(2022, 12, 31), size)),
        ),
        primary_key=("tail_number",),
        foreign_keys=(("airline_id", "airlines", "airline_id"),),
    )


def _flights(rng: random.Random, airlines: int, codes: list[object], tails: list[object]) -> TableData:
    size = rng.randint(480, 580)
    carriers = mess.skewed(rng, range(1, airlines + 1), size)
    slowness = [rng.uniform(10, 45) for _ in range(airlines)]
    delays = [int(rng.expovariate(1 / slowness[carrier - 1])) for carrier in carriers]
    planes = mess.orphaned(rng, rng.choices(tails, k=size), ["ZZ-001", "ZZ-002"], 0.03)
    reached = mess.without(codes, rng.sample(codes, rng.randint(4, 7)))
    return table_of(
        "flights",
        (
            Column("flight_id", "INTEGER", range(1, size + 1)),
            Column("flight_number", "VARCHAR", [f"AS{number}" for number in rng.choices(range(100, 999), k=size)]),
            Column("airline_id", "INTEGER", carriers),
            Column("tail_number", "VARCHAR", mess.blanked(rng, planes, 0.06)),
            Column("origin", "VARCHAR", mess.spread(rng, codes, size)),
            Column("destination", "VARCHAR", mess.spread(rng, reached, size)),
            Column("departure_date", "VARCHAR", mess.iso_dates(rng, date(2023, 1, 1), date(2024, 12, 31), size)),
            Column("delay_minutes", "INTEGER", mess.blanked(rng, delays, 0.1)),
            Column("status", "VARCHAR", mess.recased(rng, mess.spread(rng, _STATUSES, size))),
        ),
        primary_key=("flight_id",),
        foreign_keys=(
            ("airline_id", "airlines", "airline_id"),
            ("tail_number", "aircraft", "tail_number"),
            ("origin", "airports", "airport_code"),
            ("destination", "airports", "airport_code"),
        ),
    )


def _bookings(rng: random.Random, flights: int) -> TableData:
    size = rng.randint(470, 505)
    booked = mess.iso_dates(rng, date(2022, 10, 1), date(2024, 12, 31), size)
    bookings = table_of(
        "bookings",
        (
            Column("booking_ref", "VARCHAR", [f"R{number}" for number in rng.sample(range(10000, 99999), size)]),
            Column("flight_id", "INTEGER", mess.orphaned(rng, rng.choices(range(1, flights + 1), k=size), [0], 0.04)),
            Column("passenger_name", "VARCHAR", mess.recased(rng, words.people(rng, size), 0.2)),
            Column("cabin", "VARCHAR", mess.recased(rng, mess.spread(rng, _CABINS, size))),
            Column("fare", "VARCHAR", mess.as_text(rng, mess.money(rng, 40, 1500, size))),
            Column("tax", "DECIMAL(10,2)", mess.blanked(rng, mess.money(rng, 5, 90, size), 0.08)),
            Column("booked_on", "VARCHAR", mess.mixed_formats(rng, booked)),
        ),
        foreign_keys=(("flight_id", "flights", "flight_id"),),
    )
    return mess.repeated(rng, bookings, 0.18)


def build(rng: random.Random) -> Domain:
    """The air traffic; the same generator state gives the same flights."""
    airlines = _airlines(rng)
    airports = _airports(rng)
    aircraft = _aircraft(rng, len(airlines.rows))
    codes, tails = [row[0] for row in airports.rows], [row[0] for row in aircraft.rows]
    flights = _flights(rng, len(airlines.rows), codes, tails)
    bookings = _bookings(rng, len(flights.rows))
    return Domain("airline", (airlines, airports, aircraft, flights, bookings), QUESTIONS)
