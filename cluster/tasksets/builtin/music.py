"""A music streaming service: artists, albums, tracks, listeners and plays."""

import random
from datetime import date

from cluster.tasksets.builtin import mess, words
from cluster.tasksets.builtin.domain import Column, Domain, QuestionSpec, TableData, table_of

_GENRES = ("Jazz", "Rock", "Folk", "Techno", "Classical", "Soul", "Ambient")
_PLANS = ("Free", "Free", "Premium", "Family", "Student")
_DEVICES = ("Phone", "Desktop", "Tablet", "Speaker", "Television")

QUESTIONS = (
    QuestionSpec("How many tracks are there?", "SELECT COUNT(*) FROM tracks", "integer", "easy"),
    QuestionSpec(
        "What is the average duration in seconds of tracks?", "SELECT AVG(duration_s) FROM tracks", "float", "easy"
    ),
    QuestionSpec(
        "List the names of artists from Brazil.", "SELECT name FROM artists WHERE country = 'Brazil'", "list", "easy"
    ),
    QuestionSpec(
        "What is the title of the longest track by duration? Break ties alphabetically by title.",
        "SELECT title FROM tracks WHERE duration_s IS NOT NULL ORDER BY duration_s DESC, title LIMIT 1",
        "string",
        "easy",
    ),
    QuestionSpec(
        "How many listeners have the premium plan, ignoring case and surrounding spaces?",
        "SELECT COUNT(*) FROM listeners WHERE LOWER(TRIM(plan)) = 'premium'",
        "integer",
        "easy",
    ),
    QuestionSpec(
        "Show the title and price of the four cheapest albums by price, cheapest first; "
        "break ties alphabetically by title.",
        "SELECT title, price FROM albums ORDER BY price, title LIMIT 4",
        "table",
        "easy",
        ordered=True,
    ),
    QuestionSpec(
        "Which artist has the most albums? Give the name; break ties alphabetically by name.",
        "SELECT r.name FROM artists r JOIN albums a ON a.artist_id = r.artist_id "
        "GROUP BY r.artist_id, r.name ORDER BY COUNT(*) DESC, r.name LIMIT 1",
        "string",
        "medium",
    ),
    QuestionSpec(
        "How many plays are recorded on each device, counting every row? Ignore case and surrounding spaces in the "
        "device, leave out plays without one, and show the device and the number of plays.",
        "SELECT LOWER(TRIM(device)) AS device, COUNT(*) AS plays FROM plays WHERE device IS NOT NULL "
        "GROUP BY LOWER(TRIM(device))",
        "table",
        "medium",
    ),
    QuestionSpec(
        "How many different listeners have played a jazz track, counting each listener id once? "
        "Ignore case and surrounding spaces in the genre.",
        "SELECT COUNT(DISTINCT p.listener_id) FROM plays p JOIN tracks t ON t.track_id = p.track_id "
        "WHERE LOWER(TRIM(t.genre)) = 'jazz'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "List the titles of the albums that have no tracks.",
        "SELECT a.title FROM albums a WHERE NOT EXISTS (SELECT 1 FROM tracks t WHERE t.album_id = a.album_id)",
        "list",
        "medium",
    ),
    QuestionSpec(
        "How many seconds in total were played by listeners from Japan, counting fully identical play rows once?",
        "SELECT CAST(SUM(p.seconds_played) AS BIGINT) FROM (SELECT DISTINCT * FROM plays) p "
        "JOIN listeners l ON l.listener_id = p.listener_id WHERE l.country = 'Japan'",
        "integer",
        "medium",
    ),
    QuestionSpec(
        "What is the total monthly fee of the listeners who have played at least one track on a tablet, counting each "
        "listener once? Ignore case and surrounding spaces in the device; fees are stored as text, so leave out those "
        "that are not numbers.",
        "SELECT SUM(TRY_CAST(l.monthly_fee AS DECIMAL(10, 2))) FROM listeners l WHERE EXISTS "
        "(SELECT 1 FROM plays p WHERE p.listener_id = l.listener_id AND LOWER(TRIM(p.device)) = 'tablet')",
        "float",
        "medium",
    ),
    QuestionSpec(
        "For each genre, ignoring case and surrounding spaces, what is the title of the track with the most recorded "
        "play rows? Show the genre and the title; leave out tracks without a genre, and where tracks tie take the "
        "first alphabetically by title.",
        "WITH counted AS (SELECT LOWER(TRIM(t.genre)) AS genre, t.title, COUNT(*) AS plays FROM tracks t "
        "JOIN plays p ON p.track_id = t.track_id WHERE t.genre IS NOT NULL "
        "GROUP BY LOWER(TRIM(t.genre)), t.track_id, t.title) SELECT genre, title FROM counted "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY genre ORDER BY plays DESC, title) = 1",
        "table",
        "hard",
    ),
    QuestionSpec(
        "List the names of the artists with at least two albums whose average album price is more than 10% above the "
        "average price of all albums.",
        "SELECT r.name FROM artists r JOIN albums a ON a.artist_id = r.artist_id GROUP BY r.artist_id, r.name "
        "HAVING COUNT(*) >= 2 AND AVG(a.price) > 1.1 * (SELECT AVG(price) FROM albums)",
        "list",
        "hard",
    ),
    QuestionSpec(
        "What percentage (0 to 100) of all recorded play rows belongs to the ten track ids with the most play rows? "
        "Where track ids tie, the lower one goes first.",
        "WITH counted AS (SELECT track_id, COUNT(*) AS plays FROM plays GROUP BY track_id), "
        "top AS (SELECT plays FROM counted ORDER BY plays DESC, track_id LIMIT 10) "
        "SELECT 100.0 * (SELECT SUM(plays) FROM top) / (SELECT COUNT(*) FROM plays)",
        "float",
        "hard",
    ),
    QuestionSpec(
        "How many listener ids have played tracks of at least four different genres? Ignore case and surrounding "
        "spaces in the genre; tracks without a genre do not count.",
        "SELECT COUNT(*) FROM (SELECT p.listener_id FROM plays p JOIN tracks t ON t.track_id = p.track_id "
        "GROUP BY p.listener_id HAVING COUNT(DISTINCT LOWER(TRIM(t.genre))) >= 4)",
        "integer",
        "hard",
    ),
)


def _artists(rng: random.Random) -> TableData:
    names = words.people(rng, rng.randint(44, 56))
    size = len(names)
    stage_names = [f"The {name.split()[1]} {rng.choice(words.NOUNS)}" for name in names]
    return table_of(
        "artists",
        (
            Column("artist_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("stage_name", "VARCHAR", mess.blanked(rng, stage_names, 0.3)),
            Column("country", "VARCHAR", mess.blanked(rng, mess.spread(rng, words.COUNTRIES, size), 0.06)),
            Column("active_since", "INTEGER", rng.choices(range(1965, 2021), k=size)),
        ),
        primary_key=("artist_id",),
    )


def _albums(rng: random.Random, artists: int) -> TableData:
    titles = words.titles(rng, rng.randint(105, 130))
    size = len(titles)
    prices = mess.money(rng, 5, 30, size)
    labels = words.firms(rng, ("Records",), 7)
    makers = mess.orphaned(rng, mess.skewed(rng, range(1, artists + 1), size), range(400, 406), 0.05)
    return table_of(
        "albums",
        (
            Column("album_id", "INTEGER", range(1, size + 1)),
            Column("title", "VARCHAR", titles),
            Column("artist_id", "INTEGER", makers),
            Column("label", "VARCHAR", mess.blanked(rng, mess.recased(rng, mess.spread(rng, labels, size)), 0.1)),
            Column("released_on", "VARCHAR", mess.iso_dates(rng, date(1970, 1, 1), date(2024, 6, 30), size)),
            Column("price", "DECIMAL(10,2)", prices),
            Column("list_price", "DECIMAL(10,2)", mess.scaled(rng, prices, 1.05, 1.5)),
        ),
        primary_key=("album_id",),
        foreign_keys=(("artist_id", "artists", "artist_id"),),
    )


def _tracks(rng: random.Random, albums: int) -> TableData:
    titles = words.titles(rng, rng.randint(200, 240))
    size = len(titles)
    ids = range(1, albums + 1)
    homes = mess.skewed(rng, mess.without(ids, rng.sample(ids, rng.randint(6, 10))), size)
    seconds = rng.choices(range(75, 720), k=size)
    return table_of(
        "tracks",
        (
            Column("track_id", "INTEGER", range(5001, size + 5001)),
            Column("title", "VARCHAR", titles),
            Column("album_id", "INTEGER", mess.blanked(rng, homes, 0.04)),
            Column("genre", "VARCHAR", mess.blanked(rng, mess.recased(rng, mess.spread(rng, _GENRES, size)), 0.06)),
            Column("duration_s", "INTEGER", mess.blanked(rng, seconds, 0.05)),
            Column("length_label", "VARCHAR", [f"{total // 60}:{total % 60:02d}" for total in seconds]),
        ),
        primary_key=("track_id",),
        foreign_keys=(("album_id", "albums", "album_id"),),
    )


def _listeners(rng: random.Random) -> TableData:
    names = words.people(rng, rng.randint(140, 180))
    size = len(names)
    born = mess.iso_dates(rng, date(1950, 1, 1), date(2010, 12, 31), size)
    return table_of(
        "listeners",
        (
            Column("listener_id", "INTEGER", range(1, size + 1)),
            Column("name", "VARCHAR", names),
            Column("username", "VARCHAR", [f"{name.split()[0].lower()}{rng.randint(1, 99)}" for name in names]),
            Column("plan", "VARCHAR", mess.recased(rng, mess.skewed(rng, _PLANS * 2, size))),
            Column("country", "VARCHAR", mess.blanked(rng, mess.spread(rng, words.COUNTRIES, size), 0.05)),
            Column("monthly_fee", "VARCHAR", mess.as_text(rng, mess.money(rng, 3, 18, size), 0.15)),
            Column("birthday", "VARCHAR", mess.blanked(rng, mess.mixed_formats(rng, born), 0.1)),
        ),
        primary_key=("listener_id",),
    )


def _plays(rng: random.Random, tracks: int, listeners: int) -> TableData:
    size = rng.randint(500, 530)
    played = mess.skewed(rng, range(5001, tracks + 5001), size)
    devices = mess.recased(rng, mess.skewed(rng, _DEVICES * 2, size))
    plays = table_of(
        "plays",
        (
            Column("listener_id", "INTEGER", mess.skewed(rng, range(1, listeners + 1), size)),
            Column("track_id", "INTEGER", mess.orphaned(rng, played, range(9901, 9920), 0.04)),
            Column("played_on", "VARCHAR", mess.iso_dates(rng, date(2024, 1, 1), date(2024, 12, 31), size)),
            Column("device", "VARCHAR", mess.blanked(rng, devices, 0.08)),
            Column("seconds_played", "INTEGER", rng.choices(range(5, 600), k=size)),
        ),
        foreign_keys=(("listener_id", "listeners", "listener_id"), ("track_id", "tracks", "track_id")),
    )
    return mess.repeated(rng, plays, 0.12)


def build(rng: random.Random) -> Domain:
    """The streaming service; the same generator state gives the same service."""
    artists = _artists(rng)
    albums = _albums(rng, len(artists.rows))
    tracks = _tracks(rng, len(albums.rows))
    listeners = _listeners(rng)
    plays = _plays(rng, len(tracks.rows), len(listeners.rows))
    return Domain("music", (artists, albums, tracks, listeners, plays), QUESTIONS)
