"""The report of an evaluation for people: report.md with its charts beside it, made from report.json's own figures."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cluster.evaluation.charts import charts_of
from cluster.evaluation.failures import MEANINGS
from cluster.evaluation.figures import DIMENSIONS
from cluster.evaluation.intervals import FEW_CLUSTERS
from cluster.evaluation.results import Evaluation
from cluster.evaluation.tables import amount, difference_text, p_text, percent
from cluster.run import write_whole
from services.contracts.errors import BadInput
from services.contracts.grading import ALL_COMPONENTS

PAGE = "report.md"
TEMPLATE = Path(__file__).with_name("report.md.jinja")


def write_page(evaluation: Evaluation, folder: Path) -> None:
    """Leave report.md and its charts in the folder. Raises BadInput if it cannot be written."""
    charts = charts_of(evaluation)
    try:
        for name, text in charts.items():
            write_whole(folder / name, text)
        write_whole(folder / PAGE, page_of(evaluation, tuple(charts)))
    except OSError as error:
        raise BadInput(f"cannot write the report to {folder}: {error.strerror}") from error


def page_of(evaluation: Evaluation, charts: tuple[str, ...]) -> str:
    """The report as Markdown; `charts` are the files beside it."""
    loader = FileSystemLoader(TEMPLATE.parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, trim_blocks=True)  # noqa: S701
    environment.filters |= {"cell": cell, "percent": percent, "amount": amount, "p": p_text, "delta": difference_text}
    return environment.get_template(TEMPLATE.name).render(
        evaluation=evaluation,
        manifest=evaluation.manifest,
        charts=charts,
        components=[name for name in ALL_COMPONENTS if any(name in one.components for one in evaluation.policies)],
        dimensions=DIMENSIONS,
        meanings=MEANINGS,
        few=FEW_CLUSTERS,
    )


def cell(text: object) -> str:
    """Text from outside as one cell of a Markdown table: no new cell, line, link or tag."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>|" else sign for sign in flat)
