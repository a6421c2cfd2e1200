"""The structured tier in an episode: Gymnasium's checker passes, demonstrations are paid, and both tiers mix."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import cluster.gym  # noqa: F401  registers the environment
from cluster.structured_gym import StructuredGym
from cluster.tasksets.demonstrations import demonstrate, schema_of
from services.contracts.actions import Action, Query
from services.env_actor.taskset import TaskSet
from services.policy.tier.candidates import candidates
from services.policy.tier.demonstration import Demonstration
from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES, candidate_features
from services.policy.tier.frames import State
from services.policy.tier.playing import action_of, state_of
from services.policy.tier.policy import Choose, StructuredPolicy, at_random, planned
from services.policy.tier.state import after, step
from tests.conftest import Table

MOST = 256


@pytest.fixture
def env(builtin: TaskSet) -> Iterator[StructuredGym]:
    made = gymnasium.make("assay/Structured-v0", tasks=str(builtin.folder), max_candidates=MOST, render_mode="ansi")
    assert isinstance(made.unwrapped, StructuredGym)
    yield made.unwrapped
    made.close()


@pytest.fixture(scope="module")
def demonstrations(builtin: TaskSet) -> list[Demonstration]:
    async def collect() -> list[Demonstration]:
        return [one async for one in demonstrate(builtin) if isinstance(one, Demonstration)]

    return asyncio.run(collect())


@pytest.mark.filterwarnings("error::UserWarning")
def test_gymnasiums_own_checker_passes(env: StructuredGym) -> None:
    check_env(env)


def test_shapes_are_as_documented(env: StructuredGym) -> None:
    seen, _ = env.reset(seed=3)
    assert seen["candidates"].shape == (MOST, len(CANDIDATE_FEATURES))
    assert seen["state"].shape == (len(STATE_FEATURES),)
    assert seen["action_mask"].sum() == len(env.offered) > 0
    assert not seen["candidates"][len(env.offered) :].any()
    assert np.isfinite(seen["candidates"]).all()


def test_a_reachable_demonstration_is_paid_when_it_is_played(
    env: StructuredGym, demonstrations: list[Demonstration]
) -> None:
    verdicts = [_play(env, one) for one in demonstrations[::2]]
    reached = [verdict for verdict in verdicts if verdict is not None]
    assert len(reached) >= 18
    assert set(reached) == {"correct"}


def _play(env: StructuredGym, demonstration: Demonstration) -> str | None:
    """The verdict; None where an operation is not among the candidates."""
    env.reset(seed=1, options={"task_id": demonstration.task_id})
    info: dict[str, str] = {}
    for operation in demonstration.operations:
        if operation not in env.offered:
            return None
        _, _, terminated, _, info = env.step(np.int64(env.offered.index(operation)))
    assert terminated
    return info["verdict"]


def test_an_action_beyond_the_mask_costs_a_step_and_ends_nothing(env: StructuredGym) -> None:
    before, _ = env.reset(seed=3)
    env.step(np.int64(MOST - 1))  # this one's reward holds what looking around has earned
    seen, reward, terminated, truncated, _ = env.step(np.int64(MOST - 1))
    assert reward < 0
    assert (terminated, truncated) == (False, False)
    left = STATE_FEATURES.index("steps left")
    assert seen["state"][left] < before["state"][left]


def test_a_masked_random_walk_always_comes_to_an_end(env: StructuredGym) -> None:
    for seed in range(4):
        seen, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        over = False
        while not over:
            action = env.action_space.sample(mask=seen["action_mask"])
            seen, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated


@pytest.mark.parametrize("choose", [planned, at_random])
def test_the_structured_policies_keep_nothing_between_turns(table: Table, choose: Choose) -> None:
    for task_id in ("retail-000", "music-003"):
        kept = StructuredPolicy(choose)
        fresh = _played(table, task_id, [StructuredPolicy(choose) for _ in range(20)])
        assert fresh == _played(table, task_id, [kept] * 20)


def _played(table: Table, task_id: str, policies: list[StructuredPolicy]) -> list[Action]:
    """The actions of a whole episode, each of the next policy."""
    episode = table.start(task_id)
    turn = episode.turn(1)
    while not episode.over:
        (action,) = policies[len(episode.steps)].act([turn])
        sql = episode.statement(action)
        outcome = None if sql is None else table.run(table.task_set.tasks[task_id].database, sql)
        turn = turn.then(action, episode.apply(action, outcome))
    return [step.action for step in episode.steps]


def test_a_turn_leads_back_to_the_state_and_raw_sql_in_between_is_passed_over(
    table: Table, demonstrations: list[Demonstration]
) -> None:
    one = max(demonstrations, key=lambda each: len(each.operations))
    schema, state = schema_of(table.catalog(one.task_id)), State()
    turn = table.start(one.task_id).turn(1)
    for operation in one.operations[:-1]:
        state = step(state, operation, schema)
        action = action_of(turn, state, schema)
        if action is not None:
            turn = turn.then(action, turn.first).then(Query(sql="SELECT 1"), turn.first)
            assert state_of(turn, schema) == state


def test_the_documentation_names_every_feature_at_its_place() -> None:
    text = (Path(__file__).parent.parent / "docs" / "tier.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+)–(\d+) \| [^|]+ \| (.+) \|$", text, re.MULTILINE)
    documented = [(int(first), re.findall(r"`([^`]+)`", names)) for first, _, names in rows]
    places = [(first + i, name) for first, names in documented for i, name in enumerate(names)]
    features = [*enumerate(CANDIDATE_FEATURES), *enumerate(STATE_FEATURES)]
    assert [place for place, _ in places] == [place for place, _ in features]
    assert all(feature.endswith(name) for (_, name), (_, feature) in zip(places, features, strict=True))
    assert f"(max_candidates, {len(CANDIDATE_FEATURES)})" in text
    assert f"({len(STATE_FEATURES)},)" in text


def test_no_two_candidates_of_a_demonstration_look_the_same(
    builtin: TaskSet, demonstrations: list[Demonstration]
) -> None:
    for one in demonstrations[::5]:
        schema, state = schema_of(builtin.catalog(one.database)), State()
        knowledge = one.knowledge(schema)
        for operation in one.operations if one.reachable else ():
            offered = candidates(state, knowledge)
            vectors = candidate_features(state, knowledge, offered)
            chosen = vectors[offered.index(operation)]
            assert (vectors == chosen).all(axis=1).sum() == 1
            state = after(state, operation)
