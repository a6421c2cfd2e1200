"""Whoever plays how fast, every planned episode is handed out once, and neighbours stay together."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cluster.plan import Shares
from services.contracts.trajectory import EpisodeSpec


def planned(count: int) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(run_id="run", task_set_hash="hash", task_id="task", policy="random", seed=0, sample_index=number)
        for number in range(count)
    ]


@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_episode_is_handed_out_once_whoever_asks(count: int, size: int, players: int, rng: Random) -> None:
    specs = planned(count)
    shares, taken = Shares(specs, size, range(players)), list[EpisodeSpec]()
    while shares:
        taken.extend(shares.take(rng.randrange(players)))
    assert sorted(taken, key=specs.index) == specs


def test_players_that_are_equally_quick_play_a_run_of_neighbours_each() -> None:
    specs = planned(12)
    shares, taken = Shares(specs, 4, "ab"), {"a": list[EpisodeSpec](), "b": list[EpisodeSpec]()}
    while shares:
        for player, played in taken.items():
            played.extend(shares.take(player))
    assert taken == {"a": specs[:6], "b": specs[6:]}


def test_a_player_without_a_run_of_its_own_takes_half_of_what_the_slowest_has_left() -> None:
    specs = planned(9)
    shares = Shares(specs, 4, "ab")
    taken = [shares.take("b") for _ in range(5)]
    assert taken == [tuple(specs[5:9]), tuple(specs[2:5]), (specs[1],), (specs[0],), ()]
    assert not shares
