"""The structured tier for Gymnasium: choose one of the candidates; a mask says how many there are (docs/tier.md)."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from cluster.gym import explore_gym
from services.contracts.actions import ExploreAction, argument_of, make_action
from services.contracts.observation import Observation
from services.contracts.policy import Turn
from services.contracts.tasks import EpisodeLimits
from services.env_actor.gym import VERBS, ExploreGym
from services.policy.heuristic.looking import look_around
from services.policy.tier.candidates import MOST_CANDIDATES, candidates
from services.policy.tier.features import (
    CANDIDATE_FEATURES,
    HIGHEST,
    STATE_FEATURES,
    candidate_features,
    clipped,
    state_features,
)
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge, knowledge_of
from services.policy.tier.operations import Operation
from services.policy.tier.playing import action_of, result_of
from services.policy.tier.state import after

BUDGET = 30
"""Steps of an episode: looking around takes up to nine of them."""
Seen = dict[str, Any]


class StructuredGym(gymnasium.Env[Seen, np.int64]):
    """Discrete(max_candidates) actions over an explore episode, which looks around before its first observation.

    What looking around earns is added to the first step's reward, so that a return is the episode's reward. An index
    beyond the mask is a malformed action: it costs a step. A submission reads what is left of the result and answers.
    """

    def __init__(self, inner: ExploreGym, max_candidates: int = MOST_CANDIDATES, partials: bool = True) -> None:
        """Without `partials` nothing is run before the submission: the way a trained policy plans."""
        self.metadata = inner.metadata
        self.render_mode = inner.render_mode
        self.action_space = spaces.Discrete(max_candidates)
        self.observation_space = spaces.Dict(
            {
                "candidates": _box(max_candidates, len(CANDIDATE_FEATURES)),
                "state": _box(len(STATE_FEATURES)),
                "action_mask": spaces.MultiBinary(max_candidates),
            }
        )
        self._inner = inner
        self._most = max_candidates
        self._partials = partials
        self._turn: Turn | None = None
        self._state = State()
        self._offered: tuple[Operation, ...] = ()
        self._owed = 0.0
        self._ended: tuple[bool, bool, dict[str, Any]] = (True, False, {})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode: DESCRIBE what may matter, and look for the question's words among the cells."""
        super().reset(seed=seed)
        shown, info = self._inner.reset(seed=seed, options=options)
        first = Observation.model_validate(shown)
        self._turn = Turn(task_id=info["task_id"], seed=info["seed"], first=first, history=())
        self._state, self._owed, self._ended = State(), 0.0, (False, False, {})
        while (looking := look_around(self._turn)) is not None:
            self._act(looking)
        return self._see(), info

    def step(self, action: np.int64) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take one of the candidates."""
        if self._turn is None or self._ended[0] or self._ended[1]:
            raise gymnasium.error.ResetNeeded("reset before the first step, and after an episode is over")
        place = int(action)
        if place < len(self._offered):
            self._operate(self._offered[place])
        else:
            self._act(make_action("QUERY", ""))
        reward, self._owed = self._owed, 0.0
        terminated, truncated, info = self._ended
        return self._see(), reward, terminated, truncated, {**info, "operations": self._state.taken}

    def render(self) -> Any:
        """What the agent sees, as text."""
        return self._inner.render()

    def close(self) -> None:
        """End the sandbox."""
        self._inner.close()

    @property
    def offered(self) -> tuple[Operation, ...]:
        """The operations that the actions stand for, in order."""
        return self._offered

    def _operate(self, chosen: Operation) -> None:
        """Show the partial result; after a submission go on until the answer is given."""
        self._state = after(self._state, chosen)
        while True:
            shown = self._partials or self._state.over
            done = action_of(self._known_turn, self._state, self._knowledge.schema) if shown else None
            if done is not None:
                self._act(done)
            if done is None or not self._state.over or any(self._ended[:2]):
                return

    def _act(self, action: ExploreAction) -> None:
        """One step of the episode; its reward is owed to the next that asks."""
        verb = VERBS.index(action.kind) if action.kind in VERBS else VERBS.index("QUERY")
        argument = argument_of(action) if action.kind in VERBS else ""
        shown, reward, terminated, truncated, info = self._inner.step({"action_type": verb, "argument": argument})
        self._turn = self._known_turn.then(action, Observation.model_validate(shown))
        self._owed += reward
        self._ended = (terminated, truncated, info)

    @property
    def _known_turn(self) -> Turn:
        if self._turn is None:
            raise gymnasium.error.ResetNeeded("reset before the first step")
        return self._turn

    @property
    def _knowledge(self) -> Knowledge:
        return knowledge_of(self._known_turn)

    def _see(self) -> Seen:
        turn, knowledge, state = self._known_turn, self._knowledge, self._state
        self._offered = candidates(state, knowledge)[: self._most]
        vectors = np.zeros((self._most, len(CANDIDATE_FEATURES)), np.float32)
        vectors[: len(self._offered)] = candidate_features(state, knowledge, self._offered)
        mask = np.zeros(self._most, np.int8)
        mask[: len(self._offered)] = 1
        result = result_of(turn, state, knowledge.schema) if self._partials else None
        left = turn.observation.budget_remaining
        return {"candidates": clipped(vectors), "state": clipped(state_features(state, knowledge, result, left)),
                "action_mask": mask}  # fmt: skip


def structured_gym(
    tasks: str = "builtin",
    max_candidates: int = MOST_CANDIDATES,
    budget: int = BUDGET,
    render_mode: str | None = None,
    partials: bool = True,
) -> StructuredGym:
    """The environment over a task set folder, its URL, or 'builtin'. Raises BadInput."""
    return StructuredGym(explore_gym(tasks, render_mode, EpisodeLimits(budget=budget)), max_candidates, partials)


def _box(*shape: int) -> spaces.Box:
    return spaces.Box(-HIGHEST, HIGHEST, shape, np.float32)
