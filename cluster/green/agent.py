"""The evaluation agent of sqlenv-v1-spec appendix C: N episodes of any environment with reset and step.

Invariant: an episode that the machine could not play is counted as faulted, and is in no mean.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypedDict

from services.contracts.actions import ExploreAction, SQLAction
from services.contracts.errors import BadInput, Infrastructure
from services.contracts.observation import Observation
from services.contracts.policy import AnyPolicy, Decided, Exchange, Turn, action_of
from services.contracts.record import Record

CORRECT_ABOVE = 0.65
"""A right answer comes to at least 0.8, a wrong one to at most 0.5; the appendix says 0.5, which a sum of floats of
exactly that reward may exceed."""
STEPS_MOST = 2_000
"""An environment that is not over by then never will be: the budget of an episode is at most 1,000."""


class StepResult(Record):
    """What an environment gives back: what the agent sees, what the last step earned, and whether that was all."""

    observation: Observation
    reward: float | None
    done: bool


class Environment(Protocol):
    """Plays one episode after another. Raises Infrastructure if it cannot."""

    def reset(self) -> StepResult:
        """The first observation of the next episode."""
        ...

    def step(self, action: ExploreAction) -> StepResult:
        """What came of one action."""
        ...


class ActionChooser(Protocol):
    """What the appendix calls a policy. A `step_count` of 0 tells it that an episode begins."""

    def select_action(self, observation: Observation) -> ExploreAction:
        """The next action. Raises PolicyFault."""
        ...


class Scores(TypedDict):
    """Means over graded episodes, None without one; n_episodes = graded + faulted. `avg_steps` counts the answer."""

    success_rate: float | None
    avg_reward: float | None
    avg_steps: float | None
    n_episodes: int
    graded: int
    faulted: int


class SQLGreenAgent:
    """Runs episodes with a given policy (random, heuristic, a served model …) and reports what they came to."""

    def __init__(self, env_client: Environment, policy: ActionChooser) -> None:
        self._env = env_client
        self._policy = policy

    def evaluate(self, n_episodes: int = 100) -> Scores:
        """Play `n_episodes`. Raises BadInput if that is less than one."""
        if n_episodes < 1:
            raise BadInput(f"n_episodes is {n_episodes}: at least one episode must be played")
        played = [self._episode() for _ in range(n_episodes)]
        graded = [one for one in played if one is not None]
        return Scores(
            success_rate=_mean([float(reward > CORRECT_ABOVE) for reward, _ in graded]),
            avg_reward=_mean([reward for reward, _ in graded]),
            avg_steps=_mean([float(steps) for _, steps in graded]),
            n_episodes=n_episodes,
            graded=len(graded),
            faulted=n_episodes - len(graded),
        )

    def _episode(self) -> tuple[float, int] | None:
        """Total reward and steps; None for a fault."""
        try:
            return self._play()
        except Infrastructure:
            return None

    def _play(self) -> tuple[float, int]:
        result, total = self._env.reset(), 0.0
        for _ in range(STEPS_MOST):
            if result.done:
                return total, result.observation.step_count
            result = self._env.step(self._policy.select_action(result.observation))
            total += result.reward or 0.0
        raise Infrastructure(f"the environment was not done after {STEPS_MOST} steps")


class TurnTaker:
    """A policy of Assay as the appendix wants one: it remembers the episode, which the policy itself does not."""

    def __init__(self, policy: AnyPolicy, seed: int = 0) -> None:
        self._policy = policy
        self._seed = seed
        self._episodes = 0
        self._turn: Turn | None = None
        self._last: ExploreAction | None = None

    def select_action(self, observation: Observation) -> ExploreAction:
        """The policy's action for the episode so far."""
        self._turn = self._next_turn(observation)
        given = self._policy.act([self._turn])
        action = action_of(*(given if isinstance(given, list) else asyncio.run(_awaited(given))))
        if isinstance(action, SQLAction):
            raise ValueError("the policy answered an explore turn with an SQL action")
        self._last = action
        return action

    def _next_turn(self, observation: Observation) -> Turn:
        if observation.step_count == 0 or self._turn is None or self._last is None:
            self._episodes += 1
            seed = self._seed * 1_000_003 + self._episodes
            return Turn(task_id="", seed=seed, first=observation, history=())
        exchange = Exchange(action=self._last, observation=observation)
        return self._turn.model_copy(update={"history": (*self._turn.history, exchange)})


async def _awaited(given: Awaitable[Sequence[Decided]]) -> Sequence[Decided]:
    return await given


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
