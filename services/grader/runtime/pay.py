"""What a runtime finding is paid: nothing unless the output is equal, then by the speed-up that is proven."""

import math
from typing import Literal, assert_never

from pydantic import Field

from services.contracts.record import Record
from services.grader.runtime.verdict import Finding

PayMode = Literal["log", "helios_gate", "bird_steps"]
_STEPS = ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5))
_BELOW = 0.25


class PayRules(Record):
    """How a speed-up is paid."""

    mode: PayMode = "log"
    full_at: float = Field(default=2.0, gt=1, description="the speed-up that `log` pays 1 for")
    dead_zone: float = Field(default=0.05, ge=0, lt=1, description="`log` pays nothing for a proven gain up to this")
    gate: float = Field(default=0.15, gt=0, lt=1, description="`helios_gate` pays 1 from this share of time saved on")


def pay(finding: Finding, equal: bool, rules: PayRules) -> float | None:
    """The reward. None, ungraded, if it was the original that could not be measured."""
    if finding.unfit is not None and finding.unfit.side == "original":
        return None
    if not equal or finding.unfit is not None:
        return 0.0
    match rules.mode:
        case "log":
            return _by_logarithm(finding.proven, rules)
        case "helios_gate":
            return float(1 - 1 / finding.proven >= rules.gate)
        case "bird_steps":
            return next((paid for ratio, paid in _STEPS if finding.proven >= ratio), _BELOW)
        case _:
            assert_never(rules.mode)


def _by_logarithm(proven: float, rules: PayRules) -> float:
    if proven <= 1 + rules.dead_zone:
        return 0.0
    return min(1.0, math.log(proven) / math.log(rules.full_at))
