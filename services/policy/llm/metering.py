"""What asking a model costs, and whether a run may still ask: something is reserved before a question is sent.

Invariant: what is reserved is settled once, whatever becomes of the question.
"""

from typing import Protocol

from pydantic import Field

from services.contracts.policy import Price, Usage
from services.contracts.record import Record


class Question(Record):
    """The size of one question: bytes of its messages, and the most tokens that its reply may have."""

    prompt_bytes: int = Field(ge=0)
    reply_tokens: int = Field(ge=1)


class Meter(Protocol):
    """Counts what a policy spends."""

    async def reserve(self, question: Question) -> int:
        """A number for the question, to be settled later. Raises OverBudget if it may not be asked."""
        ...

    async def settle(self, number: int, usage: Usage | None, asked: bool) -> float | None:
        """The tokens that it took; US dollars, or None without a price. Not `asked`: it was refused, and cost nothing.

        Tokens that nobody counted are taken to be what was reserved.
        """
        ...


class Freely:
    """A run without a budget: everything may be asked."""

    def __init__(self, price: Price | None = None) -> None:
        self._price = price

    async def reserve(self, question: Question) -> int:
        """Always."""
        return 0

    async def settle(self, number: int, usage: Usage | None, asked: bool) -> float | None:
        """The price of the tokens."""
        return self._price.usd(usage) if self._price is not None and usage is not None else None
