"""What a run's models would take, before one is asked: by what an earlier run took, or by the sizes of its prompts."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from statistics import fmean

from cluster.config import RolloutConfig
from cluster.evaluation.attempts import Attempt, read_attempts
from cluster.models import settings_of
from cluster.run import RunFolder
from services.contracts.policy import Price, Usage
from services.contracts.record import Record
from services.contracts.trajectory import EpisodeSpec
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.episode import episode_of
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.policy.llm.prompting import Prompts
from services.policy.llm.settings import ModelSettings, is_model
from services.policy.llm.tools import tools_of
from services.policy.llm.transcript import BYTES_A_TOKEN, Transcript, bytes_of, setting_of

STEPS_ASSUMED = 8
REPLY_TOKENS_ASSUMED = 60


class Estimate(Record):
    """What one model would take for all its episodes; `basis` says where that is known from."""

    policy: str
    episodes: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    basis: str


def estimates(
    config: RolloutConfig, task_set: TaskSet, specs: Sequence[EpisodeSpec], measured: RunFolder | None
) -> tuple[Estimate, ...]:
    """One for each model of the config; the other policies take nothing. Raises BadInput."""
    attempts = () if measured is None else read_attempts(measured)
    sizes = PromptSizes(config, task_set)
    return tuple(
        _estimate(config, name, [spec for spec in specs if spec.policy == name], attempts, sizes)
        for name in config.policies
        if is_model(name)
    )


def _estimate(
    config: RolloutConfig, name: str, specs: Sequence[EpisodeSpec], attempts: Sequence[Attempt], sizes: "PromptSizes"
) -> Estimate:
    counted = [one for one in attempts if one.policy == name and one.prompt_tokens is not None]
    if counted:
        prompt = fmean(one.prompt_tokens or 0 for one in counted) * len(specs)
        written = fmean(one.completion_tokens or 0 for one in counted) * len(specs)
        basis = f"means of {len(counted)} episodes"
    else:
        prompt = sum(sizes.prompt_tokens(spec) for spec in specs)
        steps = min(STEPS_ASSUMED, config.limits.budget)
        written = len(specs) * steps * REPLY_TOKENS_ASSUMED
        basis = f"prompt sizes, {steps} steps and {REPLY_TOKENS_ASSUMED} tokens a reply assumed"
    usage = Usage(prompt_tokens=round(prompt), completion_tokens=round(written))
    price: Price | None = config.prices.get(name)
    return Estimate(
        policy=name, episodes=len(specs), **dict(usage), usd=None if price is None else price.usd(usage), basis=basis
    )


class PromptSizes:
    """How many tokens the prompts of an episode are, about: its first one as it would be sent, and what steps add."""

    def __init__(self, config: RolloutConfig, task_set: TaskSet) -> None:
        self._config = config
        self._task_set = task_set
        self._catalogs: dict[str, DatabaseCatalog] = {}
        self._known: dict[tuple[str, str], int] = {}

    def prompt_tokens(self, spec: EpisodeSpec) -> int:
        """Of all requests of one episode together."""
        key = (spec.task_id, spec.policy)
        if key not in self._known:
            self._known[key] = self._of(spec, settings_of(self._config, spec.policy))
        return self._known[key]

    def _of(self, spec: EpisodeSpec, settings: ModelSettings) -> int:
        task = self._task_set.tasks[spec.task_id]
        if task.database not in self._catalogs:
            self._catalogs[task.database] = self._task_set.catalog(task.database)
        catalog = self._catalogs[task.database]
        turn = episode_of(task, catalog, self._grader, 0, self._config.limits).turn(0)
        tools = tools_of(setting_of(turn)) if settings.style == "tools" else []
        written = Transcript(Prompts(settings.prompts), bool(tools), settings.history_tokens).messages(turn)
        first = bytes_of(written, tools) // BYTES_A_TOKEN
        shown = fmean(_shown_tokens(catalog)) if catalog.tables else 0.0
        steps = range(min(STEPS_ASSUMED, self._config.limits.budget))
        grown = (first + step * (REPLY_TOKENS_ASSUMED + shown) for step in steps)
        return round(sum(min(tokens, max(first, settings.history_tokens)) for tokens in grown))

    @cached_property
    def _grader(self) -> GoldGrader:
        return GoldGrader.read(self._task_set.gold_path)


def _shown_tokens(catalog: DatabaseCatalog) -> Iterator[int]:
    """What looks at the tables would show."""
    for table in catalog.tables:
        yield (len(table.describe()) + len(table.sample(0))) // (2 * BYTES_A_TOKEN)
