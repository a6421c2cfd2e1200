"""A draft: what has been read of a question so far, and what is still waited for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.policy.heuristic.cues import Cue
from services.policy.heuristic.intent import Condition, Having, Intent, Item
from services.policy.heuristic.joining import key_of
from services.policy.heuristic.naming import implied_column, label_columns
from services.policy.heuristic.reading import Column, Schema, Table
from services.policy.heuristic.words import Word

_DESCENDING = re.compile(
    r"\b(?:descending|decreasing|reverse|desc|(?:highest|most|largest|oldest|latest|high|large|old|newest) to\b"
    r"|largest first|most recent first)"
)
REACH = 6


@dataclass(slots=True)
class Draft:
    """The only mutable thing here. Positions count words; a pending cue is None once it has been used.

    `zone` is what a column means where the reading stands: select, where, group or order. `last` is the latest
    column and where it ended, `led` tells that a group was named before anything to select, `earlier` holds
    what former sentences selected, `before` is where the column before it ended,
    `top` is a bare `the three ...`, `grouped` and `valued` are where the latest grouping column and cell ended.
    """

    words: Sequence[Word]
    schema: Schema
    zone: str = "select"
    items: list[Item] = field(default_factory=list)
    earlier: list[Item] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    excluded: list[Table] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    group: list[Column] = field(default_factory=list)
    having: list[Having] = field(default_factory=list)
    order: list[tuple[Item, bool]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    between: list[str] = field(default_factory=list)
    limit: int = 0
    top: int = 1
    distinct: bool = False
    both: bool = False
    everything: bool = False
    led: bool = False
    like: str = ""
    pattern: tuple[int, str, str] | None = None
    counting: str | None = None
    superlative: Cue | None = None
    frequent: Cue | None = None
    operator: tuple[int, str] | None = None
    number: tuple[int, str] | None = None
    negated: int | None = None
    last: tuple[int, Column] | None = None
    each: Table | None = None
    grouped: int = 0
    before: int = 0
    valued: int = -9

    @property
    def descending(self) -> bool:
        """Whether the question asks for a descending order."""
        return bool(_DESCENDING.search(" ".join(word.text.lower() for word in self.words)))

    def flush_count(self) -> None:
        """A count that waited for its column counts rows."""
        if self.counting is not None:
            self.items.append(Item(None, "count"))
            self.counting = None

    def end_sentence(self) -> None:
        """What was selected so far is kept only if the sentences that follow select nothing."""
        self.flush_count()
        self.close_order()
        self.zone, self.negated, self.operator = "select", None, None
        if self.items:
            self.earlier, self.items = [*self.earlier, *self.items], []

    def rank_by(self, item: Item) -> None:
        """Order by the item, as the waiting superlative says."""
        cue = self.frequent or self.superlative
        if cue is None:
            return
        ranked = (item, cue.value in ("most", "desc"))
        if ranked not in self.order:
            self.order.append(ranked)
        self.limit, self.frequent, self.superlative = max(cue.limit, self.top, self.limit), None, None

    def need(self, name: str) -> None:
        """The table must be joined."""
        table = self.schema.table(name)
        if table is not None and table not in self.tables:
            self.tables.append(table)

    def drop_dangling(self, column: Column, start: int) -> None:
        """A column named right before its value was not asked for, unless it stands alone."""
        if self.last is None or start - self.last[0] > 3 or len(self.items) < 2:
            return
        if self.items[-1] == Item(self.last[1]) and self.last[1].name.lower() == column.name.lower():
            self.items.pop()

    def finish(self) -> Intent:
        """The whole reading, with what was left open closed by default."""
        if self.frequent is not None or self.superlative is not None:
            self._close_superlative()
        self.flush_count()
        also = any(word.stem == "also" for word in self.words)
        self.items = [*self.earlier, *self.items] if also or not self.items else self.items
        self.close_order()
        if self.order and not self.limit and self.top > 1:
            self.limit = self.top
        return self._grouped()

    def _close_superlative(self) -> None:
        cue = self.frequent or self.superlative
        if cue is None:
            return
        word = self.words[cue.end - 1].text.lower()
        for table in self.tables:
            column = implied_column(table, word)
            if column is not None:
                self.rank_by(Item(column))
                return
        near = self.last is not None and 0 <= cue.start - self.last[0] <= 2 and self.last[1].numeric
        self.rank_by(Item(self.last[1]) if near and self.last else Item(None, "count"))

    def close_order(self) -> None:
        """An order that names no column is by what is selected."""
        if self.zone == "order" and not self.order and self.items:
            plain = [item for item in self.items if not item.function]
            self.order.append(((plain or self.items)[0], self.descending))

    def _grouped(self) -> Intent:
        items, group = list(self.items), list(self.group)
        computed = self.having or any(item.function for item in (*items, *(item for item, _ in self.order)))
        if self.each is not None and (computed or not items):
            shown = [item.column for item in items if item.column is not None and not item.function]
            if not any(column.table == self.each.name for column in shown):
                shown_items = [Item(column) for column in label_columns(self.each)]
                items = [*shown_items, *items] if self.led else [*items, *shown_items]
            group.append(key_of(self.each))
            self.need(self.each.name)
        for column in self.group:
            if Item(column) not in items and (computed or not items):
                items.insert(0 if self.led else len(items), Item(column))
        return Intent(
            tuple(items), self.distinct, tuple(self.conditions), tuple(self.excluded), tuple(self.tables),
            tuple(dict.fromkeys(group)), tuple(self.having), tuple(self.order), self.limit,
            self.both, self.everything,
        )  # fmt: skip
