"""A batch: the canary first, pairs in ABBA order until they decide, and outputs that may not change on the way.

Runs are real. So that no verdict hangs on luck, the time of a run is taken from what its profile counts, and noise.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import duckdb
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from services.grader.runtime.cores import Core, claim_core
from services.grader.runtime.cost import cost_of, cost_ratio
from services.grader.runtime.faults import CanaryFired
from services.grader.runtime.job import Comparison, DatabaseSource, Job, JobLimits
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.pay import PayRules, pay
from services.grader.runtime.run import Run, RunOutcome, Stopped
from services.grader.runtime.running import run_once
from services.grader.runtime.sides import Sides, orders
from services.grader.runtime.timer import Timer
from services.grader.runtime.verdict import derive

OTHER = {"original": "rewrite", "rewrite": "original"}
SLOW = "SELECT max(a.x + b.x) AS m FROM t a, t b WHERE a.x < 300"
QUICK = "SELECT (SELECT max(x) FROM t WHERE x < 300) + (SELECT max(x) FROM t) AS m"


@pytest.fixture(scope="module")
def core() -> Iterator[Core]:
    with claim_core(60) as core:
        yield core


@pytest.fixture(scope="module")
def job() -> Iterator[Job]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with duckdb.connect(str(folder / "shop.duckdb")) as made:
            made.execute("CREATE TABLE t AS SELECT range AS x, range % 7 AS g FROM range(2000)")
        yield Job(statements=(SLOW,), sources=(DatabaseSource(name="shop", path=folder / "shop.duckdb"),))


class Counted:
    """Runs each job for real, again only if it is random; its time is what its profile counts, with noise, drifting."""

    def __init__(self, drift: float = 0.0) -> None:
        self._noise = random.Random("noise")
        self._drift = drift
        self._kept: dict[Job, RunOutcome] = {}
        self.runs: Counter[str] = Counter()

    def __call__(self, job: Job, core: Core, profile: bool, keep: Path | None) -> RunOutcome:
        self.runs[job.statements[0]] += 1
        if job not in self._kept or keep or "random()" in job.statements[0]:
            self._kept[job] = run_once(job, core, True, keep)
        outcome = self._kept[job]
        return outcome if isinstance(outcome, Stopped) else self.timed(outcome)

    def timed(self, run: Run) -> Run:
        seconds = cost_of(run, "1.5.6").total * 1e-6 * self._noise.lognormvariate(0, 0.05)
        return run.model_copy(update={"user_s": seconds * (1 + self._drift) ** self.runs.total(), "system_s": 0.0})


class FavoursTheRewrite(Counted):
    """Whatever a canary calls the rewrite takes less time."""

    def __init__(self) -> None:
        super().__init__()
        self._sides = chain.from_iterable((first, OTHER[first]) for first in orders("canary/0"))

    def timed(self, run: Run) -> Run:
        share = 0.7 if next(self._sides) == "rewrite" else 1.0
        return run.model_copy(update={"user_s": super().timed(run).user_s * share})


def kept(folder: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(folder / "run.duckdb"), read_only=True) as read:
        return read.execute("FROM result").fetchall()


def measured(job: Job, core: Core, *rewrite: str, run: Counted | None = None) -> Measurement:
    (found,) = Timer(core, run or Counted()).batch([Comparison(original=job, rewrite=rewrite)])
    return found


def test_less_work_is_faster_and_more_work_slower(job: Job, core: Core) -> None:
    found = measured(job, core, QUICK)
    finding = derive(found)
    assert finding.verdict == "faster"
    assert finding.pairs == len(found.pairs) == len(found.canary) == 7
    assert pay(finding, True, PayRules()) == 1.0
    ratio = cost_ratio(found)
    assert ratio is not None
    assert ratio > 2
    back = Comparison(original=job.rewritten((QUICK,)), rewrite=(SLOW,))
    assert derive(Timer(core, Counted()).batch([back])[0]).verdict == "slower"


@pytest.mark.parametrize(
    "text",
    [
        SLOW.lower(),
        f"-- faster!\n{SLOW.replace(' a', ' one').replace('a.', 'one.')};",
        f"WITH unused AS (SELECT 1) {SLOW}",
    ],
)
def test_what_the_engine_would_do_alike_is_the_same_without_timing(job: Job, core: Core, text: str) -> None:
    found = measured(job, core, text)
    assert found.equal_plans
    assert not found.pairs
    assert derive(found).verdict == "same"


def test_plans_that_differ_in_an_expression_only_are_not_the_same(job: Job, core: Core) -> None:
    found = measured(job, core, SLOW.replace("max(a.x + b.x)", "max(b.x + a.x * 1)"))
    assert not found.equal_plans
    assert len(found.pairs) in (7, 15, 30)


@pytest.mark.parametrize(
    ("original", "rewrite", "side", "reason"),
    [
        ("SELECT 0.5::DOUBLE AS x", "SELECT random() AS x", "rewrite", "changed"),
        ("SELECT random() AS x", "SELECT 0.5::DOUBLE AS x", "original", "changed"),
        ("SELECT 1 AS x", "SELECT 2 AS x", "rewrite", "different"),
        ("SELECT 1 AS x", "SELECT 1 AS x UNION ALL SELECT 1", "rewrite", "different"),
        ("SELECT 1 AS x", "FROM nowhere", "rewrite", "sql_error"),
        ("FROM nowhere", "SELECT 1 AS x", "original", "sql_error"),
    ],
)
def test_an_output_that_changes_or_differs_is_not_timed(
    job: Job, core: Core, original: str, rewrite: str, side: str, reason: str
) -> None:
    found = measured(job.rewritten((original,)), core, rewrite)
    assert found.unfit is not None
    assert (found.unfit.side, found.unfit.reason) == (side, reason)
    assert derive(found).verdict is None


def test_a_column_that_is_declared_unstable_is_left_out(job: Job, core: Core) -> None:
    stamped = job.rewritten(("SELECT 1 AS x, random() AS stamp",)).model_copy(update={"unstable": ("STAMP",)})
    sides = Sides(Comparison(original=stamped, rewrite=("SELECT 1 AS x, uuid() AS stamp",)), core, run_once)
    outputs = {sides.run(side).outputs[0].exact for side in ("original", "original", "rewrite", "rewrite")}
    assert len(outputs) == 1


def test_a_rewrite_that_runs_too_long_is_stopped_and_earns_nothing(job: Job, core: Core) -> None:
    short = job.model_copy(update={"limits": JobLimits(deadline_s=2)})
    found = measured(short, core, "SELECT max(a.x + b.x) AS m FROM t a, t b, t c, t d WHERE a.x < 300")
    assert found.unfit is not None
    assert found.unfit.reason == "deadline"
    assert pay(derive(found), True, PayRules()) == 0


def test_a_slot_that_favours_one_side_fires_its_canary(job: Job, core: Core) -> None:
    with pytest.raises(CanaryFired, match="different from itself"):
        Timer(core, FavoursTheRewrite()).batch([Comparison(original=job, rewrite=(QUICK,))])


def test_a_steady_drift_is_cancelled_by_the_order(job: Job, core: Core) -> None:
    found = measured(job, core, SLOW.replace("a.x + b.x", "b.x + a.x"), run=Counted(drift=0.02))
    assert derive(found).verdict in ("same", "undecided")


def test_a_batch_has_one_canary_and_its_order_is_balanced(job: Job, core: Core) -> None:
    run = Counted()
    found = Timer(core, run).batch([Comparison(original=job, rewrite=(QUICK,), seed=seed) for seed in range(2)])
    assert found[0].canary == found[1].canary
    assert run.runs[SLOW] == 2 * 7 + 2 * (1 + 7)
    for seed in range(20):
        order = orders(str(seed))
        blocks = [{next(order), next(order)} for _ in range(15)]
        assert all(len(block) == 2 for block in blocks)
    assert len({next(orders(str(seed))) for seed in range(20)}) == 2


def test_what_is_compared_is_what_was_timed(job: Job, core: Core, tmp_path: Path) -> None:
    batch = [Comparison(original=job, rewrite=(QUICK,)), Comparison(original=job, rewrite=(SLOW.lower(),))]
    found = Timer(core, Counted()).batch(batch, tmp_path)
    assert [measurement.equal_plans for measurement in found] == [False, True]
    for number in ("0", "1"):
        assert kept(tmp_path / number / "original") == kept(tmp_path / number / "rewrite") == [(1999 + 299,)]


def test_a_measurement_taken_again_says_whether_its_verdict_stands(job: Job, core: Core) -> None:
    stored = measured(job, core, QUICK)
    opinion = Timer(core, Counted()).remeasure(stored)
    assert opinion.stands
    assert opinion.measurement.pairs != stored.pairs
    turned = [pair.model_copy(update={"original": pair.rewrite, "rewrite": pair.original}) for pair in stored.pairs]
    wrong = stored.model_copy(update={"pairs": tuple(turned)})
    assert Timer(core, Counted()).remeasure(wrong).contradicted


@pytest.mark.soak
def test_by_the_real_clock_a_tenth_of_the_work_is_faster(job: Job, core: Core) -> None:
    heavy, light = (
        job.rewritten((f"SELECT max(hash(x * 3) % 100) AS m FROM range({n}) r(x)",)) for n in (10**7, 10**6)
    )
    timer = retry(retry=retry_if_exception_type(CanaryFired), stop=stop_after_attempt(3))(Timer(core).batch)
    (found,) = timer([Comparison(original=heavy, rewrite=light.statements)])
    finding = derive(found)
    assert finding.verdict == "faster"
    assert finding.low is not None
    assert finding.low > 2
