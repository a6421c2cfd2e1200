"""Training: from nothing to a checkpoint. Offline from demonstrations, then online by PPO and by re-ranking.

Killed anywhere and begun again, it goes on after the last pass that was kept.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from omegaconf import OmegaConf

from cluster.report import make_report
from cluster.run import write_whole
from cluster.training.card import model_card
from cluster.training.freezing import frozen_reranker, frozen_scorer
from cluster.training.keeping import Weights
from cluster.training.learning import learn_offline, learn_online
from cluster.training.quiet import be_quiet
from cluster.training.reranking import Choice, by_likelihood, choices_of, learn, share_right
from cluster.training.settings import TrainConfig
from cluster.training.splits import Split
from cluster.training.stages import Stages
from services.contracts.record import Record
from services.policy.trained.checkpoint import write_checkpoint
from services.policy.trained.manifest import RERANKER, SCORER, Manifest, NetworkFile, SearchSettings, TrainedOn


class Outcome(Record):
    """Where the checkpoint is, and what it and the others got on the validation databases, by name."""

    checkpoint: Path
    figures: dict[str, float]


def train(stages: Stages, sides: Split) -> Outcome:
    """All stages. Ray must be running. Raises BadInput, Infrastructure."""
    torch.set_num_threads(1)
    be_quiet()
    config = stages.config
    write_whole(stages.folder / "split.json", sides.model_dump_json(indent=1) + "\n")
    made = stages.decisions(sides)
    learned = {"offline": learn_offline(stages, made)}
    if config.online.iterations:
        learned["ppo"] = learn_online(stages, sides, learned["offline"])
    checkpoints = {name: _checkpoint(stages, sides, name, weights) for name, weights in learned.items()}
    if config.rerank.epochs:
        checkpoints |= {
            f"{name}-reranked": _reranked(stages, sides, name, weights) for name, weights in learned.items()
        }
    figures = _validated(stages, sides, checkpoints)
    best = max(figures, key=lambda name: figures[name])
    shutil.copytree(checkpoints[best], stages.folder / "checkpoint", dirs_exist_ok=True)
    _write_judging(stages, sides, list(checkpoints.values()))
    return Outcome(checkpoint=stages.folder / "checkpoint", figures=figures)


def _checkpoint(
    stages: Stages,
    sides: Split,
    name: str,
    weights: Weights,
    reranker: bytes | None = None,
    figures: Mapping[str, float] = MappingProxyType({}),
) -> Path:
    """Write a checkpoint."""
    config, folder = stages.config, stages.folder / "checkpoints" / name
    networks: dict[NetworkFile, bytes] = {SCORER: frozen_scorer(config.network, weights)}
    if reranker is not None:
        networks[RERANKER] = reranker
    manifest = Manifest(
        name=f"{config.name}-{name}",
        candidate_features=(),
        state_features=(),
        search=SearchSettings(**config.play.model_dump()),
        databases=TrainedOn(train=sides.supervised, online=sides.online, validation=sides.validation, test=sides.test),
        seeds=(config.seed,),
        config_hash=config.config_hash(),
        figures=dict(figures),
    )
    write_checkpoint(folder, manifest, networks, model_card(manifest, config))
    return folder


def _reranked(stages: Stages, sides: Split, name: str, weights: Weights) -> Path:
    """The same network with a re-ranker that learned on the online databases; epochs are chosen on the validation."""
    trying = _checkpoint(stages, sides, f"{name}-trying", weights, frozen_reranker(by_likelihood()))
    run = stages.play(f"{name}-tries", (f"trained:{trying}",), (*sides.online, *sides.validation))
    taught = choices_of(run, str(trying), frozenset(sides.tasks(stages.task_set, sides.online)))
    judged = choices_of(run, str(trying), frozenset(sides.tasks(stages.task_set, sides.validation)))
    tried = {epochs: learn(taught, stages.config.seed, epochs) for epochs in _epochs(stages.config)}
    best = max(tried, key=lambda epochs: share_right(judged, tried[epochs]))
    figures = _choice_figures(judged, tried[best])
    stages.say(f"re-ranking {name}: " + ", ".join(f"{key} {value:.1%}" for key, value in figures.items()))
    return _checkpoint(stages, sides, f"{name}-reranked", weights, frozen_reranker(tried[best]), figures)


def _epochs(config: TrainConfig) -> tuple[int, ...]:
    return tuple(sorted({config.rerank.epochs // 4, config.rerank.epochs // 2, config.rerank.epochs}))


def _choice_figures(judged: list[Choice], network: Any) -> dict[str, float]:
    """Right by likelihood, by the network, and by whoever knew the gold."""
    return {
        "validation_by_likelihood": share_right(judged, by_likelihood()),
        "validation_reranked": share_right(judged, network),
        "validation_any_tried": sum(any(one.right) for one in judged) / max(len(judged), 1),
    }


def _validated(stages: Stages, sides: Split, checkpoints: Mapping[str, Path]) -> dict[str, float]:
    """Success of each checkpoint over the validation's tasks."""
    policies = {name: f"trained:{path}" for name, path in checkpoints.items()}
    run = stages.play("validation", list(policies.values()), sides.validation)
    rates = {one.policy: one.success_rate or 0.0 for one in make_report(run).policies}
    return {name: rates[policy] for name, policy in policies.items()}


def _write_judging(stages: Stages, sides: Split, checkpoints: list[Path]) -> None:
    """judge.yaml: a config for `assay evaluate` over the databases that were kept out."""
    judging = {
        "name": f"{stages.config.name}-judged",
        "tasks": {"path": stages.config.tasks, "databases": list(sides.test)},
        "policies": ["random", "heuristic", *(f"trained:{path}" for path in checkpoints)],
        "seed": stages.config.seed,
    }
    path = stages.folder / "judge.yaml"
    write_whole(path, f"# assay evaluate {path}\n{OmegaConf.to_yaml(judging)}")
