"""The evaluation agent of sqlenv-v1-spec appendix C, on the environment in this process and on ones that fail."""

import pytest

from cluster.green.agent import SQLGreenAgent, StepResult, TurnTaker
from cluster.green.local import LocalEnvironment
from services.contracts.actions import Answer, Describe, ExploreAction, Query
from services.contracts.errors import BadInput, PolicyFault, SandboxFault
from services.contracts.observation import Observation
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer
from services.policy.heuristic import HeuristicPolicy
from services.policy.random import RandomPolicy


class Oracle:
    """Knows the gold by its question."""

    def __init__(self, task_set: TaskSet, golds: dict[str, GoldAnswer]) -> None:
        self._golds = {task.question: golds[task.task_id] for task in task_set.tasks.values()}

    def select_action(self, observation: Observation) -> ExploreAction:
        gold = self._golds[observation.question]
        return Answer(value=submission(gold.gold_answer)) if observation.step_count else Query(sql=gold.gold_sql)


class Scripted:
    """Gives the same answer again and again."""

    def __init__(self, action: ExploreAction) -> None:
        self._action = action

    def select_action(self, observation: Observation) -> ExploreAction:
        return self._action


def test_an_oracle_solves_every_episode_in_two_steps(builtin: TaskSet, golds: dict[str, GoldAnswer]) -> None:
    with LocalEnvironment(builtin, seed=3) as env:
        scores = SQLGreenAgent(env, Oracle(builtin, golds)).evaluate(n_episodes=20)
    assert (scores["success_rate"], scores["avg_steps"], scores["faulted"]) == (1.0, 2.0, 0)
    assert 1.0 < (scores["avg_reward"] or 0) <= 1.5


def test_a_policy_of_assay_scores_as_the_appendix_says_and_the_same_seed_gives_the_same(builtin: TaskSet) -> None:
    found = []
    for _ in range(2):
        with LocalEnvironment(builtin, seed=1) as env:
            found.append(SQLGreenAgent(env, TurnTaker(RandomPolicy())).evaluate(8))
    assert found[0] == found[1]
    assert set(found[0]) == {"success_rate", "avg_reward", "avg_steps", "n_episodes", "graded", "faulted"}
    with LocalEnvironment(builtin, seed=1) as env:
        heuristic = SQLGreenAgent(env, TurnTaker(HeuristicPolicy())).evaluate(8)
    assert (heuristic["avg_reward"] or 0) > (found[0]["avg_reward"] or 0)


def test_every_task_is_played_once_before_one_comes_again(builtin: TaskSet) -> None:
    with LocalEnvironment(builtin, seed=2) as env:
        seen = []
        for _ in range(100):
            env.reset()
            assert env.task is not None
            seen.append(env.task.task_id)
    assert sorted(seen) == sorted(builtin.tasks)


def test_the_most_that_a_wrong_answer_can_earn_is_no_success() -> None:
    class Generous:
        def reset(self) -> StepResult:
            return StepResult(observation=seen(0), reward=None, done=False)

        def step(self, action: ExploreAction) -> StepResult:
            return StepResult(observation=seen(1), reward=0.5 + 1e-12, done=True)

    scores = SQLGreenAgent(Generous(), Scripted(Answer(value="x"))).evaluate(3)
    assert (scores["success_rate"], scores["n_episodes"]) == (0.0, 3)


def seen(step: int) -> Observation:
    return Observation(question="q", schema_info="tables: t", step_count=step)


class Broken:
    """Every second episode cannot be played."""

    def __init__(self) -> None:
        self._episodes = 0

    def reset(self) -> StepResult:
        self._episodes += 1
        return StepResult(observation=seen(0), reward=None, done=False)

    def step(self, action: ExploreAction) -> StepResult:
        if self._episodes % 2:
            raise SandboxFault("no child")
        return StepResult(observation=seen(1), reward=1.0, done=True)


def test_a_fault_is_counted_and_in_no_mean() -> None:
    scores = SQLGreenAgent(Broken(), Scripted(Answer(value="x"))).evaluate(4)
    assert (scores["success_rate"], scores["graded"], scores["faulted"]) == (1.0, 2, 2)

    class Silent:
        def select_action(self, observation: Observation) -> ExploreAction:
            raise PolicyFault("connection refused")

    none = SQLGreenAgent(Broken(), Silent()).evaluate(2)
    assert (none["success_rate"], none["avg_reward"], none["faulted"]) == (None, None, 2)


def test_an_environment_that_is_never_done_is_a_fault() -> None:
    class Endless:
        def reset(self) -> StepResult:
            return StepResult(observation=seen(0), reward=None, done=False)

        def step(self, action: ExploreAction) -> StepResult:
            return StepResult(observation=seen(1), reward=0.0, done=False)

    assert SQLGreenAgent(Endless(), Scripted(Describe(table="t"))).evaluate(1)["faulted"] == 1


def test_what_cannot_be_evaluated_is_refused(builtin: TaskSet) -> None:
    with pytest.raises(BadInput, match="at least one episode"):
        SQLGreenAgent(Broken(), Scripted(Answer(value="x"))).evaluate(0)
    with pytest.raises(BadInput, match="reset the environment first"):
        LocalEnvironment(builtin).step(Answer(value="x"))
