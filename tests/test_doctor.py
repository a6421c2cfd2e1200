"""The doctor says what is there and what is not, on this machine and on one where something is broken."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.commands.doctor import print_diagnosis
from cluster.doctor.checks import Check, Diagnosis
from cluster.doctor.containment import layers
from cluster.doctor.examination import sandbox_checks
from cluster.doctor.machine import machine_checks
from cluster.doctor.parts import part_checks
from cluster.doctor.process import holders, view
from cluster.doctor.ray_start import ray_checks
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool
from tests.test_cli import assay

LAYERS = {
    "unprivileged user", "no capabilities", "no new privileges", "memory", "memory of all children", "CPU time",
    "no file is written", "no core file", "no new process", "empty environment", "open descriptors", "own network",
    "database is not writable",
}  # fmt: skip
STATEMENTS = {
    "an honest SELECT works", "a file read is refused", "a file as a table is refused", "a file write is refused",
    "ATTACH is refused", "a setting is refused", "an extension is refused", "two statements are refused",
    "a runaway join is stopped", "a runaway function is stopped", "a memory bomb is stopped",
    "an honest SELECT works after them",
}  # fmt: skip
MACHINE = {
    "Python 3.11", "cores", "memory", "disk for runs", "disk for temporary files", "shared memory", "fsync",
    "a local port", "port 8000",
}  # fmt: skip
PARTS = {"openenv", "torch", "deltalake", "prometheus", "chromium"}


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of the command, in an empty folder, while something listens on port 8000."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # then somebody else listens there
            held.enter_context(socket.create_server(("127.0.0.1", 8000)))
        done = assay("doctor", "--json", cwd=tmp_path_factory.mktemp("doctor"))
    return done.returncode, json.loads(done.stdout)


def test_every_check_is_told_and_the_exit_code_is_the_verdict(told: tuple[int, dict[str, Any]]) -> None:
    code, found = told
    names: dict[str, set[str]] = {}
    for check in found["checks"]:
        names.setdefault(check["group"], set()).add(check["name"])
    assert names == {
        "sandbox child": LAYERS, "statements": STATEMENTS, "machine": MACHINE, "optional parts": PARTS,
        "ray": {"Ray is installed", "Ray starts and answers"},
    }  # fmt: skip
    faults = [c["name"] for c in found["checks"] if c["required"] and c["state"] != "ok"]
    assert (code, found["fine"]) == (int(bool(faults)), not faults)
    assert [c["name"] for c in found["checks"] if (c["advice"] == "") != (c["state"] == "ok")] == []


def test_a_taken_port_is_told_and_is_no_fault(told: tuple[int, dict[str, Any]]) -> None:
    (port,) = (check for check in told[1]["checks"] if check["name"] == "port 8000")
    assert (port["state"], port["required"]) == ("failed", False)
    assert "127.0.0.1:8000" in port["seen"]
    assert "--port" in port["advice"]


def test_statements_ray_and_the_port_are_fine_here(told: tuple[int, dict[str, Any]]) -> None:
    states = {check["name"]: check["state"] for check in told[1]["checks"]}
    for name in STATEMENTS | {"Ray starts and answers", "a local port", "fsync", "Python 3.11"}:
        assert states[name] == "ok", name


def test_an_absent_part_is_no_fault_and_comes_with_its_command(told: tuple[int, dict[str, Any]]) -> None:
    for part in (check for check in told[1]["checks"] if check["group"] == "optional parts"):
        assert not part["required"]
        there = part["state"] == "ok"
        assert there or (part["state"] == "optional, not installed" and "install" in part["advice"] + part["state"])


@pytest.fixture
def loose() -> Iterator[Path]:
    """A database that every user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="assay-loose-"))
    folder.chmod(0o755)
    yield folder / "shop.duckdb"
    shutil.rmtree(folder)


async def child_over(database: Path) -> dict[str, Check]:
    """The layers of a real child that has answered."""
    async with SandboxPool({"shop": database}, SandboxLimits(children=1, cache_mb=0)) as pool:
        await pool.run("shop", "SELECT 1")
        (pid,) = holders(database, os.getpid())
        return by_name(layers(view(pid), database))


def test_the_layers_of_a_real_child_are_seen_and_a_writable_database_too(builtin: TaskSet, loose: Path) -> None:
    shutil.copy(builtin.database_path("retail"), loose)
    loose.chmod(0o644)
    tight = asyncio.run(child_over(loose))
    for name in ("unprivileged user", "no new privileges", "memory", "no file is written", "no core file",
                 "no new process", "empty environment", "database is not writable"):  # fmt: skip
        assert tight[name].state == "ok", tight[name]
    assert tight["unprivileged user"].seen == "uid 65534, gid 65534, groups none"
    loose.chmod(0o666)
    writable = asyncio.run(child_over(loose))["database is not writable"]
    assert (writable.state, writable.is_fault) == ("missing", True)
    assert str(loose) in writable.seen


def test_a_process_without_any_layer_is_told_so_and_its_secrets_are_not(loose: Path) -> None:
    loose.touch()
    with loose.open("r+b") as held:
        plain = subprocess.Popen(
            ["cat"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"API_KEY": "hunter2"}, pass_fds=(held.fileno(),),
        )  # fmt: skip
        assert plain.stdin is not None
        assert plain.stdout is not None
        plain.stdin.write(b"!")
        plain.stdout.read(1)  # only a program that has answered is sure to have its environment in place
        found = layers(view(plain.pid), loose)
        plain.communicate()
    rows = by_name(found)
    assert {check.name for check in found if check.state == "missing"} >= LAYERS - {"no core file"}
    assert rows["empty environment"].seen == "holds API_KEY"
    assert str(loose) in rows["open descriptors"].seen
    assert "hunter2" not in "".join(check.model_dump_json() for check in found)
    assert not rows["own network"].is_fault


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_too_small_and_cannot_be_written_is_a_fault(tiny_disk: Path) -> None:
    rows = by_name(machine_checks(tiny_disk / "runs"))
    assert (rows["disk for runs"].state, rows["disk for runs"].is_fault) == ("missing", True)
    assert (rows["fsync"].state, rows["fsync"].is_fault) == ("failed", True)
    assert "No space left" in rows["fsync"].seen
    assert list(tiny_disk.iterdir()) == []


def test_a_cache_folder_that_cannot_be_used_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    (row,) = sandbox_checks()
    assert (row.name, row.state, row.is_fault) == ("the built-in databases can be made", "failed", True)


def test_a_cluster_that_is_gone_is_a_fault_and_does_not_hold_the_doctor_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    row = by_name(ray_checks(deadline_s=3))["Ray answers"]
    assert (row.state, row.is_fault) == ("failed", True)
    assert address in row.seen
    assert "RAY_ADDRESS" in row.advice


def test_people_get_a_table_with_the_advice_and_a_last_line_that_names_the_faults(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    print_diagnosis(Diagnosis(checks=(*sandbox_checks(), *part_checks())))
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "not fine: the built-in databases can be made"
    assert "XDG_CACHE_HOME" in said
    print_diagnosis(Diagnosis(checks=part_checks()))
    assert capsys.readouterr().out.splitlines()[-1] == "fine: everything that is required is there"
