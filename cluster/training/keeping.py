"""Keeping: RLlib's checkpoint of the latest pass, and the weights of the best, so that a killed training goes on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.checkpoints import Checkpointable

from cluster.training.curves import Point

Weights = Mapping[str, Any]
POINT = "point.json"


class Kept:
    """The passes of one algorithm, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def restore(self, algorithm: Algorithm) -> Point | None:
        """Set the algorithm back to the latest pass that was kept; what was measured then, None if there is none."""
        latest = self._latest()
        if latest is None:
            return None
        # Algorithm's own would go on to hand the weights to EnvRunners, which offline learning has none of
        Checkpointable.restore_from_path(algorithm, str(latest.resolve()))
        measured: Point = json.loads((latest / POINT).read_text(encoding="utf-8"))
        return measured

    def save(self, algorithm: Algorithm, number: int, worth: float, measured: Point) -> None:
        """Keep a pass with what was measured, and its weights if none was worth as much; an older pass goes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        before, partial = self._latest(), self._folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        algorithm.save_to_path(str(partial.resolve()))
        (partial / POINT).write_text(json.dumps(measured), encoding="utf-8")
        best = self._folder / "best.pt"
        known = torch.load(best, weights_only=True)["worth"] if best.exists() else float("-inf")
        if worth > known:
            torch.save({"worth": worth, "weights": module_of(algorithm).state_dict()}, self._folder / "best.tmp")
            (self._folder / "best.tmp").replace(best)
        partial.rename(self._folder / f"pass-{number:04d}")
        if before is not None:
            shutil.rmtree(before)

    def best(self) -> Weights:
        """The weights of the best pass."""
        weights: Weights = torch.load(self._folder / "best.pt", weights_only=True)["weights"]
        return weights

    def _latest(self) -> Path | None:
        return max(self._folder.glob("pass-*"), default=None)


def module_of(algorithm: Algorithm) -> Any:
    """The module that the local learner trains."""
    group: Any = algorithm.learner_group  # of one local learner
    return group._learner.module[DEFAULT_MODULE_ID].unwrapped()
