"""A submission graded on a Ray actor is graded as in process; one that a dead actor leaves is graded anew."""

import shutil
import threading
from collections.abc import Iterator

import psutil
import pytest
import ray

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import EtlJob
from services.grader.etl.bench import Bench
from services.grader.etl.pool import grade_on_ray
from services.grader.runtime.pay import PayRules
from tests.etl_jobs import ORIGINAL, etl_job, grader_here, public_folder

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def job() -> Iterator[EtlJob]:
    folder = public_folder()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield etl_job(folder)
    ray.shutdown()
    shutil.rmtree(folder)


def test_the_bench_has_its_submissions_graded_by_an_actor(job: EtlJob) -> None:
    bench = Bench(grader_here(job), lambda statements: grade_on_ray(job, statements, PayRules(), slot=False))
    grade = bench.submit((ORIGINAL.replace("count(*)", "3"),))
    assert (grade.verdict, grade.reward) == ("incorrect", 0.0)
    assert bench.submission is not None
    assert [check.where for check in bench.submission.checks] == ["production"]
    assert bench.submit(("CREATE TABLE sales.daily AS FROM sales.daily",)).verdict == "violation"
    bench.close()


def test_bad_input_comes_back_as_such(job: EtlJob) -> None:
    gone = job.model_copy(update={"sources": (job.sources[0].model_copy(update={"files": ("/nowhere.parquet",)}),)})
    with pytest.raises(BadInput, match=r"there is no file at /nowhere\.parquet"):
        grade_on_ray(gone, (ORIGINAL,), PayRules(), slot=False)


def kill_workers(killed: list[int], done: threading.Event) -> None:
    """Kill every grading actor of ours as soon as it works."""
    while not done.is_set():
        for process in psutil.Process().children(recursive=True):
            try:
                if "SubmissionWorker.grade" in " ".join(process.cmdline()) and process.pid not in killed:
                    killed.append(process.pid)
                    process.kill()
            except psutil.Error:
                continue


def test_a_submission_whose_workers_all_die_is_a_fault_and_no_grade(job: EtlJob) -> None:
    killed: list[int] = []
    done = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(killed, done))
    killer.start()
    with pytest.raises(Infrastructure, match="ended its worker 3 times"):
        grade_on_ray(job, (ORIGINAL,), PayRules(), slot=False)
    done.set()
    killer.join()
    assert len(killed) == 3
