"""Pictures of the dashboards over a real Prometheus, as SVG: every panel where Grafana has it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.dashboards import Dashboard, Line, Panel, lines_of, read_dashboards
from services.contracts.errors import BadInput
from services.contracts.record import Record

NO_DATA = "no data"
INCHES_A_COLUMN, INCHES_A_ROW = 0.62, 2.5
NAMED = 5
"""Lines of a panel whose names are written."""
NAME_CHARACTERS = 24
_SCALES = {"bytes": (2.0**20, "MB"), "percentunit": (0.01, "%"), "s": (1e-3, "ms"), "ops": (1.0, "/s")}
_STYLE: dict[Any, Any] = {"svg.hashsalt": "assay", "svg.fonttype": "none", "font.size": 8.0, "axes.axisbelow": True}


class Drawn(Record):
    """A picture that was drawn, and the titles of its panels to which Prometheus knew nothing."""

    path: Path
    panels: int
    empty: tuple[str, ...]


def draw_dashboards(url: str, folder: Path, seconds: int) -> tuple[Drawn, ...]:
    """A picture a dashboard, of the last so many seconds. Raises BadInput, Infrastructure."""
    told = [(one, {panel: lines_of(url, panel, seconds) for panel in one.panels}) for one in read_dashboards()]
    drawn = []
    for dashboard, lines in told:
        path = folder / f"{dashboard.name}.svg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(picture_of(dashboard, lines, seconds), encoding="utf-8")
        except OSError as error:
            raise BadInput(f"cannot write {path}: {error.strerror}") from error
        empty = tuple(panel.title for panel, found in lines.items() if not found)
        drawn.append(Drawn(path=path, panels=len(lines), empty=empty))
    return tuple(drawn)


def picture_of(dashboard: Dashboard, lines: Mapping[Panel, Sequence[Line]], seconds: int) -> str:
    """The dashboard as SVG text."""
    from matplotlib import rc_context, rcParams  # a second of imports
    from matplotlib.figure import Figure

    rows = sorted({panel.row for panel in dashboard.panels})
    with rc_context():
        rcParams.update(_STYLE)
        figure = Figure(figsize=(24 * INCHES_A_COLUMN, len(rows) * INCHES_A_ROW))
        for panel in dashboard.panels:
            height = 1 / len(rows)
            bottom = 1 - height * (rows.index(panel.row) + 1)
            place = (panel.column / 24 + 0.045, bottom + 0.2 * height, panel.columns / 24 - 0.06, 0.62 * height)
            _draw(figure.add_axes(place), panel, lines[panel], seconds)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def _draw(axes: Any, panel: Panel, lines: Sequence[Line], seconds: int) -> None:
    axes.set_title(panel.title, loc="left")
    known = sorted((line for line in lines if line.values), key=lambda line: line.name)
    if panel.is_stat or not known:
        axes.set_axis_off()
        said = "\n".join(f"{line.name or panel.title}: {line.values[-1]:,.0f}" for line in known) or NO_DATA
        axes.text(0.5, 0.5, said, ha="center", va="center", fontsize=12, transform=axes.transAxes)
        return
    scale, unit = _SCALES.get(panel.unit, (1.0, ""))
    for place, line in enumerate(known):
        name = _short(line.name) if place < NAMED else "_"
        values = [value / scale for value in line.values]
        axes.plot(line.seconds, values, label=name, linewidth=1, marker="." if len(values) == 1 else None)
    axes.set_xlim(0, seconds)
    axes.set_xlabel("s")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    if any(line.name for line in known):
        axes.legend(fontsize=6, loc="best")


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"
