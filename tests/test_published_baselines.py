"""The published baselines are of today's built-in set, and only a run under their conditions is set beside them."""

from pathlib import Path

import pytest

from cluster.config import load_config
from cluster.evaluation.baselines import check_conditions, conditions_of, publish, read_baselines, table_of
from cluster.evaluation.figures import overall
from cluster.evaluation.pairs import compare_all
from cluster.evaluation.results import Evaluation
from cluster.run import RunManifest
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet
from tests.simulation import attempts

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "baselines"


@pytest.fixture
def evaluation() -> Evaluation:
    config = load_config(ROOT / "configs" / "baselines.yaml")
    made = attempts("random", [[[True, False]], [[False, False]]])
    manifest = RunManifest(
        run_id="r",
        created_at="2024-01-31T00:00:00+00:00",
        config=config,
        config_hash=config.config_hash(),
        task_set="builtin",
        task_set_name="small",
        task_set_hash="0" * 16,
        limit=None,
        planned=len(made),
        versions={"commit": "c" * 40},
    )
    return Evaluation(
        manifest=manifest,
        policy_files={"scripted:x": "1"},
        planned=len(made),
        graded=len(made),
        faulted=0,
        policies=overall(made),
        slices=(),
        comparisons=compare_all(made),
        failures=(),
        slowest=(),
        dearest=(),
    )


def test_the_published_table_is_made_from_the_published_figures() -> None:
    for path in sorted(FOLDER.glob("*.json")):
        assert path.with_suffix(".md").read_text() == table_of(read_baselines(path))


def test_the_published_baselines_hold_for_the_builtin_set_and_its_config(builtin: TaskSet) -> None:
    config = load_config(ROOT / "configs" / "baselines.yaml")
    published = read_baselines(FOLDER / "builtin.json")
    assert published.conditions == conditions_of(config, builtin.manifest.task_set_hash())
    assert {one.policy for one in published.policies} == set(config.policies)
    oracle = next(one for one in published.policies if one.policy.startswith("scripted:"))
    assert oracle.success.mean == 1.0
    assert all((one.reward.mean or 0) <= (oracle.reward.mean or 0) for one in published.policies)


def test_what_is_published_is_read_again(evaluation: Evaluation, tmp_path: Path) -> None:
    path = publish(evaluation, tmp_path)
    published = read_baselines(path)
    assert published.policies == evaluation.policies
    assert path.with_suffix(".md").read_text() == table_of(published)
    check_conditions(evaluation, published)


def test_other_conditions_are_refused_and_named(evaluation: Evaluation, tmp_path: Path) -> None:
    published = read_baselines(publish(evaluation, tmp_path))
    manifest = evaluation.manifest
    another_set = manifest.model_copy(update={"task_set_hash": "1" * 16})
    another_seed = manifest.model_copy(update={"config": manifest.config.model_copy(update={"seed": 9})})
    for changed, said in ((another_set, "task_set_hash"), (another_seed, "seed 7 -> 9")):
        with pytest.raises(BadInput, match=said):
            check_conditions(evaluation.model_copy(update={"manifest": changed}), published)
    with pytest.raises(BadInput, match="the file of scripted:x"):
        check_conditions(evaluation.model_copy(update={"policy_files": {"scripted:x": "2"}}), published)


def test_an_evaluation_with_faults_is_not_published_and_a_file_that_is_none_is_one_line(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="nothing is published"):
        publish(evaluation.model_copy(update={"graded": 3, "faulted": 1}), tmp_path)
    with pytest.raises(BadInput, match="cannot read the baselines"):
        read_baselines(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadInput, match=r"bad\.json"):
        read_baselines(tmp_path / "bad.json")
