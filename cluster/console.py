"""What a command prints: tables for people, progress on a terminal and plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cluster.report import RunReport, Slice
from services.env_actor.actor import EpisodeSummary

PLAIN_EVERY_S = 5.0
PLAIN_WIDTH = 120
out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


class RolloutProgress:
    """Episodes done, episodes/s and success rate while a rollout goes on."""

    def __init__(self, bar: Progress | None, planned: int, stored: int) -> None:
        self._bar = bar
        self._planned = planned
        self._done = stored
        self._fresh = self._graded = self._correct = 0
        self._started = self._printed = time.monotonic()
        self._task = bar.add_task("episodes", total=planned, completed=stored, said="") if bar else None

    def on_done(self, summaries: Sequence[EpisodeSummary]) -> None:
        """Take in a batch that is safe."""
        self._done += len(summaries)
        self._fresh += len(summaries)
        self._graded += sum(summary.verdict != "ungraded" for summary in summaries)
        self._correct += sum(summary.verdict == "correct" for summary in summaries)
        now = time.monotonic()
        rate = self._fresh / max(now - self._started, 1e-6)
        success = f"{self._correct / self._graded:.1%}" if self._graded else "-"
        said = f"{rate:.1f} episodes/s, success {success}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, said=said)
        elif now - self._printed >= PLAIN_EVERY_S or self._done >= self._planned:
            self._printed = now
            err.print(f"{self._done} of {self._planned} episodes, {said}", highlight=False)


@contextmanager
def rollout_progress(planned: int, stored: int) -> Iterator[RolloutProgress]:
    """A progress bar on a terminal, a plain line every few seconds elsewhere."""
    if not err.is_terminal:
        yield RolloutProgress(None, planned, stored)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[said]}"), console=err) as bar:
        yield RolloutProgress(bar, planned, stored)


def print_report(report: RunReport) -> None:
    """The report as tables."""
    manifest = report.manifest
    out.print(f"run {manifest.run_id} on {manifest.task_set_name} ({manifest.task_set_hash})", highlight=False)
    success = Table("policy", "difficulty", "episodes", "success", "95 % interval", "reward", "steps", "faults")
    for part in report.policies:
        success.add_row(*_success_row(part), style="bold")
        for detail in report.by_difficulty:
            if detail.policy == part.policy:
                success.add_row(*_success_row(detail))
    out.print(success)
    names = list(report.policies[0].components)
    rewards = Table("policy", *names, title="mean of each reward component")
    for part in report.policies:
        rewards.add_row(part.policy, *(f"{part.components[name]:+.4f}" for name in names))
    out.print(rewards)
    verdicts = Table("policy", "verdict", "episodes")
    for policy, counts in report.verdicts.items():
        for verdict, count in counts.items():
            verdicts.add_row(policy, verdict, str(count))
    out.print(verdicts)
    rate = "-" if report.steps_per_s is None else f"{report.steps_per_s:.0f}"
    quantiles = ", ".join(
        f"{name} {'-' if ms is None else f'{ms:.2f}'} ms"
        for name, ms in (("p50", report.step_ms_p50), ("p99", report.step_ms_p99))
    )
    out.print(
        f"{report.planned} planned = {report.graded} graded + {report.faulted} faulted; "
        f"{report.steps} steps in {report.seconds:.1f} s, {rate} steps/s; a step: {quantiles}",
        highlight=False,
    )


def _success_row(part: Slice) -> list[str]:
    if part.success_rate is None or part.success_low is None or part.success_high is None:
        return [part.policy, part.difficulty, str(part.episodes), "-", "-", "-", "-", str(part.faulted)]
    between = f"{part.success_low:.1%} to {part.success_high:.1%}"
    numbers = [f"{part.success_rate:.1%}", between, f"{part.reward:+.3f}", f"{part.steps:.1f}"]
    return [part.policy, part.difficulty, str(part.episodes), *numbers, str(part.faulted)]


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A counter on a terminal, a plain line every few seconds elsewhere. The callee is told how many are done."""
    if err.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(what, total=total or None)
            yield lambda done: bar.update(task, completed=done)
        return
    printed = time.monotonic()

    def plain(done: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= PLAIN_EVERY_S:
            printed = time.monotonic()
            err.print(f"{done} of {total} {what}" if total else f"{done} {what}", highlight=False)

    yield plain
