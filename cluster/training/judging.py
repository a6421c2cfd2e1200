"""Judging: how often a network's first choice is the demonstrated operation, over stored decisions."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch

from cluster.training.prelearning import padded


class Judged(NamedTuple):
    """Shares of decisions, and of episodes with every decision, in which the first choice is the demonstrated one."""

    decisions: float
    episodes: float


def judge(module: Any, decisions: Path, most: int, batch: int = 64) -> Judged:
    """Every decision of a folder, as it was taken."""
    right: dict[str, list[bool]] = defaultdict(list)
    module.eval()
    for path in sorted(decisions.glob("*.parquet")):
        for rows in pq.ParquetFile(path).iter_batches(batch, columns=["eps_id", "obs", "actions"]):
            columns = rows.to_pydict()
            seen = {name: torch.from_numpy(value) for name, value in padded(columns["obs"], most).items()}
            with torch.no_grad():
                chosen = module.network(seen["candidates"], seen["state"], seen["action_mask"]).logits.argmax(1).numpy()
            for episode, same in zip(columns["eps_id"], chosen == np.array(columns["actions"]), strict=True):
                right[episode].append(bool(same))
    module.train()
    every = [one for found in right.values() for one in found]
    return Judged(float(np.mean(every)), float(np.mean([all(found) for found in right.values()])))
