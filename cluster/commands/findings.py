"""A runtime grade as people read it: the verdict, its interval, the pay, and the split of a gain over production."""

from cluster.console import out
from services.grader.runtime.baseline import Ratio
from services.grader.runtime.grade import RuntimeGrade
from services.grader.runtime.verdict import Finding, SecondOpinion


def print_grade(found: RuntimeGrade) -> None:
    """What was found, in a few lines."""
    _line(f"outputs: {found.equality.verdict if found.equality else 'not compared'}")
    _line(f"runtime: {finding_text(found.finding)}")
    reward = "none, the original could not be measured" if found.reward is None else f"{found.reward:.3f}"
    _line(f"reward ({found.rules.mode}): {reward}")
    if found.split is not None:
        split = found.split
        _line(f"production over rewrite, wall time: {_ratio(split.total)}, of which")
        _line(f"  relief from contention and whatever else differs there: {_ratio(split.relief)}")
        _line(f"  the rewrite's own effect: {_ratio(split.own)}")


def print_second(opinion: SecondOpinion) -> None:
    """Both verdicts, and whether the first stands."""
    _line(f"first:  {finding_text(opinion.first)}")
    _line(f"second: {finding_text(opinion.second)}")
    _line("the verdict stands" if opinion.stands else "the verdict does not stand")


def finding_text(finding: Finding) -> str:
    """A verdict with its speed-up and interval."""
    if finding.unfit is not None:
        return f"no verdict: the {finding.unfit.side} ended with {finding.unfit.reason}: {finding.unfit.message}"
    if finding.speed_up is None or finding.low is None or finding.high is None:
        return f"{finding.verdict} after {finding.pairs} pairs"
    interval = f"{finding.speed_up:.2f}x, 99 % interval {finding.low:.2f} to {finding.high:.2f}"
    return f"{finding.verdict}: {interval}, {finding.pairs} pairs of CPU time"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def _line(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)
