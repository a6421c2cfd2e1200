"""The explore environment as a Gymnasium environment: the episode's own code, without a server.

What ended an episode is kept apart as Gymnasium has it: `terminated` by an answer, `truncated` by a limit.
"""

import asyncio
import string
from collections.abc import Mapping
from typing import Any, cast

import gymnasium
from gymnasium import spaces

from services.contracts.actions import make_action
from services.contracts.grading import AnswerGrader
from services.contracts.observation import Observation
from services.contracts.tasks import EpisodeLimits
from services.env_actor.explore import ExploreEpisode
from services.env_actor.taking import MakeVerifier, Taker
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

VERBS = ("DESCRIBE", "SAMPLE", "QUERY", "ANSWER")
LONGEST = 1_000_000
SAMPLED = 40
"""Characters of the longest argument that the action space draws."""
Seen = dict[str, Any]


class AnyText(spaces.Text):
    """Text of any characters; samples are short and printable."""

    def __init__(self) -> None:
        super().__init__(max_length=SAMPLED, min_length=0, charset=string.ascii_letters + string.digits + " *'(),.=")

    def contains(self, x: Any) -> bool:
        """Whether it is text that is not longer than anything that is shown."""
        return isinstance(x, str) and len(x) <= LONGEST


class ExploreGym(gymnasium.Env[Seen, Mapping[str, Any]]):
    """One environment with a sandbox of its own. Close it when it is no longer used.

    `reset(options={"task_id": ...})` plays that task; otherwise the seed draws one. A step raises SandboxFault if the
    machine is broken; then nothing was taken.
    """

    def __init__(
        self,
        task_set: TaskSet,
        grader: AnswerGrader,
        limits: EpisodeLimits | None = None,
        render_mode: str | None = None,
        verifier: MakeVerifier | None = None,
    ) -> None:
        limits = limits or EpisodeLimits()
        self.metadata = {"render_modes": ["ansi"], "render_fps": 1}
        self.render_mode = render_mode
        self.action_space = spaces.Dict({"action_type": spaces.Discrete(len(VERBS)), "argument": AnyText()})
        self.observation_space = spaces.Dict(
            {
                **{name: AnyText() for name in ("question", "schema_info", "result", "error")},
                "step_count": spaces.Discrete(limits.budget + 2),
                "budget_remaining": spaces.Discrete(limits.budget + 1),
                "action_history": spaces.Sequence(AnyText()),
            }
        )
        self._task_set = task_set
        self._grader = grader
        self._limits = limits
        paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
        self._runner = asyncio.Runner()
        self._pool = SandboxPool(paths, SandboxLimits(children=2))
        self._verifier = None if verifier is None else verifier(task_set, grader, self._pool)
        self._episode: ExploreEpisode | None = None
        self._taker: Taker | None = None
        self._seen: Seen = {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        tasks = self._task_set.tasks
        drawn = list(tasks)[int(self.np_random.integers(len(tasks)))]
        task = tasks[str((options or {}).get("task_id", drawn))]
        episode_seed = int(self.np_random.integers(2**60))
        catalog = self._task_set.catalog(task.database)
        limits = self._limits
        self._episode = ExploreEpisode(task, catalog, self._grader, episode_seed, limits.budget, limits.structure)
        self._taker = Taker(self._episode, task, self._pool, self._limits.deadline_s, self._verifier)
        return self._show(self._episode.reset()), {"task_id": task.task_id, "seed": episode_seed}

    def step(self, action: Mapping[str, Any]) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take one action."""
        episode = self._episode
        if episode is None or self._taker is None or episode.over:
            raise gymnasium.error.ResetNeeded("reset before the first step, and after an episode is over")
        did = make_action(VERBS[int(action["action_type"])], str(action["argument"]))
        seen = self._show(cast(Observation, self._runner.run(self._taker.take(did)).observation))
        step = episode.steps[-1]
        info: dict[str, Any] = {"components": dict(step.components)}
        if episode.over:
            info |= {"verdict": episode.verdict(), "truncation": episode.truncation}
        return seen, step.reward, episode.terminated, episode.truncation is not None, info

    def render(self) -> Any:
        """What the agent sees, as text."""
        if self.render_mode != "ansi":
            return None
        return "\n".join(f"{name}: {value}" for name, value in self._seen.items())

    def close(self) -> None:
        """End the sandbox."""
        self._pool.close()
        self._runner.close()

    def _show(self, seen: Observation) -> Seen:
        self._seen = {**dict(seen), "action_history": tuple(seen.action_history)}
        return dict(self._seen)
