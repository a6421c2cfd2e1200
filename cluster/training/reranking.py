"""Re-ranking: a small network learns which of the tried queries to answer, by whether each gives the gold.

That is judged on the database itself: of the queries of an episode only the answered one is asked on variants.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor, nn

from cluster.regrade import stored_rows
from cluster.run import RunFolder
from cluster.schema import step_of
from cluster.turns import Turns, before_operations
from services.contracts.actions import Query
from services.contracts.policy import Turn
from services.contracts.statements import ResultTable
from services.grader.answers import gives_gold
from services.grader.gold import GoldAnswer, read_gold
from services.policy.tier.features import Vectors
from services.policy.tier.knowledge import knowledge_of
from services.policy.tier.operations import bare
from services.policy.tier.playing import outcomes_of
from services.policy.tier.whole import Tried
from services.policy.trained.checkpoint import read_checkpoint
from services.policy.trained.reranking import RERANKING_FEATURES, reranking_features
from services.policy.trained.searching import Beam

WIDTH = 32
PART = 100
"""Episodes of one Ray task."""


class RerankingNetwork(nn.Module):
    """Rows of RERANKING_FEATURES (K, F) to scores (K,): what is known without it, corrected by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.straight = nn.Linear(len(RERANKING_FEATURES), 1)
        self.inner = nn.Linear(len(RERANKING_FEATURES), WIDTH)
        self.outer = nn.Linear(WIDTH, 1)
        self.dropout = nn.Dropout(0.2)
        nn.init.zeros_(self.outer.weight)

    def forward(self, statements: Tensor) -> Tensor:
        """The scores."""
        hidden = self.dropout(torch.relu(self.inner(statements)))
        scores: Tensor = (self.straight(statements) + self.outer(hidden)).squeeze(-1)
        return scores


@dataclass(frozen=True, slots=True)
class Choice:
    """What was tried in one episode, (K, F), and which of it gives the gold, (K,)."""

    task_id: str
    features: Vectors
    right: tuple[bool, ...]


def by_likelihood() -> RerankingNetwork:
    """A network that has learned nothing: it tries all, and answers the likeliest that has rows."""
    network = RerankingNetwork()
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        for name, weight in (("rank", -1.0), ("result failed", -8.0), ("result empty", -4.0)):
            network.straight.weight[0, RERANKING_FEATURES.index(name)] = weight
    return network


def learn(choices: Sequence[Choice], seed: int, epochs: int, rate: float = 3e-3) -> RerankingNetwork:
    """Cross-entropy over the tried queries of an episode, all right ones together; all or none teaches nothing."""
    torch.manual_seed(seed)
    network = by_likelihood()
    nn.init.kaiming_uniform_(network.inner.weight)
    useful = [one for one in choices if any(one.right) and not all(one.right)]
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, epochs))
    dice = np.random.default_rng(seed)
    for _ in range(epochs if useful else 0):
        order = dice.permutation(len(useful))
        for start in range(0, len(order), 32):
            optimiser.zero_grad()
            torch.stack([_loss(network, useful[i]) for i in order[start : start + 32]]).mean().backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def _loss(network: RerankingNetwork, one: Choice) -> Tensor:
    scores = network(torch.from_numpy(one.features))
    right = torch.tensor(one.right)
    return torch.logsumexp(scores, 0) - torch.logsumexp(scores[right], 0)


def share_right(choices: Sequence[Choice], network: RerankingNetwork) -> float:
    """The share of episodes in which the network's choice gives the gold, of all episodes."""
    with torch.no_grad():
        right = [one.right[int(network(torch.from_numpy(one.features)).argmax())] for one in choices if one.right]
    return sum(right) / max(len(choices), 1)


def choices_of(run: RunFolder, checkpoint: str, tasks: Collection[str]) -> list[Choice]:
    """The choices of a run that was played with the checkpoint; likelihoods come from its search, made again."""
    turns = Turns(run)
    graded = [row for row in stored_rows(run) if row["reward"] is not None and row["task_id"] in tasks]
    played, golds = [(row, turns.last(row)) for row in graded], read_gold(turns.task_set.gold_path)
    parts = [played[start : start + PART] for start in range(0, len(played), PART)]
    work = ray.remote(_choices).options(num_cpus=1)
    found = [
        work.remote(part, {row["task_id"]: golds[row["task_id"]] for row, _ in part}, checkpoint) for part in parts
    ]
    return [choice for choices in ray.get(found) for choice in choices]


def _choices(
    part: Sequence[tuple[dict[str, Any], Any]], golds: Mapping[str, GoldAnswer], checkpoint: str
) -> list[Choice]:
    read = read_checkpoint(Path(checkpoint))
    beam = Beam(read.scorer, read.manifest.search)
    return [choice for row, turn in part for choice in _choice(row, turn, golds[row["task_id"]], beam)]


def _choice(row: dict[str, Any], turn: Turn, gold: GoldAnswer, beam: Beam) -> Iterator[Choice]:
    outcomes, right = outcomes_of(turn), _right(row, gold)
    found = beam.search(knowledge_of(before_operations(turn, len(turn.history))))
    tried = [Tried(query, outcomes[query.sql]) for query in found if query.sql in outcomes]
    if tried:
        features = reranking_features(knowledge_of(turn), tried)
        yield Choice(row["task_id"], features, tuple(right.get(one.query.sql, False) for one in tried))


def _right(row: dict[str, Any], gold: GoldAnswer) -> dict[str, bool]:
    """By statement, whether its whole result is the gold's."""
    found = {}
    for step in map(step_of, row["steps"]):
        if isinstance(step.action, Query) and isinstance(step.outcome, ResultTable):
            whole = not step.outcome.truncated
            found[bare(step.action.sql)] = whole and gives_gold(gold, step.outcome.rows)
    return found
