"""The charts of an evaluation as SVG: the same figures give the same bytes."""

import io
from collections.abc import Sequence
from typing import Any

from cluster.evaluation.failures import FAILURE_KINDS, Failure
from cluster.evaluation.figures import Figures
from cluster.evaluation.intervals import Estimate
from cluster.evaluation.pairs import Comparison
from cluster.evaluation.results import Evaluation

ROW_INCHES = 0.42
WIDTH_INCHES = 7.5
NAME_CHARACTERS = 40
_STYLE: dict[Any, Any] = {"svg.hashsalt": "assay", "svg.fonttype": "none", "font.size": 9.0, "axes.axisbelow": True}


def charts_of(evaluation: Evaluation) -> dict[str, str]:
    """SVG texts by file name: success, differences (with two policies or more), difficulty, failures."""
    from matplotlib import rc_context, rcParams  # a second of imports

    with rc_context():
        rcParams.update(_STYLE)
        found = {
            "success.svg": _success(evaluation.policies),
            "difficulty.svg": _difficulty(evaluation.slices),
            "failures.svg": _failures(evaluation.failures),
        }
        if evaluation.comparisons:
            found["differences.svg"] = _differences(evaluation.comparisons)
    return {name: text for name, text in sorted(found.items()) if text}


def _success(policies: Sequence[Figures]) -> str:
    figure, axes = _rows([one.policy for one in policies])
    _points(axes, [one.success for one in policies], 0.0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of episodes with a right answer, 95 % interval")
    return _svg(figure)


def _differences(comparisons: Sequence[Comparison]) -> str:
    figure, axes = _rows([f"{_short(one.b)} - {_short(one.a)}" for one in comparisons])
    _points(axes, [one.success.delta for one in comparisons], 0.0)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("difference of success on the same episodes, 95 % interval")
    return _svg(figure)


def _difficulty(slices: Sequence[Figures]) -> str:
    chosen = [one for one in slices if one.dimension == "difficulty"]
    values = [value for value in ("easy", "medium", "hard") if any(one.value == value for one in chosen)]
    policies = sorted({one.policy for one in chosen})
    if not values:
        return ""
    figure, axes = _rows(policies)
    for place, value in enumerate(values):
        found = {one.policy: one.success for one in chosen if one.value == value}
        present = [name for name in policies if name in found]
        shift = 0.22 * (place - (len(values) - 1) / 2)
        rows = [float(policies.index(name)) for name in present]
        _points(axes, [found[name] for name in present], shift, value, rows)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of episodes with a right answer, 95 % interval")
    _legend(axes)
    return _svg(figure)


def _failures(failures: Sequence[Failure]) -> str:
    from matplotlib import colormaps

    policies = sorted({one.policy for one in failures})
    if not policies:
        return ""
    figure, axes = _rows(policies)
    ends = dict.fromkeys(policies, 0)
    kinds = [kind for kind in FAILURE_KINDS if any(one.kind == kind for one in failures)]
    for place, kind in enumerate(kinds):
        counts = {one.policy: one.episodes for one in failures if one.kind == kind}
        widths = [counts.get(name, 0) for name in policies]
        starts = [ends[name] for name in policies]
        axes.barh(range(len(policies)), widths, left=starts, label=kind, color=colormaps["tab20"](place), height=0.6)
        ends = {name: start + width for name, start, width in zip(policies, starts, widths, strict=True)}
    axes.set_xlabel("episodes that failed")
    _legend(axes)
    return _svg(figure)


def _rows(names: Sequence[str]) -> tuple[Any, Any]:
    """A figure with one row a name, the first on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 1.1 + ROW_INCHES * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _points(
    axes: Any, estimates: Sequence[Estimate], shift: float, label: str = "", rows: Sequence[float] | None = None
) -> None:
    """A point with its interval for each estimate that is known."""
    places = range(len(estimates)) if rows is None else rows
    known = [(row + shift, one) for row, one in zip(places, estimates, strict=True) if one.mean is not None]
    means = [one.mean or 0.0 for _, one in known]
    below = [mean - (mean if one.low is None else one.low) for mean, (_, one) in zip(means, known, strict=True)]
    above = [(mean if one.high is None else one.high) - mean for mean, (_, one) in zip(means, known, strict=True)]
    axes.errorbar(means, [row for row, _ in known], xerr=[below, above], fmt="o", markersize=4, capsize=3, label=label)


def _legend(axes: Any) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _short(name: str) -> str:
    text = name if len(name) <= NAME_CHARACTERS else "…" + name[1 - NAME_CHARACTERS :]
    return text.replace("$", r"\$")  # or matplotlib would set it as mathematics


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
