"""One day's increment of 28.3M rows, by a job as such jobs grow, rewritten by the rules and graded as any other.

The job `daily_events` (cluster/etl/builtin/increment.py) adds a day's events to a table: row_number(), DISTINCT and
ORDER BY over rows that a key tells apart, keys that are cleaned and cast although their formats are declared,
strftime() for the day, a LEFT JOIN that nobody reads. `assay optimize` plays it in a process of its own: the rule-based
policy searches, what it hands in is compared with production's increment and on variants, then both sides are timed on
one core until the boundary decides.

`gain_lower_bound`: the share of CPU time saved, by the lower bound of the speed-up (99 % over all looks). `peak_gb`:
the most resident memory of any of its processes. `verify_over_scan`: CPU time to compare the rewrite's output with
production's increment, over that of scanning both. `proposal_complete`: 1 if all files of the proposal are there and
the output was equal wherever it was compared.

    python benchmarks/helios_increment.py [--json] [--quick] [--rows N] [--folder FOLDER]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from benchmarks.equivalence import scan
from benchmarks.outcome import print_outcome
from cluster.etl.builtin.building import build
from cluster.etl.builtin.increment import DAILY_EVENTS, RAW_EVENTS
from cluster.etl.builtin.writing import PINS
from cluster.etl.optimize import Optimized
from cluster.etl.pinning import Pins, pin_files, tables_of, write_pins
from services.contracts.etl import EtlJob
from services.grader.etl.submission import Submission
from services.grader.runtime.verdict import Finding, derive
from services.grader.tables.compare import compare
from services.grader.tables.verdict import TableJob

ROWS, QUICK_ROWS = 28_300_000, 200_000
RAW_TO_INCREMENT = 0.8912
"""Of the raw rows, the part that is of the day and has a user."""
WALL_S = 4 * 3600.0
STEPS = 60
FILES = ("proposal.md", "proposal.html", "messages.json", "trace.jsonl", "submission.json", "pins.json", "result.json")


def prepare(folder: Path, rows: int) -> EtlJob:
    """Write the sources and production's output, and pin them."""
    job = build(DAILY_EVENTS, folder, factor=rows / RAW_TO_INCREMENT / RAW_EVENTS.rows)
    write_pins(Pins(job=job, files=pin_files(tables_of(job))), folder / PINS)
    return job


def optimize(folder: Path, out: Path) -> float:
    """Play the job as a person would; wall minutes."""
    started = time.monotonic()
    command = [sys.executable, "-m", "cluster.cli", "optimize", str(folder / PINS), "--out", str(out)]
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [*command, "--policy", "rewriter", "--steps", str(STEPS), "--wall", str(WALL_S)],
        cwd=root,
        stdout=sys.stderr,
        check=False,
    )
    if not (out / "result.json").exists():
        raise SystemExit("the run left no result: see above")
    return (time.monotonic() - started) / 60


def read(out: Path) -> tuple[Optimized, Submission, Finding]:
    """What the run left."""
    done = Optimized.model_validate_json((out / "result.json").read_text())
    submission = Submission.model_validate_json((out / "submission.json").read_text())
    if submission.measurement is None:
        raise SystemExit(f"nothing was timed: {done.grade}")
    return done, submission, derive(submission.measurement)


def increments(job: EtlJob, statements: Sequence[str], folder: Path) -> tuple[str, str]:
    """Production's increment and what the rewrite makes of the sources, as Parquet files."""
    left, right = str(folder / "production.parquet"), str(folder / "rewrite.parquet")
    with duckdb.connect(str(folder / "run.duckdb"), config={"threads": 2, "memory_limit": "5GB"}) as connection:
        after = f"read_parquet({list(job.after.files)})"
        connection.execute(f"COPY (FROM {after} WHERE {job.touched[0]}) TO '{left}'")
        for source in job.sources:
            connection.execute(f"CREATE VIEW {source.name} AS FROM read_parquet({list(source.files)})")
        connection.execute(f"CREATE TABLE {job.output} AS FROM {after} LIMIT 0")
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"COPY {job.output} TO '{right}'")
    return left, right


def cpu_of(do: Callable[[], object]) -> float:
    """CPU seconds of this process, both threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    do()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verify_over_scan(left: str, right: str, rounds: int = 3) -> list[float]:
    """CPU time of the comparison over that of the scan, round by round, after one that is not counted."""
    found = []
    for number in range(rounds + 1):
        scanned = cpu_of(lambda: scan(left, right))
        compared = cpu_of(lambda: _equal(left, right))
        if number:
            found.append(compared / scanned)
    return found


def _equal(left: str, right: str) -> None:
    if not compare(TableJob(left=left, right=right)).equal:
        raise SystemExit("the rewrite's output, made anew, is not production's increment")


def kept_rules(out: Path) -> list[str]:
    """The rules that were run, in order."""
    lines = [json.loads(line) for line in (out / "trace.jsonl").read_text().splitlines()]
    return [line["input"]["rule"] for line in lines if line.get("tool") == "RUN"]


def main(options: argparse.Namespace) -> None:
    """Prepare, play, measure, print."""
    rows = QUICK_ROWS if options.quick else options.rows
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        folder = options.folder or Path(scratch)
        folder.chmod(0o755)
        job = prepare(folder / "job", rows)
        minutes = optimize(folder / "job", folder / "out")
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        done, submission, finding = read(folder / "out")
        (folder / "verify").mkdir()
        ratios = verify_over_scan(*increments(job, submission.statements, folder / "verify"), 1 if options.quick else 3)
        complete = all((folder / "out" / name).is_file() for name in FILES) and done.proposed
        print("rules run: " + ", ".join(kept_rules(folder / "out")), file=sys.stderr)
    low, high, middle = (bound or 1.0 for bound in (finding.low, finding.high, finding.speed_up))
    pairs = submission.measurement.pairs if submission.measurement is not None else ()
    figures = {
        "gain_lower_bound": 1 - 1 / low,
        "gain": 1 - 1 / middle,
        "gain_upper_bound": 1 - 1 / high,
        "peak_gb": peak_gb,
        "verify_over_scan": sorted(ratios)[len(ratios) // 2],
        "wall_minutes": minutes,
        "proposal_complete": float(complete),
        "checks_equal": float(sum(check.equal for check in submission.checks)),
        "raw_rows": job.sources[0].rows,
        "increment_rows": job.after.rows - (job.before.rows if job.before is not None else 0),
        "original_cpu_s": sorted(pair.original.cpu_s for pair in pairs)[len(pairs) // 2] if pairs else 0.0,
    }
    series = {
        "verify_over_scan": ratios,
        "original_cpu_s": [pair.original.cpu_s for pair in pairs],
        "rewrite_cpu_s": [pair.rewrite.cpu_s for pair in pairs],
    }
    print_outcome("helios_increment", figures, series, len(pairs), options.json)


def asked(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path, help="a new folder: keep the tables and the proposal there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(asked(sys.argv[1:]))
