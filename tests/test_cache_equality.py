"""A kept result is the same bytes as a fresh one, for imported gold queries by the thousand."""

from pathlib import Path

import pytest

from benchmarks.workload import write_spider_like
from cluster.tasksets.spider import import_spider
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

DATABASES = 6


@pytest.mark.parametrize("statements", [300, pytest.param(5000, marks=pytest.mark.soak)])
async def test_what_the_cache_gives_is_what_a_fresh_run_gives(tmp_path: Path, statements: int) -> None:
    tmp_path.chmod(0o755)
    source = write_spider_like(tmp_path / "source", statements // DATABASES + statements // 50)
    await import_spider(source, tmp_path / "set", "cached", lambda done: None)
    task_set = TaskSet(tmp_path / "set")
    golds = read_gold(task_set.gold_path)
    asked = [(task.database, golds[task.task_id].gold_sql) for task in task_set.tasks.values()]
    paths = {name: task_set.database_path(name) for name in task_set.manifest.databases}
    async with SandboxPool(paths, SandboxLimits()) as kept, SandboxPool(paths, SandboxLimits(cache_mb=0)) as fresh:
        for database, sql in asked:
            first, _ = await kept.run(database, sql)
            second, ran_s = await kept.run(database, sql)
            other, other_ran_s = await fresh.run(database, sql)
            assert ran_s is None
            assert other_ran_s is not None
            assert first.model_dump_json() == second.model_dump_json() == other.model_dump_json(), sql
    assert len(asked) >= statements
