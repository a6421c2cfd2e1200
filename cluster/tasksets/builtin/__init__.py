"""The built-in task set: databases and questions made by code from a seed, so that no data file is shipped."""

import random

from cluster.tasksets.builtin import airline, energy, hospital, library, music, retail
from cluster.tasksets.builtin.domain import Domain

_BUILDERS = (
    ("retail", retail.build),
    ("hospital", hospital.build),
    ("airline", airline.build),
    ("library", library.build),
    ("music", music.build),
    ("energy", energy.build),
)


def build_domains(seed: int) -> tuple[Domain, ...]:
    """Six databases and their 100 questions; the same seed gives the same content, each domain its own stream."""
    return tuple(build(random.Random(f"{seed}/{name}")) for name, build in _BUILDERS)
