"""A run in a storm: sessions of `assay rollout`, each after the first with --resume, until one of them is done."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from cluster.config import ActorsConfig, RolloutConfig, TasksConfig
from services.contracts.tasks import EpisodeLimits
from services.env_actor.taskset import TaskSet
from services.policy.llm.settings import ModelSettings
from services.sandbox.limits import SandboxLimits
from tests.storm.processes import descendants
from tests.storm.weather import Storm

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 80
Access = Literal["inline", "handle"]
COUNTED = re.compile(r"^(\d+) of \d+ episodes")
INFRASTRUCTURE = 3


def config_of(task_set: TaskSet, samples: int, policy_port: int, access: Access) -> RolloutConfig:
    """Every task by two policies, one of them asked over HTTP; limits that no pause reaches."""
    asked = f"openai:heuristic@http://127.0.0.1:{policy_port}/v1"
    return RolloutConfig(
        name="storm",
        tasks=TasksConfig(path=str(task_set.folder)),
        policies=("random", asked),
        policy_access=access,
        models={asked: ModelSettings(style="exact", retries=8)},
        samples=samples,
        seed=5,
        limits=EpisodeLimits(deadline_s=600),
        sandbox=SandboxLimits(statement_s=30),
        actors=ActorsConfig(count=2, cpus=0.5, memory_mb=512, batch=6, episodes_at_once=6),
    )


@dataclass
class Sessions:
    """What came of the sessions: their exit codes, and what they said on stderr."""

    codes: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def play(
    config: RolloutConfig, url: str, storm: Storm, tables: Path, folder: Path, environment: dict[str, str]
) -> Sessions:
    """Play until a session exits with 0. A session may end by a kill or with exit code 3, and by nothing else."""
    file, verdicts = folder / "storm.yaml", folder / "verdicts"
    file.write_text(config.model_dump_json())  # JSON is YAML
    command = [sys.executable, "-m", "tests.storm.session", str(tables), str(verdicts)]
    command += ["rollout", str(file), "--out", url]
    sessions = Sessions()
    for number in range(SESSIONS):
        code, said = _session([*command, *(["--resume"] if number else [])], storm, os.environ | environment)
        sessions.codes.append(code)
        sessions.said.append(said)
        if code == 0:
            break
        assert code in (-signal.SIGKILL, INFRASTRUCTURE), said
        storm.settle()
    storm.settle()
    return sessions


def _session(command: list[str], storm: Storm, environment: dict[str, str]) -> tuple[int, str]:
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stderr is not None
        lines = []
        for line in driver.stderr:
            if counted := COUNTED.match(line):
                storm.reach(int(counted[1]), driver.pid)
            else:
                lines.append(line)
        storm.seen.update(descendants(driver.pid), [psutil.Process(driver.pid)])
    return driver.returncode, "".join(lines)
