"""Re-ranking: each tried query and its result as numbers, and the network that chooses by them which one is answered.

Invariant: every number comes from what an agent may see: the question, the schema, and first pages of results.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from services.policy.tier.features import Vectors, clipped
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import KINDS
from services.policy.tier.whole import Tried, WholeQuery
from services.policy.trained.asked import ASKED, asked_numbers
from services.policy.trained.network import Interface, Network
from services.policy.trained.shown import RESULT, result_numbers, same_rows

_COUNTED = tuple(kind for kind in KINDS if kind not in ("submit", "close"))
_LIKELIHOOD = (
    "log probability", "log probability of an operation", "least log probability", "behind the best",
    "share of probability", "rank", "first",
)  # fmt: skip
_AGREEMENT = ("same rows", "share of the same rows", "first of the same rows", "same size", "rows of the plan")
_PLAN = ("is the plan", "plan is known")
RERANKING_FEATURES: tuple[str, ...] = (
    *_LIKELIHOOD, "operations", *(f"operations {kind}" for kind in _COUNTED),
    *(f"result {name}" for name in RESULT), *_AGREEMENT, *_PLAN, *ASKED,
)  # fmt: skip
INTERFACE = Interface(inputs={"statements": ("K", len(RERANKING_FEATURES))}, output="scores", sizes=("K",))
"""Of reranker.onnx: float32, for K tried queries; the one of the highest score is answered."""


def reranking_features(knowledge: Knowledge, tried: Sequence[Tried]) -> Vectors:
    """One row of RERANKING_FEATURES for each tried query, in the order of their ranks, float32 in [-4, 4]."""
    shares = _shares(tried)
    agreeing = [[same_rows(one.outcome, other.outcome) for other in tried] for one in tried]
    planned = [_is_plan(one.query, knowledge) for one in tried]
    rows = [
        (
            *_likelihood(tried, rank, shares), *_counts(one.query), *result_numbers(one.outcome),
            *_agreement(tried, rank, agreeing[rank], shares, planned),
            planned[rank], bool(knowledge.plan), *asked_numbers(one, knowledge),
        )
        for rank, one in enumerate(tried)
    ]  # fmt: skip
    return clipped(np.array(rows, np.float32).reshape(len(tried), len(RERANKING_FEATURES)))


class Reranker:
    """Chooses by a network; all queries are tried before."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def enough(self, tried: Sequence[Tried]) -> bool:
        """Never: any further result may change the choice."""
        return False

    def choose(self, knowledge: Knowledge, tried: Sequence[Tried]) -> WholeQuery:
        """The one of the highest score; of equals the likeliest. Raises PolicyFault."""
        scores = self._network.run({"statements": reranking_features(knowledge, tried)})
        return tried[int(np.argmax(scores))].query


def _shares(tried: Sequence[Tried]) -> list[float]:
    """The probability of each, of all that were tried together."""
    best = max((one.query.log_probability for one in tried), default=0.0)
    masses = [math.exp(one.query.log_probability - best) for one in tried]
    return [mass / sum(masses) for mass in masses]


def _likelihood(tried: Sequence[Tried], rank: int, shares: Sequence[float]) -> tuple[float, ...]:
    """Log-probabilities over 10, of one operation over 3; the rank over 4."""
    query = tried[rank].query
    best = max(one.query.log_probability for one in tried)
    return (
        query.log_probability / 10, query.log_probability / max(len(query.state.taken), 1) / 3, query.least / 3,
        (best - query.log_probability) / 5, shares[rank], rank / 4, rank == 0,
    )  # fmt: skip


def _counts(query: WholeQuery) -> tuple[float, ...]:
    """Operations over 8, those of a kind over 4."""
    kinds = Counter[str](operation.kind for operation in query.state.taken)
    return (len(query.state.taken) / 8, *(kinds[kind] / 4 for kind in _COUNTED))


def _agreement(
    tried: Sequence[Tried], rank: int, agrees: Sequence[bool], shares: Sequence[float], planned: Sequence[bool]
) -> tuple[float, ...]:
    """Other queries over 4; the probability of all that gave these rows."""
    mine = tried[rank].outcome
    width = len(mine.rows[0]) if mine.rows else 0
    sized = sum(
        not one.outcome.error and one.outcome.total == mine.total and len(next(iter(one.outcome.rows), ())) == width
        for i, one in enumerate(tried)
        if i != rank
    )
    return (
        (sum(agrees) - agrees[rank]) / 4, sum(share for share, same in zip(shares, agrees, strict=True) if same),
        not any(agrees[:rank]), 0.0 if mine.error else sized / 4,
        any(same and plan for same, plan in zip(agrees, planned, strict=True)),
    )  # fmt: skip


def _is_plan(query: WholeQuery, knowledge: Knowledge) -> bool:
    return bool(knowledge.plan) and query.state.taken == knowledge.plan
