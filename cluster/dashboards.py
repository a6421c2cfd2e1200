"""The panels of Assay's dashboards: what each asks of Prometheus, and what it was told.

The files are Grafana's; here they are read so that a picture of them needs no Grafana.
"""

import json
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.record import Record

DASHBOARDS = Path(__file__).resolve().parents[1] / "configs" / "dashboards"
ASKED, POINTS = 600, 60
"""Points that are asked for, so that what lasted for seconds is seen, and those that a line has at most."""
ASK_S = 30.0


class Panel(Record):
    """One panel: its queries with the form of their lines' names. `columns` of 24 say where it stands, and how wide."""

    title: str
    unit: str
    is_stat: bool
    row: int
    column: int
    columns: int
    targets: tuple[tuple[str, str], ...]


class Dashboard(Record):
    """A dashboard and its panels, without the headings of its rows."""

    name: str
    title: str
    panels: tuple[Panel, ...]


class Line(Record):
    """What a query gave: one series, as seconds from the picture's left edge and values."""

    name: str
    seconds: tuple[float, ...]
    values: tuple[float, ...]


def read_dashboards() -> tuple[Dashboard, ...]:
    """Assay's own, by name."""
    return tuple(map(_read, sorted(DASHBOARDS.glob("*.json"))))


def lines_of(url: str, panel: Panel, seconds: int, now: float | None = None) -> list[Line]:
    """What Prometheus says to a panel's queries over the last so many seconds. Raises BadInput, Infrastructure."""
    end = time.time() if now is None else now
    found = [(form, one) for promql, form in panel.targets for one in _series(url, promql, end - seconds, end)]
    return [_line(form, one, end - seconds) for form, one in found]


def filled(promql: str, seconds_a_point: int) -> str:
    """The query as Grafana sends it, with every policy chosen."""
    interval = max(15, 4 * seconds_a_point)
    return promql.replace("$policy", ".*").replace("$__rate_interval", f"{interval}s")


def _read(path: Path) -> Dashboard:
    tree = json.loads(path.read_text(encoding="utf-8"))
    panels = [_panel(one) for one in tree["panels"] if one["type"] != "row"]
    return Dashboard(name=path.stem, title=tree["title"], panels=tuple(panels))


def _panel(tree: Any) -> Panel:
    place = tree["gridPos"]
    return Panel(
        title=str(tree["title"]),
        unit=tree["fieldConfig"]["defaults"]["unit"],
        is_stat=tree["type"] == "stat",
        row=place["y"],
        column=place["x"],
        columns=place["w"],
        targets=tuple((target["expr"], target["legendFormat"]) for target in tree["targets"]),
    )


def _series(url: str, promql: str, start: float, end: float) -> Sequence[Any]:
    step = max(1, round((end - start) / ASKED))
    asked = {"query": filled(promql, step), "start": start, "end": end, "step": step}
    try:
        answer = httpx.post(f"{url}/api/v1/query_range", data=asked, timeout=ASK_S)
    except httpx.HTTPError as error:
        raise Infrastructure(f"no Prometheus answers at {url}: {error}") from error
    if answer.is_error:
        raise BadInput(f"{promql}: {answer.json().get('error', answer.reason_phrase)}")
    result: list[Any] = answer.json()["data"]["result"]
    return result


def _line(form: str, series: Any, start: float) -> Line:
    numbers = [(float(at) - start, float(value)) for at, value in series["values"]]
    finite = [(at, value) for at, value in numbers if math.isfinite(value)]
    every = max(1, len(finite) // POINTS)
    known = finite[:-1:every] + finite[-1:]
    name = re.sub(r"{{(\w+)}}", lambda found: str(series["metric"].get(found[1], "")), form)
    return Line(name=name.strip(), seconds=tuple(at for at, _ in known), values=tuple(value for _, value in known))
