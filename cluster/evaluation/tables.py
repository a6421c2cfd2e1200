"""An evaluation, or a comparison of two runs, as tables for people."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.evaluation.figures import Figures
from cluster.evaluation.intervals import Estimate
from cluster.evaluation.pairs import Comparison, Difference
from cluster.evaluation.results import Evaluation
from cluster.evaluation.runs import RunComparison


def evaluation_view(evaluation: Evaluation) -> RenderableType:
    """Headline, comparisons, components, slices."""
    manifest = evaluation.manifest
    head = Text(f"evaluation {manifest.run_id} on {manifest.task_set_name} ({manifest.task_set_hash})")
    counts = (
        f"{evaluation.planned} planned = {evaluation.graded} graded + {evaluation.faulted} faulted; "
        f"95 % intervals over databases; p corrected by Holm over {len(evaluation.comparisons)} comparisons"
    )
    parts = [_headline(evaluation.policies), _components(evaluation.policies), _slices(evaluation.slices)]
    if evaluation.comparisons:
        parts.insert(1, comparison_table(evaluation.comparisons))
    return Group(head, *parts, Text(counts))


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """B against A, a row each."""
    table = Table(title="paired differences, B - A")
    for heading in ("A", "B", "pairs", "only A : only B", "success", "p", "McNemar p", "reward", "p"):
        table.add_column(heading, overflow="fold")
    for one in comparisons:
        table.add_row(
            one.a,
            one.b,
            str(one.pairs),
            f"{one.only_a} : {one.only_b}",
            difference_text(one.success, 100, " %"),
            p_text(one.success.p_holm),
            p_text(one.mcnemar_p_holm),
            difference_text(one.reward, 1, ""),
            p_text(one.reward.p_holm),
        )
    return table


def percent(estimate: Estimate) -> str:
    """A rate with its interval: 30.0 % (21.0 to 41.2)."""
    return _interval(estimate, 100, ".1f", " %")


def amount(estimate: Estimate) -> str:
    """A mean with its interval: +0.305 (+0.200 to +0.411)."""
    return _interval(estimate, 1, "+.3f", "")


def _headline(policies: Iterable[Figures]) -> Table:
    table = Table("policy")
    for heading in ("episodes", "success", "pass@k", "reward", "steps", "p50 / p99 ms", "verdicts", "viol.", "faults"):
        table.add_column(heading, overflow="fold")
    for one in policies:
        most = max(one.pass_at, default=0)
        table.add_row(
            one.policy,
            str(one.episodes),
            percent(one.success),
            f"@{most}: {percent(one.pass_at[most])}" if most > 1 else "-",
            amount(one.reward),
            "-" if one.steps is None else f"{one.steps:.1f}",
            f"{one.latency.p50_ms:.0f} / {one.latency.p99_ms:.0f}",
            ", ".join(f"{verdict} {count}" for verdict, count in one.verdicts.items()),
            str(one.violations),
            str(one.faulted),
        )
    return table


def _components(policies: Sequence[Figures]) -> Table:
    names = list(dict.fromkeys(name for one in policies for name in one.components))
    table = Table("policy", *names, title="mean of each reward component")
    for one in policies:
        table.add_row(one.policy, *(f"{one.components[name]:+.4f}" if one.components else "-" for name in names))
    return table


def _slices(slices: Iterable[Figures]) -> Table:
    table = Table("policy", "slice", "value", "tasks", "episodes", "success", "reward", title="slices")
    for one in slices:
        counts = (str(one.tasks), str(one.episodes))
        table.add_row(one.policy, one.dimension, one.value, *counts, percent(one.success), amount(one.reward))
    return table


def _interval(estimate: Estimate, scale: int, form: str, unit: str) -> str:
    if estimate.mean is None:
        return "-"
    said = f"{estimate.mean * scale:{form}}{unit}"
    if estimate.low is None or estimate.high is None:
        return said
    mark = "" if estimate.reliable else "~"
    return f"{said} ({mark}{estimate.low * scale:{form}} to {estimate.high * scale:{form}})"


def difference_text(difference: Difference, scale: int, unit: str) -> str:
    """A difference with its interval, as 100 times itself or as it is."""
    return _interval(difference.delta, scale, "+.1f" if scale == 100 else "+.3f", unit)


def p_text(value: float | None) -> str:
    """A p value to four places."""
    if value is None:
        return "-"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def run_comparison_view(compared: RunComparison) -> RenderableType:
    """The differences, then the flips of each policy with both episodes."""
    table = Table("policy", "flip", "task", "sample", "episode of A", "episode of B", title="flipped")
    for one in compared.policies:
        for word, found in (("lost", one.lost), ("won", one.won)):
            for flip in found:
                where = (flip.task_id, str(flip.sample_index), flip.episode_a, flip.episode_b)
                table.add_row(one.comparison.b, word, *where)
    head = Text(f"A: {compared.run_a}\nB: {compared.run_b}\ntask set {compared.task_set_hash}")
    return Group(head, comparison_table([one.comparison for one in compared.policies]), table)


def beside(published: Iterable[Figures], evaluated: Iterable[Figures]) -> Table:
    """Published figures, and below them those of an evaluation."""
    table = Table("from", "policy", "episodes", "success", "reward")
    for word, policies in (("published", published), ("this run", evaluated)):
        for one in policies:
            table.add_row(word, one.policy, str(one.episodes), percent(one.success), amount(one.reward))
        table.add_section()
    return table
