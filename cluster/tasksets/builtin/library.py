"""A city library: branches, authors, books, members, loans and fines."""

import random
from datetime import date

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_CITIES = ("Leeds", "York", "Bath", "Exeter", "Durham", "Lincoln")
_GENRES = ("History", "Poetry", "Crime", "Science", "Travel", "Romance", "Fantasy")
_FACULTIES = ("Engineering", "Medicine", "Law", "Arts", "Economics")
_REASONS = ("Late return", "Lost book", "Damage")

QUESTIONS = (
    QuestionSpec("How many books are there?", "SELECT COUNT(*) FROM books", "integer", "easy"),
    QuestionSpec("What is the average number of pages of books?", "SELECT AVG(page_count) FROM books", "float", "easy"),
    QuestionSpec(
        "List the names of branches in Leeds.", "SELECT name FROM branches WHERE city = 'Leeds'", "list", "easy"
    ),
    QuestionSpec(
        "How many authors have a pen name?",
        "SELECT COUNT(*) FROM authors WHERE pen_name IS NOT NULL",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "What is the title of the book with the most pages? Break ties alphabetically by title.",
        "SELECT title FROM books WHERE page_count IS NOT NULL ORDER BY page_count DESC, title LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "How many fines were issued in 2024? The issue dates are written day.month.year.",
        "SELECT COUNT(*) FROM fines WHERE issued_on LIKE '%.2024'",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the name and the city of the branches opened before 1970.",
        "SELECT name, city FROM branches WHERE opened_on < '1970-01-01'",
        "table",
        "easy",
    ),
    QuestionSpec(
        "List the names of the members who have never taken out a loan.",
        "SELECT m.name FROM members m WHERE NOT EXISTS (SELECT 1 FROM loans l WHERE l.member_id = m.member_id)",
        "list",
        "medium",
    ),
    QuestionSpec(
        "How many loans were made at branches in York? Count fully identical loan rows once.",
        "SELECT COUNT(*) FROM (SELECT DISTINCT * FROM loans) l JOIN branches b ON b.branch_id = l.branch_id "
        "WHERE b.city = 'York'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "What is the name of the author with the most books? Break ties alphabetically by name.",
        "SELECT a.name FROM authors a JOIN books b ON b.author_id = a.author_id "
        "GROUP BY a.author_id, a.name ORDER BY COUNT(*) DESC, a.name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many books are there of each genre? Ignore case and surrounding spaces in the genre, and show the genre "
        "and the number of books.",
        "SELECT LOWER(TRIM(genre)) AS genre, COUNT(*) AS books FROM books GROUP BY LOWER(TRIM(genre))",
        "table",
        "medium",
    ),
    QuestionSpec(
        "What is the total amount of the fines of members of the Engineering faculty? Ignore case and surrounding "
        "spaces in the faculty; amounts are stored as text, so leave out those that are not numbers.",
        "SELECT SUM(TRY_CAST(f.amount AS DECIMAL(10, 2))) FROM fines f JOIN members m ON m.member_id = f.member_id "
        "WHERE LOWER(TRIM(m.faculty)) = 'engineering'",
        "float",
        "medium",
    ),
    QuestionSpec(
        "Members of which faculty took out the most loans? Count every recorded loan row, ignore case and surrounding "
        "spaces in the faculty, leave out members without one, and break ties alphabetically.",
        "SELECT LOWER(TRIM(m.faculty)) AS faculty FROM members m JOIN loans l ON l.member_id = m.member_id "
        "WHERE m.faculty IS NOT NULL GROUP BY LOWER(TRIM(m.faculty)) ORDER BY COUNT(*) DESC, faculty LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "What is the total replacement cost of the books that have never been on loan?",
        "SELECT SUM(b.replacement_cost) FROM books b WHERE NOT EXISTS "
        "(SELECT 1 FROM loans l WHERE l.book_id = b.book_id)",
        "float",
        "medium",
    ),
    QuestionSpec(
        "How many members, told apart by their email whatever its case, have taken out loans on four or more "
        "different dates?",
        "SELECT COUNT(*) FROM (SELECT LOWER(m.email) FROM members m JOIN loans l ON l.member_id = m.member_id "
        "GROUP BY LOWER(m.email) HAVING COUNT(DISTINCT l.loaned_on) >= 4)",
        "integer",
        "hard",
    ),
    QuestionSpec(
        "Which five books were away for the most days in total? Add up the days from loan to return of their returned "
        "loans, counting fully identical loan rows once. Show the title and the days, most days first; break ties "
        "alphabetically by title.",
        "SELECT b.title, CAST(SUM(DATE_DIFF('day', CAST(l.loaned_on AS DATE), CAST(l.returned_on AS DATE))) AS BIGINT) "
        "AS days_away FROM (SELECT DISTINCT * FROM loans) l JOIN books b ON b.book_id = l.book_id "
        "WHERE l.returned_on IS NOT NULL GROUP BY b.book_id, b.title "
        "ORDER BY days_away DESC, b.title LIMIT 5",
        "table",
        "hard",
        ordered=True,
    ),
    QuestionSpec(
        "List the names of the authors whose books were taken out more than one and a half times as often as the "
        "average author's. Count every recorded loan row and average over the authors with at least one loan.",
        "WITH counted AS (SELECT a.name, COUNT(*) AS loans FROM authors a JOIN books b ON b.author_id = a.author_id "
        "JOIN loans l ON l.book_id = b.book_id GROUP BY a.author_id, a.name) "
        "SELECT name FROM counted WHERE loans > 1.5 * (SELECT AVG(loans) FROM counted)",
        "list",
        "hard",
    ),
)


def _branches(rng: random.Random) -> TableData:
    quarters = words.towns(rng, rng.randint(30, 36))
    size = len(quarters)
    old = mess.iso_dates(rng, date(1930, 1, 1), date(1969, 12, 31), size // 4)
    recent = mess.iso_dates(rng, date(1970, 1, 1), date(2019, 12, 31), size - size // 4)
    return table_of(
        "branches",
        (
            Column("branch_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", [f"{quarter} Library" for quarter in quarters]),
            Column("short_name", "VARCHAR", mess.blanked(rng, [quarter.lower() for quarter in quarters], 0.2)),
            Column("city", "VARCHAR", mess.spread(rng, _CITIES, size)),
            Column("opened_on", "VARCHAR", mess.spread(rng, [*old, *recent], size)),
        ),
        primary_key=("branch_id",),
    )


def _authors(rng: random.Random) -> TableData:
    names = words.people(rng, rng.randint(48, 60))
    size = len(names)
    pen_names = [f"{name[0]}. {rng.choice(words.NOUNS)}" for name in names]
    return table_of(
        "authors",
        (
            Column("author_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("pen_name", "VARCHAR", mess.blanked(rng, pen_names, rng.uniform(0.5, 0.8))),
            Column("nationality", "VARCHAR", mess.blanked(rng, mess.spread(rng, words.COUNTRIES, size), 0.1)),
            Column("birth_year", "INTEGER", mess.blanked(rng, rng.choices(range(1900, 1996), k=size), 0.1)),
        ),
        primary_key=("author_id",),
    )


def _books(rng: random.Random, authors: int) -> TableData:
    titles = words.titles(rng, rng.randint(175, 220))
    size = len(titles)
    prices = mess.money(rng, 6, 80, size)
    writers = mess.orphaned(rng, mess.skewed(rng, range(1, authors + 1), size), range(701, 710), 0.05)
    return table_of(
        "books",
        (
            Column("book_id", "INTEGER", range(1001, size + 1001)),
            Column("title", "VARCHAR", titles),
            Column("sort_title", "VARCHAR", [", ".join(reversed(title.lower().split())) for title in titles]),
            Column("author_id", "INTEGER", mess.blanked(rng, writers, 0.03)),
            Column("genre", "VARCHAR", mess.recased(rng, mess.spread(rng, _GENRES, size))),
            Column("published_year", "INTEGER", mess.blanked(rng, rng.choices(range(1930, 2024), k=size), 0.08)),
            Column("page_count", "INTEGER", mess.blanked(rng, rng.choices(range(60, 1200), k=size), 0.06)),
            Column("purchase_price", "DECIMAL(10,2)", prices),
            Column("replacement_cost", "DECIMAL(10,2)", mess.scaled(rng, prices, 1.1, 1.8)),
        ),
        primary_key=("book_id",),
        foreign_keys=(("author_id", "authors", "author_id"),),
    )


def _members(rng: random.Random, people: int, entered_twice: int) -> TableData:
    once = words.people(rng, people)
    names, emails = mess.doubled(rng, once, [words.email(name, "reads.example") for name in once], entered_twice)
    size = len(names)
    faculties = mess.recased(rng, mess.spread(rng, _FACULTIES, size))
    return table_of(
        "members",
        (
            Column("member_id", "INTEGER", range(4001, size + 4001)),
            Column("name", "VARCHAR", names),
            Column("email", "VARCHAR", emails),
            Column("faculty", "VARCHAR", mess.blanked(rng, faculties, 0.12)),
            Column("joined_on", "VARCHAR", mess.iso_dates(rng, date(2016, 1, 1), date(2022, 12, 31), size)),
        ),
        primary_key=("member_id",),
    )


def _loans(rng: random.Random, books: int, members: int, entered_twice: int, branches: int) -> TableData:
    size = rng.randint(475, 505)
    loaned = mess.iso_dates(rng, date(2023, 1, 1), date(2024, 12, 31), size)
    titles, cards = range(1001, books + 1001), range(4001, members + 4001)
    taken = mess.skewed(rng, mess.without(titles, rng.sample(titles, rng.randint(25, 40))), size)
    active = mess.without(cards, rng.sample(cards, rng.randint(5, 9)))
    readers = mess.skewed(rng, active + active[-entered_twice:] * 3, size)
    loans = table_of(
        "loans",
        (
            Column("book_id", "INTEGER", taken),
            Column("member_id", "INTEGER", mess.orphaned(rng, readers, range(8801, 8810), 0.03)),
            Column("branch_id", "INTEGER", mess.skewed(rng, range(1, branches + 1), size)),
            Column("loaned_on", "VARCHAR", loaned),
            Column("due_on", "VARCHAR", mess.days_after(rng, loaned, 21, 21)),
            Column("returned_on", "VARCHAR", mess.blanked(rng, mess.days_after(rng, loaned, 1, 45), 0.12)),
        ),
        foreign_keys=(
            ("book_id", "books", "book_id"),
            ("member_id", "members", "member_id"),
            ("branch_id", "branches", "branch_id"),
        ),
    )
    return mess.repeated(rng, loans, 0.18)


def _fines(rng: random.Random, members: int) -> TableData:
    size = rng.randint(140, 190)
    issued = mess.iso_dates(rng, date(2022, 7, 1), date(2025, 3, 31), size)
    return table_of(
        "fines",
        (
            Column("fine_id", "INTEGER", range(1, size + 1)),
            Column("member_id", "INTEGER", rng.choices(range(4001, members + 4006), k=size)),
            Column("amount", "VARCHAR", mess.as_text(rng, mess.money(rng, 1, 40, size))),
            Column("reason", "VARCHAR", mess.recased(rng, mess.spread(rng, _REASONS, size))),
            Column("issued_on", "VARCHAR", mess.rewritten(issued, "%d.%m.%Y")),
            Column("is_paid", "BOOLEAN", mess.blanked(rng, rng.choices((True, False), k=size), 0.1)),
        ),
        primary_key=("fine_id",),
        foreign_keys=(("member_id", "members", "member_id"),),
    )


def build(rng: random.Random) -> Domain:
    """The library; the same generator state gives the same library."""
    branches = _branches(rng)
    authors = _authors(rng)
    books = _books(rng, len(authors.rows))
    entered_twice = rng.randint(10, 14)
    members = _members(rng, rng.randint(125, 155), entered_twice)
    loans = _loans(rng, len(books.rows), len(members.rows), entered_twice, len(branches.rows))
    fines = _fines(rng, len(members.rows))
    return Domain("library", (branches, authors, books, members, loans, fines), QUESTIONS)
