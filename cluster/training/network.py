"""The network: scores each candidate of a state by its features, those of the state, and what else is on offer.

Invariant: the score of a candidate depends on the set of candidates, not on their order nor on what the batch holds
besides. Padding is never computed with: all candidates of a batch are one long list.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from services.policy.tier.features import CANDIDATE_FEATURES, STATE_FEATURES

IMPOSSIBLE = -1e9
"""The score of what is no candidate."""


@dataclass(frozen=True, slots=True)
class Scored:
    """`logits` (B, M), `summary` (B, 2 * width) of all candidates of a state."""

    logits: Tensor
    summary: Tensor


class CandidateNetwork(nn.Module):
    """Candidates (B, M, F), states (B, S) and a mask (B, M), 1 for a candidate, to logits (B, M).

    Two layers over each candidate and its state, then one that also sees the largest and the mean of all candidates
    (Zaheer et al. 2017, "Deep Sets", equation 4).
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.candidate = nn.Linear(len(CANDIDATE_FEATURES), width)
        self.state = nn.Linear(len(STATE_FEATURES), width)
        self.inner = nn.Linear(width, width)
        self.alone = nn.Linear(width, width)
        self.among = nn.Linear(2 * width, width)
        self.score = nn.Linear(width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, candidates: Tensor, state: Tensor, action_mask: Tensor) -> Scored:
        """Logits, and a summary from which a state's value can be read."""
        owner, place = torch.nonzero(action_mask > 0.5, as_tuple=True)
        listed = candidates[owner, place].float()
        known = self.state(state.float())
        one = torch.relu(self.candidate(listed) + known[owner])
        one = torch.relu(self.inner(self.dropout(one)))
        summary = _summary(one, owner, torch.zeros_like(known))
        together = torch.relu(self.alone(self.dropout(one)) + self.among(summary)[owner])
        scores = self.score(together).squeeze(-1)
        logits = torch.full_like(action_mask, IMPOSSIBLE, dtype=scores.dtype)
        return Scored(logits.index_put((owner, place), scores), summary)


def _summary(one: Tensor, owner: Tensor, nothing: Tensor) -> Tensor:
    """The largest and the mean of each state's candidates, (B, 2 * width); `one` is not negative, `nothing` zeros."""
    index = owner[:, None].expand_as(one)
    largest = nothing.scatter_reduce(0, index, one, "amax", include_self=True)
    total = nothing.scatter_reduce(0, index, one, "sum", include_self=True)
    count = nothing.scatter_reduce(0, index, torch.ones_like(one), "sum", include_self=True)
    return torch.cat((largest, total / count.clamp(min=1)), -1)
