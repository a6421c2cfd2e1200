"""What a run may spend on its models, and what it has spent: asked before each question, told after it.

Invariant: what is spent and what is reserved together stay within the budget, as long as a server writes no more tokens
than `max_tokens` and reads no more for a byte than it did before. What nobody counted is taken to be what was reserved.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import count
from math import ceil
from pathlib import Path
from typing import Any

import ray
from pydantic import Field, ValidationError

from cluster.config import BudgetConfig
from cluster.mirror import SPENDING
from cluster.run import write_whole
from services.contracts.errors import BadInput, OverBudget
from services.contracts.policy import Price, Usage
from services.contracts.record import Record
from services.policy.llm.metering import Question

TOKENS_A_BYTE = 0.5
"""Of a model that has not answered yet: more than most text takes. Then the most that was seen."""
FORGET_S = 900.0
"""Seconds after which something that is reserved is taken to be spent: who reserved it is no more."""
WRITE_EVERY_S = 1.0


class Spent(Record):
    """Tokens and US dollars; dollars are of the models that have a price."""

    tokens: int = Field(default=0, ge=0)
    usd: float = Field(default=0.0, ge=0)

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(tokens=self.tokens + other.tokens, usd=self.usd + other.usd)


@dataclass(frozen=True)
class Reserved:
    """One question that is under way."""

    policy: str
    prompt_bytes: int
    cost: Spent
    until: float


class Purse:
    """The budget of one run. Use it from one event loop."""

    def __init__(self, budget: BudgetConfig, prices: Mapping[str, Price], run: Path) -> None:
        self._budget = budget
        self._prices = dict(prices)
        self._path = run / SPENDING
        self._spent = read_spending(run)
        self._written = 0.0
        self._under_way: dict[int, Reserved] = {}
        self._numbers = count(1)
        self._rates: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self._over = False

    async def reserve(self, policy: str, question: Question) -> int:
        """A number for the question. Waits for questions under way whose cost decides. Raises OverBudget."""
        async with self._changed:
            while not self._over:
                self._forget_the_lost()
                cost = self._most(policy, question)
                if self._fits(cost) and not self._is_first_of(policy):
                    return self._note(policy, question, cost)
                if not self._under_way:
                    break
                await self._wait()
            self._over = True
            self._changed.notify_all()
            raise OverBudget(self.told())

    async def settle(self, number: int, usage: Usage | None, asked: bool) -> float | None:
        """The price of what a question took; None if nobody counted, or there is no price."""
        async with self._changed:
            reserved = self._under_way.pop(number, None)
            if reserved is None:  # it was forgotten: its cost is spent already
                return None
            if usage is not None:
                rate = usage.prompt_tokens / max(reserved.prompt_bytes, 1)
                self._rates[reserved.policy] = max(rate, self._rates.get(reserved.policy, 0.0))
            cost = reserved.cost if usage is None else self._cost(reserved.policy, usage)
            self._spend(cost if asked else Spent())
            self._changed.notify_all()
        price = self._prices.get(reserved.policy)
        return price.usd(usage) if price is not None and usage is not None else None

    def close(self) -> str | None:
        """Write down what is spent, in earlier parts of the run too; in words, if a question was refused."""
        write_whole(self._path, self._spent.model_dump_json() + "\n")
        return self.told() if self._over else None

    def told(self) -> str:
        """The budget and what is spent of it, in words."""
        parts = []
        if self._budget.tokens is not None:
            parts.append(f"{self._spent.tokens} of {self._budget.tokens} tokens")
        if self._budget.dollars is not None:
            parts.append(f"${self._spent.usd:.4f} of ${self._budget.dollars:.4f}")
        return f"the budget is spent: {' and '.join(parts)}"

    def _fits(self, cost: Spent) -> bool:
        whole = reduce(Spent.plus, (reserved.cost for reserved in self._under_way.values()), cost)
        tokens, dollars = self._budget.tokens, self._budget.dollars
        if tokens is not None and self._spent.tokens + whole.tokens > tokens:
            return False
        return dollars is None or self._spent.usd + whole.usd <= dollars

    def _is_first_of(self, policy: str) -> bool:
        """Whether a first question of the policy is under way, which will show what its texts take."""
        return policy not in self._rates and any(one.policy == policy for one in self._under_way.values())

    def _most(self, policy: str, question: Question) -> Spent:
        prompt = ceil(question.prompt_bytes * self._rates.get(policy, TOKENS_A_BYTE))
        return self._cost(policy, Usage(prompt_tokens=prompt, completion_tokens=question.reply_tokens))

    def _cost(self, policy: str, usage: Usage) -> Spent:
        price = self._prices.get(policy)
        return Spent(tokens=usage.prompt_tokens + usage.completion_tokens, usd=price.usd(usage) if price else 0.0)

    def _note(self, policy: str, question: Question, cost: Spent) -> int:
        number = next(self._numbers)
        self._under_way[number] = Reserved(policy, question.prompt_bytes, cost, time.monotonic() + FORGET_S)
        return number

    async def _wait(self) -> None:
        left = min(reserved.until for reserved in self._under_way.values()) - time.monotonic()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await self._changed.wait()
        except TimeoutError:
            return

    def _forget_the_lost(self) -> None:
        now = time.monotonic()
        for number in [number for number, reserved in self._under_way.items() if reserved.until <= now]:
            self._spend(self._under_way.pop(number).cost)

    def _spend(self, cost: Spent) -> None:
        self._spent = self._spent.plus(cost)
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self._written = time.monotonic()
            write_whole(self._path, self._spent.model_dump_json() + "\n")


def read_spending(run: Path) -> Spent:
    """What the run of a folder has spent so far. Raises BadInput for a damaged file."""
    try:
        return Spent.model_validate_json((run / SPENDING).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Spent()
    except (OSError, ValueError, ValidationError) as error:
        raise BadInput(f"{run / SPENDING} is damaged: {error}") from error


class PurseMeter:
    """The purse of a run, as the policy of one name sees it from wherever it is asked."""

    def __init__(self, purse: Any, policy: str) -> None:
        self._purse = purse
        self._policy = policy

    async def reserve(self, question: Question) -> int:
        """A number for the question. Raises OverBudget."""
        try:
            number: int = await self._purse.reserve.remote(self._policy, question)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OverBudget):
                raise error.cause from error
            raise
        return number

    async def settle(self, number: int, usage: Usage | None, asked: bool) -> float | None:
        """What the question took."""
        usd: float | None = await self._purse.settle.remote(number, usage, asked)
        return usd


RemotePurse: Any = ray.remote(Purse)
