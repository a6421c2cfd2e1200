"""A timing slot is a Ray resource: one for each core, held as long as its actor lives."""

from collections.abc import Iterator

import pytest
import ray

from services.grader.runtime.cores import physical_cores
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.job import Comparison, Job
from services.grader.runtime.slots import SLOT, RemoteTimingSlot, TimingSlot, slots_here

WAIT_S = 60.0


@pytest.fixture
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=slots_here() + 1,
        resources={SLOT: slots_here()},
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


@pytest.mark.usefixtures("cluster")
def test_as_many_slots_as_cores_each_with_one_of_its_own() -> None:
    slots = [RemoteTimingSlot.remote(WAIT_S) for _ in range(slots_here())]
    held = ray.get([slot.core.remote() for slot in slots])
    assert sorted(held) == sorted(physical_cores())
    late = RemoteTimingSlot.remote(WAIT_S)
    ready, waiting = ray.wait([late.core.remote()], timeout=0.5)
    assert not ready
    with pytest.raises(TimingFault, match="fewer timing slots"):
        TimingSlot(wait_s=0)
    ray.kill(slots[0])
    assert ray.get(waiting) == [held[0]]
    broken = Comparison(original=Job(statements=("FROM nowhere",)), rewrite=("SELECT 1",))
    (found,) = ray.get(late.measure.remote([broken]))
    assert found.unfit.side == "original"
