"""A comparison of two tables as people read it: text, a page of HTML, and a bar while it goes on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from services.grader.tables.compare import OnProgress
from services.grader.tables.verdict import Comparison, Counterexample, TableVerdict

SAID: dict[TableVerdict, str] = {
    "identical": "identical",
    "within_tolerance": "equal within the tolerance",
    "different": "different",
}
PLAIN_WIDTH = 120
TEMPLATE = Path(__file__).with_name("diff.html")


@contextmanager
def reading_progress() -> Iterator[OnProgress]:
    """A bar on a terminal; nothing elsewhere, where the verdict is all that is waited for."""
    err = Console(stderr=True)
    if not err.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("opening", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def page(found: Comparison) -> str:
    """The result as one HTML page that needs nothing else."""
    loader = FileSystemLoader(TEMPLATE.parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.get_template(TEMPLATE.name)
    return template.render(found=found, said=SAID[found.verdict], headline=headline(found), shown=_columns_shown)


def headline(found: Comparison) -> str:
    """The counts in one line."""
    if found.schema_differences:
        return f"{len(found.schema_differences)} columns do not agree; no rows were compared"
    counts = f"{found.left_rows:,} and {found.right_rows:,} rows, {found.columns} columns"
    if found.missing is None:
        return counts
    return f"{counts}; {found.missing:,} missing, {found.extra:,} extra, {found.changed:,} changed"


def print_comparison(found: Comparison) -> None:
    """The result for a person. What comes from the tables is shown without its control characters."""
    out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)  # not cluster.console: it would import Ray
    style = "bold green" if found.equal else "bold red"
    out.print(Text.assemble((SAID[found.verdict], style), f": {headline(found)}"), soft_wrap=True)
    if found.schema_differences:
        columns = Table("column", "left", "right")
        for difference in found.schema_differences:
            columns.add_row(*map(_safe, (difference.column, difference.left or "-", difference.right or "-")))
        out.print(columns)
    if found.drift:
        drift = Table("column", "rows that drift", "worst absolute", "worst relative", "atol of the column")
        for column in found.drift:
            numbers = (column.worst_absolute, column.worst_relative, column.atol)
            drift.add_row(_safe(column.column), f"{column.rows:,}", *(f"{number:.3g}" for number in numbers))
        out.print(drift)
    for example in found.counterexamples:
        out.print(_example(example))


def _example(example: Counterexample) -> Table:
    where = f": {', '.join(example.columns)}" if example.columns else ""
    table = Table("column", title=_safe(f"{example.kind}{where}"), title_justify="left")
    for side in ("left", "right"):
        table.add_column(side, overflow="fold")
    for name in _columns_shown(example):
        style = "red" if name in example.columns else ""
        table.add_row(_safe(name), *(_cell(side, name) for side in (example.left, example.right)), style=style)
    return table


def _columns_shown(example: Counterexample) -> list[str]:
    return list(example.left or example.right or ())


def _cell(row: dict[str, str | None] | None, name: str) -> Text:
    if row is None:
        return Text("no such row", "dim")
    value = row[name]
    return Text("NULL", "dim") if value is None else _safe(value)


def _safe(text: str) -> Text:
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
