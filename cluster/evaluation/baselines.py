"""Published baselines: the figures of an evaluation with everything that they hold for, as JSON and as a table.

Invariant: figures stand beside published ones only if task set, seed, samples, limits and sandbox are the same.
"""

import json
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from pydantic import ValidationError

from cluster.config import RolloutConfig
from cluster.evaluation.figures import Figures
from cluster.evaluation.results import EVALUATION, Evaluation
from cluster.evaluation.tables import amount, percent
from cluster.run import RunFolder, write_whole
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.contracts.tasks import EpisodeLimits
from services.sandbox.limits import SandboxLimits

FORMAT_VERSION = 1
_TABLE = """\
# Baselines on {{ file.task_set_name }}

Made by `make baselines`: {{ file.policies[0].tasks }} tasks, {{ file.conditions.samples }} samples each, seed \
{{ file.conditions.seed }}, task set `{{ file.conditions.task_set_hash }}`,
commit `{{ file.versions.commit[:12] }}`. In brackets: 95 % intervals over \
{{ file.policies[0].success.clusters }} databases ([how](../evaluate.md)).
The scripted policy plays the gold: the upper bound.

| policy | episodes | success | pass@{{ most }} | reward | steps | faults |
|---|---|---|---|---|---|---|
{% for one in file.policies -%}
| `{{ one.policy }}` | {{ one.episodes }} | {{ percent(one.success) }} | {{ percent(one.pass_at[most]) }} | \
{{ amount(one.reward) }} | {{ "%.1f" | format(one.steps) }} | {{ one.faulted }} |
{% endfor %}"""


class Conditions(Record):
    """What figures hold for; other conditions, other figures."""

    task_set_hash: str
    seed: int
    samples: int
    sample_of_tasks: int | None
    limits: EpisodeLimits
    sandbox: SandboxLimits


class Baselines(Record):
    """The figures of the baselines of one task set. `policy_files` are the SHA-256 of the scripts that were played."""

    format_version: int = FORMAT_VERSION
    task_set_name: str
    conditions: Conditions
    config_hash: str
    policy_files: dict[str, str]
    versions: dict[str, str]
    policies: tuple[Figures, ...]


def publish(evaluation: Evaluation, folder: Path) -> Path:
    """Write NAME.json and NAME.md of the evaluation's task set. Raises BadInput if an episode is faulted or missing."""
    if evaluation.graded != evaluation.planned:
        raise BadInput(f"only {evaluation.graded} of {evaluation.planned} episodes are graded: nothing is published")
    manifest = evaluation.manifest
    file = Baselines(
        task_set_name=manifest.task_set_name,
        conditions=conditions_of(manifest.config, manifest.task_set_hash),
        config_hash=manifest.config_hash,
        policy_files=evaluation.policy_files,
        versions=manifest.versions,
        policies=evaluation.policies,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{file.task_set_name}.json", file.model_dump_json(indent=1) + "\n")
        write_whole(folder / f"{file.task_set_name}.md", table_of(file))
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror}") from error
    return folder / f"{file.task_set_name}.json"


def table_of(file: Baselines) -> str:
    """The figures as Markdown."""
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701
    most = max(file.policies[0].pass_at)
    return environment.from_string(_TABLE).render(file=file, most=most, percent=percent, amount=amount)


def read_baselines(path: Path) -> Baselines:
    """Published baselines. Raises BadInput."""
    try:
        return Baselines.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the baselines {path}: {error}") from error
    except ValidationError as error:
        raise BadInput(f"{path}: {error.errors()[0]['msg']}") from error


def read_evaluation(run: RunFolder) -> Evaluation:
    """The results that an evaluation left in its folder. Raises BadInput if there are none, or of an older state."""
    path = run.path / EVALUATION
    try:
        evaluation = Evaluation.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{run.path} holds no finished evaluation: {EVALUATION} cannot be read") from error
    except ValidationError as error:
        raise BadInput(f"{path}: {error.errors()[0]['msg']}") from error
    if evaluation.manifest != run.manifest:
        raise BadInput(f"{path} is older than the run: finish it with assay evaluate --resume")
    return evaluation


def check_conditions(evaluation: Evaluation, published: Baselines) -> None:
    """Raise BadInput, naming what differs, unless the evaluation was played as the baselines were."""
    ours = conditions_of(evaluation.manifest.config, evaluation.manifest.task_set_hash).model_dump(mode="json")
    theirs = published.conditions.model_dump(mode="json")
    differing = [f"{k} {json.dumps(theirs[k])} -> {json.dumps(ours[k])}" for k in ours if ours[k] != theirs[k]]
    hashes = evaluation.policy_files
    differing += [
        f"the file of {name}" for name, sha256 in published.policy_files.items() if hashes.get(name, sha256) != sha256
    ]
    if differing:
        raise BadInput(f"not comparable with the published baselines: {'; '.join(differing)}")


def conditions_of(config: RolloutConfig, task_set_hash: str) -> Conditions:
    """What the figures of a run hold for."""
    return Conditions(
        task_set_hash=task_set_hash,
        seed=config.seed,
        samples=config.samples,
        sample_of_tasks=config.tasks.sample,
        limits=config.limits,
        sandbox=config.sandbox,
    )
