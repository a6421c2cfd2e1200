"""What a sandbox child could find in its own memory: nothing of the host, of other databases, of other episodes."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

SECRET, OTHER, OWN = "sesame-of-the-host", "said-by-another-episode", "said-by-this-episode"
MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")


@pytest.fixture
def databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setenv("ASSAY_SECRET", SECRET)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "gold.jsonl").write_text("the-gold-answer")
    for name in ("one", "two"):
        with duckdb.connect(str(folder / f"{name}.duckdb")) as connection:
            connection.execute(f"CREATE TABLE t AS SELECT 'row-of-{name}' AS x")
    return {name: folder / f"{name}.duckdb" for name in ("one", "two")}


def memory(pid: int) -> Iterator[bytes]:
    """All that a process can read, mapping by mapping."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in maps:
            found = MAP.match(line)
            if found is None or "[vvar" in line or "[vsyscall" in line:
                continue
            start, stop = int(found[1], 16), int(found[2], 16)
            try:
                file.seek(start)
                yield file.read(stop - start)
            except (OSError, OverflowError):
                continue


def children_by_database(pool: SandboxPool) -> dict[str, int]:
    return {name: child.pid for name, child in pool._idle}


async def test_a_child_knows_only_its_own_database_and_statements(databases: dict[str, Path]) -> None:
    async with SandboxPool(databases, SandboxLimits()) as pool:
        await pool.run("one", f"SELECT x, '{OTHER}' FROM t")
        await pool.run("two", f"SELECT x, '{OWN}' FROM t")
        everything = b"\n".join(memory(children_by_database(pool)["two"]))
    assert OWN.encode() in everything
    assert b"row-of-two" in everything
    for foreign in (SECRET, OTHER, "row-of-one", "the-gold-answer", "gold.jsonl"):
        assert foreign.encode() not in everything, foreign
