"""What the rule-based rewriter makes of the built-in ETL jobs: the rules that it kept, and the speed-up with its bounds.

Each job is written at the scale asked for and played as `assay optimize` plays it: search, verification, comparison with
production and on variants, then paired CPU times under the group-sequential boundary. The traps are played too: what is
proposed there must be equal as well.

    python benchmarks/etl_jobs.py [--json] [--quick] [--scale SCALE] [--seed N] [JOB ...]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.outcome import print_outcome
from cluster.etl.builtin.building import SCALES
from cluster.etl.builtin.catalog import JOBS, job_spec
from cluster.etl.builtin.domain import JobSpec
from cluster.etl.builtin.writing import PINS, write_job
from cluster.etl.opening import open_job
from cluster.etl.optimize import Asked, play
from services.contracts.etl import RunRewrite, Verify
from services.env_actor.etl.episode import EtlStep
from services.grader.etl.submission import Submission
from services.grader.runtime.verdict import derive
from services.policy.rewriter.search import RewriterPolicy

QUICK = ("customer_card", "orders_or_zero")


@dataclass
class Kept:
    """The rules whose edits were found equal and cheaper, in order."""

    rules: list[str] = field(default_factory=list)
    last: str = ""

    def __call__(self, number: int, step: EtlStep) -> None:
        match step.action:
            case RunRewrite():
                self.last = step.action.rule
            case Verify() if step.reply.equal:
                self.rules.append(self.last)


@dataclass(frozen=True)
class Played:
    """What came of one job; the bounds of the speed-up hold with 99 %."""

    spec: JobSpec
    equal: bool
    speed_up: float
    low: float
    high: float
    rules: tuple[str, ...]
    steps: int
    wall_s: float

    @property
    def sped_up(self) -> bool:
        """Whether it is equal and proven faster."""
        return self.equal and self.low > 1.0

    def line(self) -> str:
        """One row of the table."""
        said = f"{'trap' if self.spec.is_trap else 'job':5} {'equal' if self.equal else 'UNEQUAL':8}"
        bounds = f"{self.speed_up:7.2f} [{self.low:7.2f}, {self.high:7.2f}]"
        return f"{self.spec.task_key:21} {said} {bounds} {self.steps:3} {self.wall_s:5.0f} s  {', '.join(self.rules)}"


def played(spec: JobSpec, scale: str, seed: int, folder: Path) -> Played:
    """Write the job, have it rewritten, and read what came of it."""
    write_job(spec, folder, scale, seed)
    kept, started = Kept(), time.monotonic()
    out = folder / f"{spec.task_key}-out"
    done = play(open_job(folder / spec.task_key / PINS), RewriterPolicy(), Asked(policy="rewriter"), out, kept)
    measurement = Submission.model_validate_json((out / "submission.json").read_text()).measurement
    finding = derive(measurement) if measurement is not None else None
    speed_up, low, high = (finding.speed_up, finding.low, finding.high) if finding else (None, None, None)
    equal = done.grade is not None and done.grade.equal
    wall_s = time.monotonic() - started
    return Played(spec, equal, speed_up or 1.0, low or 1.0, high or 1.0, tuple(kept.rules), done.steps, wall_s)


def main(options: argparse.Namespace) -> None:
    """Play and print."""
    names = options.jobs or (QUICK if options.quick else JOBS)
    scale = "tiny" if options.quick else options.scale
    found = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
            Path(folder).chmod(0o755)
            found.append(played(job_spec(name), scale, options.seed, Path(folder)))
            print(found[-1].line(), file=sys.stderr, flush=True)
    paying = [one for one in found if not one.spec.is_trap]
    figures = {
        "jobs": len(paying),
        "sped_up": sum(one.sped_up for one in paying),
        "traps": len(found) - len(paying),
        "proposals_unequal": sum(not one.equal for one in found),
    }
    series = {"speed_up": [one.speed_up for one in paying], "low": [one.low for one in paying]}
    print_outcome("etl_jobs", figures, series, 1, options.json)


def asked(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scale", choices=SCALES, default="medium")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(asked(sys.argv[1:]))
