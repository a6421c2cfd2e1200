"""How often a runtime verdict is wrong, and how often it finds a gain that is there, with the other core busy.

Real pairs of runs are taken once: a small job against itself, and against a job that does 10 % and one that does 30 %
less work. A comparison is then 30 pairs drawn from them without replacement, in blocks that are dealt out of a shuffled
pool and dealt again from a new shuffle; so comparisons share pairs, and what one run does to the next within a block is
lost. The blocks in the order in which they were measured are judged too (`in_order_false` of `in_order_blocks`). In the
pairs of the job against itself, which of the two equal runs is called the rewrite is drawn again for each comparison,
ABBA as in a measurement. The five-run median rule and the minimum of five (a rewrite below 0.9 of the original) judge
the first five pairs of the same comparisons, by wall time as their users do, and by CPU time.

    python benchmarks/timing.py [--json] [--quick] [--pairs N] [--comparisons N]
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
from scipy import stats

from services.grader.runtime.boundary import LOOKS, Look, last_look
from services.grader.runtime.cores import Core, claim_core
from services.grader.runtime.job import Comparison, DatabaseSource, Job
from services.grader.runtime.measurement import Pair
from services.grader.runtime.running import run_once
from services.grader.runtime.sides import Sides, orders
from services.grader.runtime.timer import machine_here

ROWS = 12_000_000
SHARES = (1.0, 0.9, 0.7)
MOST = LOOKS[-1]
RULE_RUNS = 5
RULE_BELOW = 0.9
Clock = Callable[[Pair], tuple[float, float]]


def small_job(folder: Path) -> Job:
    """The job: an aggregate over twelve million rows, some 0.07 s of CPU time; beside them, tables with fewer rows."""
    path = folder / "small.duckdb"
    with duckdb.connect(str(path)) as connection:
        for share in SHARES:
            connection.execute(f"CREATE TABLE t{int(100 * share)} AS SELECT range AS x FROM range({int(ROWS * share)})")
    return Job(statements=(statement(1.0),), sources=(DatabaseSource(name="small", path=path),))


def statement(share: float) -> str:
    """The query over that share of the rows; its result is the same."""
    return f"SELECT max(hash(x * 31 + 7) % 1000) AS m FROM t{int(100 * share)}"


@contextmanager
def other_cores_busy(core: Core) -> Iterator[None]:
    """A process that spins on every other core, and ends with this one however that ends."""
    spin = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); ours = os.getppid()\n"
    spin += "while os.getppid() == ours: pass"
    others = sorted(os.sched_getaffinity(0) - {core.number})
    spinners = [subprocess.Popen([sys.executable, "-c", spin, str(other)]) for other in others]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def take(job: Job, share: float, count: int, core: Core, tell: Callable[[str], None]) -> list[Pair]:
    """So many pairs of the job against the one that does that share of its work."""
    sides = Sides(Comparison(original=job, rewrite=(statement(share),)), core, run_once)
    order = orders(f"benchmark/{share}")
    pairs = []
    for done in range(1, count + 1):
        pairs.append(sides.pair(next(order)))
        if done % 50 == 0:
            tell(f"{share:.0%} of the work: {done} of {count} pairs")
    return pairs


def deal(pool: Sequence[Pair], comparisons: int, coin: random.Random) -> Iterator[list[Pair]]:
    """Comparisons of 30 pairs; none holds a pair twice."""
    left: list[Pair] = []
    for _ in range(comparisons):
        if len(left) < MOST:
            left = list(pool)
            coin.shuffle(left)
        hand, left = left[:MOST], left[MOST:]
        yield hand


def relabelled(pairs: Sequence[Pair], seed: str) -> list[Pair]:
    """Pairs of a job against itself, with the run that came first given to one side or the other as ABBA has it."""
    turned = []
    for pair, first in zip(pairs, orders(seed), strict=False):
        swap = pair.first != first
        one, two = (pair.rewrite, pair.original) if swap else (pair.original, pair.rewrite)
        turned.append(Pair(original=one, rewrite=two, first=first))
    return turned


def look_of(pairs: Sequence[Pair]) -> Look:
    """Where the measurement of these pairs would have ended."""
    look = last_look([pair.log_ratio for pair in pairs])
    assert look is not None
    return look


def cpu(pair: Pair) -> tuple[float, float]:
    """Both CPU times, the original's first."""
    return pair.original.cpu_s, pair.rewrite.cpu_s


def wall(pair: Pair) -> tuple[float, float]:
    """Both wall times, the original's first."""
    return pair.original.wall_s, pair.rewrite.wall_s


def rule_false(hands: Sequence[Sequence[Pair]], clock: Clock, middle: Callable[[Sequence[float]], float]) -> float:
    """How often a rule over five runs calls equal jobs faster."""
    called = 0
    for hand in hands:
        originals, rewrites = zip(*map(clock, hand[:RULE_RUNS]), strict=True)
        called += middle(rewrites) < RULE_BELOW * middle(originals)
    return called / len(hands)


def upper(count: int, of: int) -> float:
    """The upper 95 % limit of a rate (Clopper and Pearson, one-sided)."""
    return 1.0 if count == of else float(stats.beta.ppf(0.95, count + 1, of - count))


def deviation(pairs: Sequence[Pair], clock: Clock) -> float:
    """Standard deviation of the log ratios."""
    return statistics.stdev(math.log(original / rewrite) for original, rewrite in map(clock, pairs))


def saved(pairs: Sequence[Pair]) -> float:
    """The share of CPU time that the rewrite saves, geometric mean."""
    return 1 - math.exp(-statistics.fmean(pair.log_ratio for pair in pairs))


def judge(pools: Sequence[Sequence[Pair]], comparisons: int) -> dict[str, float]:
    """All figures, from the pairs of the job against itself, against 10 % less work and against 30 % less."""
    equal, tenth, third = pools
    coin = random.Random("deal")
    hands = [relabelled(hand, f"deal/{number}") for number, hand in enumerate(deal(equal, comparisons, coin))]
    looks = [look_of(hand) for hand in hands]
    tenths = [look_of(hand) for hand in deal(tenth, comparisons, coin)]
    thirds = [look_of(hand) for hand in deal(third, comparisons, coin)]
    blocks = [look_of(equal[at : at + MOST]) for at in range(0, len(equal) - MOST + 1, MOST)]
    false = sum(look.low > 0 for look in looks)
    return {
        "false_faster": false / comparisons,
        "false_faster_upper": upper(false, comparisons),
        "false_slower": sum(look.high < 0 for look in looks) / comparisons,
        "power_10": sum(look.low > 0 for look in tenths) / comparisons,
        "power_30": sum(look.low > 0 and look.pairs <= LOOKS[1] for look in thirds) / comparisons,
        "median_rule_false": rule_false(hands, wall, statistics.median),
        "median_rule_false_cpu": rule_false(hands, cpu, statistics.median),
        "minimum_rule_false": rule_false(hands, wall, min),
        "minimum_rule_false_cpu": rule_false(hands, cpu, min),
        "in_order_false": sum(look.crossed for look in blocks),
        "in_order_blocks": len(blocks),
        "pairs_used_30": statistics.fmean(look.pairs for look in thirds),
        "saved_10": saved(tenth),
        "saved_30": saved(third),
        "deviation_cpu": deviation(equal, cpu),
        "deviation_wall": deviation(equal, wall),
    }


def spread_of(figures: dict[str, float], comparisons: int) -> dict[str, list[float]]:
    """95 % intervals of the rates (Clopper and Pearson)."""
    found = {}
    for name in ("false_faster", "false_slower", "power_10", "power_30", "median_rule_false", "minimum_rule_false"):
        test = stats.binomtest(round(figures[name] * comparisons), comparisons)
        interval = test.proportion_ci(0.95)
        found[name] = [float(interval.low), float(interval.high)]
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int, help="pairs of the job against itself; a third of them of the others")
    parser.add_argument("--comparisons", type=int)
    options = parser.parse_args(arguments)
    count = max(options.pairs or (90 if options.quick else 900), MOST)
    comparisons = options.comparisons or (100 if options.quick else 1000)
    machine = machine_here().model_dump()
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder, claim_core(60) as core, other_cores_busy(core):
        Path(folder).chmod(0o755)
        job = small_job(Path(folder))
        pools = [
            take(job, share, pairs, core, lambda line: print(line, file=sys.stderr))
            for share, pairs in zip(SHARES, (count, max(count // 3, MOST), max(count // 3, MOST)), strict=True)
        ]
    figures = judge(pools, comparisons)
    if not options.json:
        for name, value in figures.items():
            print(f"{name:26} {value:10.4f}")
    result = {"benchmark": "timing", "figures": figures, "runs": comparisons, "spread": spread_of(figures, comparisons)}
    print(json.dumps({**result, "machine": machine}))


if __name__ == "__main__":
    main(sys.argv[1:])
