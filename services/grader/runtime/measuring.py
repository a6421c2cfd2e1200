"""Work with a timer on a core of this machine, done again after a fault: one sound canary in a hundred fires."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from services.grader.runtime.cores import claim_core
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.running import run_once
from services.grader.runtime.sides import RunJob
from services.grader.runtime.timer import Timer

ATTEMPTS = 3
Result = TypeVar("Result")


def timed_here(work: Callable[[Timer], Result], wait_s: float, run: RunJob = run_once) -> Result:
    """What the work gives on a core that comes free within `wait_s` seconds. Raises TimingFault, BadInput."""

    def once() -> Result:
        with claim_core(wait_s) as core:
            return work(Timer(core, run))

    return Retrying(stop=stop_after_attempt(ATTEMPTS), retry=retry_if_exception_type(TimingFault), reraise=True)(once)
