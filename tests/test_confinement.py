"""An env actor and its children stay on their cores and within their memory; a dead actor's cores are free again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray
from pydantic import ValidationError

from cluster.config import load_config
from cluster.session import ray_session
from services.contracts.errors import BadInput
from services.contracts.tasks import EpisodeLimits
from services.env_actor.actor import EnvActor
from services.env_actor.confinement import CORES, ENVIRONMENT, claim_cores
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.sandbox.limits import ACTOR_MB, CHILD_MB, OWN_MB, SandboxLimits
from tests.conftest import address_of

ROOT = Path(__file__).parents[1]
MANY = [4000, 4001, 4002, 4003, 4004]
HOLDER = """
import sys
from services.env_actor.confinement import claim_cores
claims = claim_cores([4000, 4001, 4002, 4003, 4004], 2)
print(sorted(claims), flush=True)
sys.stdin.read()
"""


def test_actors_claim_different_cores_and_a_killed_one_frees_its_own() -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"[4000, 4001]\n"
    ours = claim_cores(MANY, 2)
    assert sorted(ours) == [4002, 4003]
    assert claim_cores(MANY, 2) == {}
    other.kill()
    other.wait()
    again = claim_cores(MANY, 2)
    assert sorted(again) == [4000, 4001]
    for claim in (*ours.values(), *again.values()):
        claim.close()


ACTOR = """
import os, sys
from services.env_actor import confinement
confinement.group_cores = lambda: float(sys.argv[1])
confined = confinement.Confinement()
for line in sys.stdin:
    if line == "widen\\n":
        confined.widen()
    print(*os.sched_getaffinity(0), flush=True)
"""
ACTORS = f"""
import json, os, subprocess, sys
def start(group):
    return subprocess.Popen([sys.executable, "-c", {ACTOR!r}, group], stdin=-1, stdout=-1, text=True)
def cores(actor, word="cores"):
    print(word, file=actor.stdin, flush=True)
    return list(map(int, actor.stdout.readline().split()))
alone = start("inf")
found = {{"alone": [cores(alone), cores(alone, "widen")]}}
alone.kill(), alone.wait()
several = [start("inf") for _ in os.sched_getaffinity(0)]
found["several"] = list(map(cores, several))
found["one more"] = cores(start("inf"), "widen")
found["several widened"] = [cores(actor, "widen") for actor in several]
found["pod"] = cores(start("2"), "widen")
print(json.dumps(found))
"""


def test_an_actor_has_a_core_of_its_own_and_a_second_if_one_is_free() -> None:
    here = os.sched_getaffinity(0)
    done = subprocess.run(  # in a network namespace of its own: no other test's claims are seen there
        ["unshare", "--net", sys.executable, "-c", ACTORS], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    first, widened = found["alone"]
    assert len(first) == 1
    assert len(widened) == min(CORES, len(here))
    assert set(first) <= set(widened) <= here
    assert sorted(found["several"]) == [[core] for core in sorted(here)]
    assert found["several widened"] == found["several"]
    assert len(found["one more"]) == min(CORES, len(here))
    assert set(found["pod"]) == here


@pytest.mark.parametrize("children", [9, 64])
def test_more_children_than_fit_into_an_actor_are_refused(children: int, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="would fit"):
        SandboxLimits(children=children)
    with pytest.raises(BadInput, match=r"sandbox: .*: 8 would fit"):
        load_config(ROOT / "configs" / "quickstart.yaml", [f"sandbox.children={children}"])


def test_all_children_at_their_limit_fit_beside_the_actor() -> None:
    limits = SandboxLimits()
    assert limits.children * (limits.headroom_mb + CHILD_MB) + OWN_MB <= ACTOR_MB


class Hoarder(EnvActor):
    """An actor that takes more memory than it may have."""

    def hoard(self) -> str:
        """Why it got no more."""
        try:
            return f"got {len(bytearray((OWN_MB + 100) * 2**20))}"
        except MemoryError:
            return "out of memory"

    def pid(self) -> int:
        """The actor's process id."""
        return os.getpid()


async def nobody(_: object) -> None:
    """Takes no trajectory."""


def test_a_confined_actor_and_its_children_run_on_two_cores_within_their_memory(builtin: TaskSet) -> None:
    setup = ActorSetup(task_set=address_of(builtin), limits=EpisodeLimits(), sandbox=SandboxLimits(), confined=True)
    with ray_session():
        actor = ray.remote(Hoarder).options(num_cpus=0.1).remote(setup, {}, GoldGrader.read, nobody)
        cores = ray.get(actor.cores.remote())
        assert set(cores) <= os.sched_getaffinity(0)
        assert 1 <= len(cores) <= CORES
        assert ray.get(actor.hoard.remote()) == "out of memory"
        assert ray.get(actor.open.remote())
        cores = ray.get(actor.cores.remote())
        assert 1 <= len(cores) <= CORES
        zygotes = psutil.Process(ray.get(actor.pid.remote())).children()
        assert zygotes
        assert all(set(zygote.cpu_affinity()) <= set(cores) for zygote in zygotes)
        ray.kill(actor)


ARROW = """
import pyarrow
def data(): return int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1])
before = data()
held = pyarrow.array(range(1000))
print((data() - before) // 1024)
"""


def test_arrow_takes_no_memory_of_an_actor_that_it_does_not_use() -> None:
    environment = {**os.environ, **ENVIRONMENT}
    taken = subprocess.run([sys.executable, "-c", ARROW], env=environment, capture_output=True, text=True, check=True)
    assert int(taken.stdout) < 100
