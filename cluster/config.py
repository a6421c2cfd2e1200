"""One YAML file a run, read into one frozen tree. An unknown key is an error that names its nearest neighbour."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator
from yaml import YAMLError

from cluster.keys import explain
from services.contracts.errors import BadInput
from services.contracts.grading import VerificationMode
from services.contracts.policy import Price
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.policy.llm.settings import ModelSettings, is_model
from services.sandbox.limits import SandboxLimits

Kind = TypeVar("Kind", bound=Record)
BUILTIN, BUILTIN_ANALYST = "builtin", "builtin-analyst"


class TasksConfig(Record):
    """Which tasks are played."""

    path: str = Field(default=BUILTIN, description="a task set folder, its fsspec URL, 'builtin' or 'builtin-analyst'")
    databases: tuple[str, ...] | None = Field(default=None, min_length=1, description="tasks of these only")
    sample: int | None = Field(default=None, ge=1, description="draw that many tasks by the seed; all if left out")


class ActorsConfig(Record):
    """How many env actors there are, and what each asks Ray for."""

    count: int = Field(default=2, ge=1, description="at most")
    least: int | None = Field(
        default=None, ge=1, description="begin with so many; the others join as nodes come. Default: count"
    )
    cpus: float = Field(default=0.9, gt=0, le=2, description="2 is an actor's ceiling")
    memory_mb: int = Field(default=2048, ge=512, le=8192, description="8192 is an actor's ceiling")
    batch: int = Field(default=32, ge=1, le=1024, description="episodes handed out at a time")
    placement_s: float = Field(default=60.0, gt=0, description="how long the least may take to be placed")
    episodes_at_once: int = Field(
        default=32, ge=1, le=20_000, description="of one actor; many where a policy takes seconds"
    )

    @model_validator(mode="after")
    def _least_is_not_more(self) -> Self:
        if self.least is not None and self.least > self.count:
            raise ValueError(f"actors.least is {self.least}, but actors.count is {self.count}")
        return self


class BudgetConfig(Record):
    """What a run may spend on its models, over all its attempts and resumptions. What is left out has no limit."""

    tokens: int | None = Field(default=None, ge=0, description="read and written")
    dollars: float | None = Field(default=None, ge=0, description="by `prices`, which every model must then have")


class RolloutConfig(Record):
    """A rollout: every policy plays every task `samples` times."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    tasks: TasksConfig = TasksConfig()
    policies: tuple[str, ...] = Field(min_length=1)
    policy_access: Literal["inline", "handle", "http"] = Field(
        default="inline", description="in the actor, or behind Ray Serve; the episodes are the same"
    )
    samples: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    verification: VerificationMode = Field(
        default="variants", description="base: the seed's rule, an answer is right if it is right on the database"
    )
    limits: EpisodeLimits = EpisodeLimits()
    sandbox: SandboxLimits = SandboxLimits()
    actors: ActorsConfig = ActorsConfig()
    prices: dict[str, Price] = Field(default={}, description="by policy, for an evaluation's costs; they play no part")

    models: dict[str, ModelSettings] = Field(default={}, description="by policy, how a model is asked")
    budget: BudgetConfig = BudgetConfig()

    def config_hash(self) -> str:
        """16 hex digits over every resolved value that has a part in the episodes."""
        tree = self.model_dump(mode="json", exclude={"prices": True, "budget": True, "actors": {"placement_s"}})
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _price_what_plays(self) -> "RolloutConfig":
        for field, names in (("prices", self.prices), ("models", self.models)):
            unknown = sorted(set(names) - set(self.policies))
            if unknown:
                raise ValueError(f"{field}: {unknown[0]} is none of the policies")
        return self

    @model_validator(mode="after")
    def _outlast_the_statements(self) -> "RolloutConfig":
        """Else an agent could turn a lost episode into a fault by a slow statement."""
        least = self.limits.deadline_s + self.sandbox.statement_s + self.sandbox.kill_grace_s
        if self.limits.longest_s() <= least:
            raise ValueError(
                f"limits.wall_s: {self.limits.longest_s():g} s must be more than {least:g} s of statements"
            )
        return self

    @model_validator(mode="after")
    def _know_what_is_spent(self) -> "RolloutConfig":
        models = [name for name in self.policies if is_model(name)]
        free = [name for name in models if name not in self.prices]
        if self.budget.dollars is not None and free:
            raise ValueError(f"budget.dollars: {free[0]} has no price under prices")
        strange = [name for name in self.models if not is_model(name)]
        if strange:
            raise ValueError(f"models: {strange[0]} is no model; openai:MODEL@URL is one")
        if self.budget != BudgetConfig() and self.policy_access == "http":
            raise ValueError("budget: policies behind policy_access: http are not counted; use inline")
        return self


def load_config(path: Path, overrides: Sequence[str] = ()) -> RolloutConfig:
    """The config of a file with `key=value` overrides. A relative task set path counts from the working folder."""
    return read_config(path, RolloutConfig, overrides)


def read_config(path: Path, kind: type[Kind], overrides: Sequence[str] = ()) -> Kind:
    """The record that a YAML file holds, with `key=value` overrides. Raises BadInput with what is wrong."""
    try:
        loaded = OmegaConf.load(path)
        if not isinstance(loaded, DictConfig):
            raise BadInput(f"{path}: expected keys and values at the top level")
        merged = OmegaConf.merge(loaded, OmegaConf.from_dotlist(list(overrides)))
        tree = OmegaConf.to_container(merged, resolve=True)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the config {path}: {getattr(error, 'strerror', None) or error}") from error
    except (YAMLError, OmegaConfBaseException, ValueError, AssertionError) as error:
        raise BadInput(f"{path}: {' '.join(str(error).split())[:300]}") from error
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise BadInput(f"{path}: {explain(error, kind)}") from error
