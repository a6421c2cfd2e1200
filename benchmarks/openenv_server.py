"""A step of the OpenEnv server beside one of OpenEnv's own scaffold environment, both in one process of their own.

Sixteen connections play episodes of fifteen steps, then reset. Caches are warm: what is asked for was asked before.
Both are served by uvicorn with the same options; rounds are interleaved, medians reported. `step_over_scaffold` is the
worst of the three kinds of step in CPU time of the server, its children included.

    python benchmarks/openenv_server.py [--json] [--quick]
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openenv.cli.templates
import psutil
from websockets.asyncio.client import connect

from benchmarks.outcome import print_outcome
from cluster.listening import check_port

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
CONNECTIONS = 16
EPISODE = 15
NAMES = {
    "__ENV_NAME__": "bench_env", "__ENV_CLASS_NAME__": "Bench", "__ENV_TITLE_NAME__": "Bench",
    "max_concurrent_envs=1": "max_concurrent_envs=64",
}  # fmt: skip
OURS = {
    "describe": {"action_type": "DESCRIBE", "argument": "orders"},
    "sample": {"action_type": "SAMPLE", "argument": "orders"},
    "query": {"action_type": "QUERY", "argument": "SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1"},
}
SERVE = """
import sys, uvicorn
from cluster.openenv import SERVER
sys.path.insert(0, sys.argv[1])
if sys.argv[1] == "explore":
    from cluster.openenv import OpenEnvConfig, openenv_app
    app = openenv_app(OpenEnvConfig())
else:
    from bench_env.server.app import app
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", **SERVER)
"""


def scaffold(folder: Path) -> Path:
    """OpenEnv's environment as its `init` writes it, ready to be imported from the folder."""
    template = Path(openenv.cli.templates.__file__).parent / "openenv_env"
    shutil.copytree(template, folder / "bench_env")
    for path in sorted((folder / "bench_env").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name, value in NAMES.items():
            text = text.replace(name, value)
        path.write_text(text, encoding="utf-8")
        if "__ENV_NAME__" in path.name:
            path.rename(path.with_name(path.name.replace("__ENV_NAME__", "bench_env")))
    return folder


@contextmanager
def served(what: str) -> Iterator[tuple[str, psutil.Process]]:
    """The server's WebSocket address, and its process."""
    port = check_port(HOST, 0)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, "-c", SERVE, what, str(port)], env=environment)
    try:
        url = f"ws://{HOST}:{port}/ws"
        asyncio.run(wait_for(url))
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


async def wait_for(url: str) -> None:
    """Return once somebody listens there."""
    while True:
        try:
            async with connect(url, proxy=None):
                return
        except OSError:
            await asyncio.sleep(0.2)


async def play(url: str, step: dict[str, str], reset: dict[str, str], steps: int) -> None:
    """So many steps over one connection."""
    begin = json.dumps({"type": "reset", "data": reset})
    go_on = json.dumps({"type": "step", "data": step})
    async with connect(url, proxy=None) as socket:
        for number in range(steps):
            if number % EPISODE == 0:
                await socket.send(begin)
                await socket.recv()
            await socket.send(go_on)
            answer = await socket.recv()
            if '"error"' in str(answer)[:20]:
                raise RuntimeError(str(answer))


async def play_all(url: str, step: dict[str, str], reset: dict[str, str], steps: int) -> None:
    """So many steps over all connections together."""
    await asyncio.gather(*(play(url, step, reset, steps // CONNECTIONS) for _ in range(CONNECTIONS)))


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process and its children so far."""
    family = [process, *process.children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in family))


def measure(server: tuple[str, psutil.Process], step: dict[str, str], reset: dict[str, str], steps: int) -> list[float]:
    """Steps a second, and CPU microseconds a step."""
    url, process = server
    asyncio.run(play_all(url, step, reset, CONNECTIONS * EPISODE))
    cpu, started = cpu_s(process), time.perf_counter()
    asyncio.run(play_all(url, step, reset, steps))
    return [steps / (time.perf_counter() - started), 1e6 * (cpu_s(process) - cpu) / steps]


def rounds_of(folder: Path, rounds: int, steps: int) -> dict[str, list[float]]:
    """Every figure, round by round."""
    found: dict[str, list[float]] = {}
    with served(str(scaffold(folder))) as theirs, served("explore") as ours:
        for _ in range(rounds):
            rate, scaffold_us = measure(theirs, {"message": "Hello"}, {}, steps)
            found.setdefault("scaffold_steps_per_s", []).append(rate)
            found.setdefault("scaffold_step_us", []).append(scaffold_us)
            ratios = []
            for kind, action in OURS.items():
                rate, step_us = measure(ours, action, {"task_id": "retail-000"}, steps)
                found.setdefault(f"{kind}_steps_per_s", []).append(rate)
                found.setdefault(f"{kind}_step_us", []).append(step_us)
                ratios.append(step_us / scaffold_us)
            found.setdefault("step_over_scaffold", []).append(max(ratios))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds, steps = (1, 4_000) if options.quick else (5, 20_000)
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        found = rounds_of(Path(name), rounds, steps)
    figures = {figure: statistics.median(values) for figure, values in found.items()}
    print_outcome("openenv_server", figures, found, rounds, options.json)


if __name__ == "__main__":
    main()
