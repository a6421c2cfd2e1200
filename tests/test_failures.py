"""Each way to fail has its name, from episodes that were really played; a solved or faulted one has none."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.evaluation.failures import FAILURE_KINDS, MEANINGS, read_failures
from cluster.evaluation.page import cell
from cluster.run import RunFolder, RunManifest
from cluster.schema import to_table
from services.contracts.errors import SandboxFault
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.explore import ExploreEpisode
from services.env_actor.play import faulted
from tests.conftest import Table

TASK = "retail-000"  # How many orders are there? 411
WAYS: dict[str, Sequence[str]] = {
    "malformed": ["I solved it, trust me"] * 15,
    "no_submission": ["DESCRIBE orders"] * 15,
    "blank_answer": ["QUERY SELECT count(*) FROM orders", "ANSWER "],
    "wrong_answer_from_right_rows": ["QUERY SELECT count(*) FROM orders", "ANSWER 5"],
    "near_miss": ["QUERY SELECT count(*) - 100 FROM orders", "ANSWER 311"],
    "no_query": ["DESCRIBE orders", "ANSWER 5"],
    "syntax_error": ["QUERY SELEC count(*) FROM orders", "ANSWER 5"],
    "missing_name": ["QUERY SELECT nope FROM orders", "ANSWER 5"],
    "engine_error": ["QUERY SELECT customer_id, count(*) FROM orders", "ANSWER 5"],
    "refused": ["QUERY DROP TABLE orders", "ANSWER 5"],
    "empty_result": ["QUERY SELECT * FROM orders WHERE false", "ANSWER 5"],
    "wrong_rows": ["QUERY SELECT 5 FROM orders LIMIT 1", "ANSWER 5"],
}


def played(episode: ExploreEpisode, table: Table, policy: str) -> Trajectory:
    return Trajectory(
        spec=EpisodeSpec(run_id="r", task_set_hash="h", task_id=TASK, policy=policy, seed=0, sample_index=0),
        task=table.task_set.tasks[TASK],
        steps=tuple(episode.steps),
        timings=(),
        terminated=episode.terminated,
        truncation=episode.truncation,
        fault=None,
        verdict=episode.verdict(),
        reward=episode.reward(),
        started_at=0.0,
        wall_ms=1.0,
    )


def stored(trajectories: Sequence[Trajectory], folder: Path) -> RunFolder:
    (folder / "trajectories").mkdir()
    pq.write_table(to_table(trajectories), folder / "trajectories" / "part.parquet")
    return RunFolder(folder, RunManifest.model_construct())


def test_every_way_to_fail_is_told_apart(table: Table, tmp_path: Path) -> None:
    made = [played(table.play(TASK, actions), table, policy) for policy, actions in WAYS.items()]
    late = table.play(TASK, ["DESCRIBE orders"])
    late.truncate("deadline")
    found = read_failures(stored([*made, played(late, table, "deadline")], tmp_path))
    assert {one.policy: one.kind for one in found} == {name: name for name in (*WAYS, "deadline")}
    assert all(one.share == 1 and len(one.examples) == 1 for one in found)


def test_a_solved_and_a_faulted_episode_have_not_failed(table: Table, tmp_path: Path) -> None:
    solved = played(table.play(TASK, ["QUERY SELECT count(*) FROM orders", "ANSWER 411"]), table, "a")
    spec = solved.spec.model_copy(update={"policy": "b"})
    assert read_failures(stored([solved, faulted(spec, solved.task, SandboxFault("x"), 3)], tmp_path)) == ()


def test_every_kind_is_explained() -> None:
    assert set(MEANINGS) == set(FAILURE_KINDS)


@pytest.mark.parametrize("text", ["a|b", "x\n# y", "[z](javascript:1)", "<script>", "`c`"])
def test_text_from_outside_stays_one_plain_cell(text: str) -> None:
    shown = cell(text)
    assert "\n" not in shown
    assert all(shown[place - 1] == "\\" for place, sign in enumerate(shown) if sign in "|[]<>`")
