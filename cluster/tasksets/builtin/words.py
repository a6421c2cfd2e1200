"""The words that names of people, places, firms and titles are put together from."""

import random
from collections.abc import Sequence

_FIRST = (
    "Ada", "Amir", "Bela", "Bruno", "Carla", "Chidi", "Dana", "Diego", "Elif", "Emil", "Farah", "Felix", "Greta",
    "Hugo", "Ines", "Ivan", "Jana", "Joao", "Kaya", "Kofi", "Lena", "Liam", "Mara", "Milan", "Nadia", "Noah",
    "Olga", "Omar", "Paula", "Pavel", "Rosa", "Samir", "Sofia", "Tariq", "Uma", "Viktor", "Wanda", "Yuki",
)  # fmt: skip
_LAST = (
    "Abbott", "Almeida", "Baker", "Castro", "Chen", "Duarte", "Eriksen", "Fischer", "Garcia", "Haddad", "Hansen",
    "Ito", "Jansen", "Keller", "Kovacs", "Lindgren", "Lopez", "Mensah", "Moreau", "Nakamura", "Novak", "Okafor",
    "Olsen", "Patel", "Petrov", "Quinn", "Rahman", "Rossi", "Sato", "Schmidt", "Silva", "Tanaka", "Torres",
    "Ueda", "Varga", "Weber", "Yilmaz", "Zhang",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Bitter", "Broken", "Copper", "Crimson", "Distant", "Early", "Electric", "Frozen", "Gentle", "Golden",
    "Hidden", "Hollow", "Ivory", "Lonely", "Lucky", "Midnight", "Northern", "Paper", "Quiet", "Restless", "Silver",
    "Southern", "Velvet", "Wandering", "Winter",
)  # fmt: skip
NOUNS = (
    "Anchor", "Bridge", "Canyon", "Compass", "Crown", "Delta", "Echo", "Ember", "Falcon", "Forest", "Garden", "Harbor",
    "Horizon", "Island", "Lantern", "Meadow", "Mirror", "Mountain", "Ocean", "Orchard", "River", "Shadow", "Signal",
    "Station", "Summit", "Window",
)  # fmt: skip
_TOWN_STARTS = ("Ash", "Birch", "Clear", "Elm", "Fair", "Glen", "Haz", "Kings", "Lake", "Mill", "Oak", "Stone", "Wind")
_TOWN_ENDS = ("bury", "dale", "field", "ford", "haven", "mouth", "port", "ton", "wick")
_FIRM_STARTS = ("Alpine", "Atlas", "Baltic", "Beacon", "Cobalt", "Delphi", "Evergreen", "Juniper", "Meridian", "Polar")
COUNTRIES = ("Brazil", "Canada", "France", "Germany", "Japan", "Kenya", "Norway", "Portugal")


def pairs(rng: random.Random, starts: Sequence[str], ends: Sequence[str], size: int, glue: str = " ") -> list[str]:
    """Different texts, each a start and an end."""
    return rng.sample([f"{start}{glue}{end}" for start in starts for end in ends], size)


def people(rng: random.Random, size: int) -> list[str]:
    """Different full names, at most 1,444 of them."""
    return pairs(rng, _FIRST, _LAST, size)


def towns(rng: random.Random, size: int) -> list[str]:
    """Different town names, at most 117 of them."""
    return pairs(rng, _TOWN_STARTS, _TOWN_ENDS, size, glue="")


def titles(rng: random.Random, size: int) -> list[str]:
    """Different titles of works, at most 676 of them."""
    return pairs(rng, ADJECTIVES, NOUNS, size)


def firms(rng: random.Random, trades: Sequence[str], size: int) -> list[str]:
    """Different firm names, each ending in one of the trades; at most ten to a trade."""
    return pairs(rng, _FIRM_STARTS, trades, size)


def email(name: str, host: str) -> str:
    """The address of a person at a host."""
    return f"{name.lower().replace(' ', '.')}@{host}"
