"""The Gymnasium adapter: Gymnasium's own checker passes, and an episode is the same as anywhere else."""

from collections.abc import Iterator

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import cluster.gym  # noqa: F401  registers the environment
from services.env_actor.gym import VERBS, ExploreGym
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from tests.conftest import Table


@pytest.fixture
def env(builtin: TaskSet) -> Iterator[gymnasium.Env]:
    made = gymnasium.make("assay/Explore-v0", tasks=str(builtin.folder))
    yield made
    made.close()


def action(text: str) -> dict[str, object]:
    kind, _, argument = text.partition(" ")
    return {"action_type": VERBS.index(kind), "argument": argument}


@pytest.mark.filterwarnings("error::UserWarning")
def test_gymnasiums_own_checker_passes(builtin: TaskSet) -> None:
    made = gymnasium.make("assay/Explore-v0", tasks=str(builtin.folder), render_mode="ansi")
    check_env(made.unwrapped)


def test_the_same_actions_earn_the_same_as_in_the_episode_itself(
    env: gymnasium.Env, table: Table, golds: dict[str, GoldAnswer]
) -> None:
    answer = submission(golds["retail-003"].gold_answer)
    texts = [
        "DESCRIBE orders",
        "SAMPLE orders",
        "QUERY SELECT count(*) FROM orders",
        "QUERY SELECT",
        f"ANSWER {answer}",
    ]
    _, info = env.reset(seed=5, options={"task_id": "retail-003"})
    taken = [env.step(action(text)) for text in texts]
    episode = table.play("retail-003", texts, seed=info["seed"])
    assert [(seen["result"], reward) for seen, reward, *_ in taken] == [(s.result, s.reward) for s in episode.steps]
    assert taken[-1][2:4] == (True, False)
    assert taken[-1][4]["verdict"] == "correct"


def test_an_episode_that_runs_out_of_steps_is_truncated_and_not_terminated(env: gymnasium.Env) -> None:
    env.reset(seed=1)
    flags = [env.step(action("QUERY SELECT 1"))[2:4] for _ in range(15)]
    assert flags == [(False, False)] * 14 + [(False, True)]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action("QUERY SELECT 1"))


def test_a_seed_draws_one_task_and_one_sample(env: gymnasium.Env) -> None:
    def first(seed: int) -> object:
        env.reset(seed=seed)
        inner = env.unwrapped
        assert isinstance(inner, ExploreGym)
        return env.step(action("SAMPLE customers"))[0]

    assert first(3) == first(3)
