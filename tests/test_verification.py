"""An answer is paid only if the agent's own queries give the right answer on every variant too."""

import asyncio
from pathlib import Path

import pytest

from cluster.config import RolloutConfig, TasksConfig
from cluster.regrade import Regrader
from cluster.run import RunFolder
from cluster.schema import to_table
from cluster.sink import Sink
from cluster.verifying import verifier_for
from services.contracts.actions import ExploreAction, make_action
from services.contracts.errors import BadInput
from services.contracts.policy import Turn
from services.contracts.trajectory import EpisodeSpec, Trajectory
from services.env_actor.actor import EnvActor
from services.env_actor.fetching import fetch
from services.env_actor.runner import ActorSetup
from services.env_actor.taskset import TaskSet
from services.grader.grader import GoldGrader
from services.grader.variants.library import unpack
from services.sandbox.limits import SandboxLimits
from tests.conftest import address_of
from tests.variation import Desk, judged, with_variants

DEAREST = "retail-004"
"""What is the name of the product with the highest list price? Break ties alphabetically by name."""
BERGEN = "retail-013"
FROM_LYON = "retail-010"
NO_TIER = "retail-003"


@pytest.fixture(scope="module")
def retail(builtin: TaskSet, tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    return with_variants(builtin, tmp_path_factory.mktemp("variants") / "set", ["retail"])


@pytest.fixture(scope="module")
def desk(retail: TaskSet) -> Desk:
    return Desk.of(retail)


def test_each_gold_stands_by_itself(desk: Desk) -> None:
    tasks = [task_id for task_id in desk.task_set.tasks if task_id.startswith("retail")]
    asked = [(task_id, (desk.golds[task_id].gold_sql,), desk.right(task_id)) for task_id in tasks]
    assert {verdict.verdict for verdict in asyncio.run(desk.verify_all(asked))} == {"correct"}


def test_hand_written_equivalents_stand(desk: Desk) -> None:
    verdicts = judged(desk, ["retail"], right=True)
    fallen = [(sql, verdict) for sql, verdict in verdicts if verdict.verdict != "correct"]
    assert len(fallen) <= 0.03 * len(verdicts), fallen


def test_hand_written_near_misses_fall(desk: Desk) -> None:
    verdicts = judged(desk, ["retail"], right=False)
    standing = [sql for sql, verdict in verdicts if verdict.verdict == "correct"]
    assert len(standing) <= 0.1 * len(verdicts), standing


def test_a_hard_coded_answer_is_unsupported(desk: Desk) -> None:
    said = desk.right(DEAREST)
    assert desk.verify(DEAREST, f"SELECT '{said}'").verdict == "unsupported"
    assert desk.verify(DEAREST, f"SELECT '{said}' FROM products LIMIT 1").verdict == "correct_on_base_only"
    assert desk.verify(DEAREST, f"SELECT name FROM products WHERE name = '{said}'").verdict == "correct_on_base_only"


def test_a_number_made_by_arithmetic_is_no_support(desk: Desk) -> None:
    right = int(desk.right(NO_TIER))
    sql = f"SELECT {right - 1} + 1 + 0 * count(*) FROM customers"
    assert desk.verify(NO_TIER, sql).verdict == "correct_on_base_only"


def test_a_memorised_key_is_caught(desk: Desk) -> None:
    looked_up = "SELECT name FROM products WHERE product_id = (SELECT MIN(product_id) FROM products WHERE name = '{}')"
    assert desk.verify(DEAREST, looked_up.format(desk.right(DEAREST))).verdict == "correct_on_base_only"


def test_an_answer_that_was_read_off_a_sample_is_unsupported(desk: Desk) -> None:
    assert desk.verify(DEAREST).verdict == "unsupported"
    assert desk.verify(DEAREST, "SELECT count(*) FROM products").verdict == "unsupported"


def test_a_wrong_answer_is_incorrect_whatever_supports_it(desk: Desk) -> None:
    assert desk.verify(DEAREST, desk.golds[DEAREST].gold_sql, answer="Nothing").verdict == "incorrect"


@pytest.mark.parametrize(
    ("task_id", "sql", "words"),
    [
        (DEAREST, "SELECT product_id, name FROM products ORDER BY list_price DESC, name LIMIT 1", "columns 2"),
        (DEAREST, "SELECT name, list_price FROM products ORDER BY list_price DESC, name", "first 1 rows"),
        (DEAREST, "SELECT name, list_price FROM products ORDER BY list_price, name DESC", "last row"),
        (NO_TIER, "SELECT name FROM customers WHERE loyalty_tier IS NULL", "number of its rows"),
        (
            FROM_LYON,
            "SELECT c.city, count(*) FROM orders o JOIN customers c USING (customer_id) GROUP BY c.city",
            "row of 'lyon'",
        ),
    ],
)
def test_an_answer_may_be_read_off_a_wider_result(desk: Desk, task_id: str, sql: str, words: str) -> None:
    verdict = desk.verify(task_id, sql)
    assert (verdict.verdict, words in verdict.support) == ("correct", True), verdict


def test_a_value_that_one_query_found_may_stand_in_the_next(desk: Desk) -> None:
    dearest = "SELECT max(list_price) FROM products"
    price = asyncio.run(_value(desk, "retail", dearest))
    verdict = desk.verify(DEAREST, dearest, f"SELECT min(name) FROM products WHERE list_price = {price}")
    assert verdict.verdict == "correct", verdict
    assert "with what step 1 found" in verdict.support
    alone = desk.verify(DEAREST, f"SELECT min(name) FROM products WHERE list_price = {price}")
    assert alone.verdict == "correct_on_base_only"


def test_a_difference_of_two_counts_is_followed(desk: Desk) -> None:
    verdict = desk.verify(NO_TIER, "SELECT count(*) FROM customers", "SELECT count(loyalty_tier) FROM customers")
    assert (verdict.verdict, verdict.support.split(":")[0]) == ("correct", "difference")


def test_queries_beside_the_right_one_do_no_harm(desk: Desk) -> None:
    others = [f"SELECT count(*) FROM {table}" for table in ("orders", "products", "suppliers")]
    assert desk.verify(BERGEN, desk.golds[BERGEN].gold_sql, *others).verdict == "correct"


def test_a_replay_that_runs_into_a_limit_leaves_the_answer_unsupported_and_says_so(retail: TaskSet) -> None:
    small = Desk.of(retail, SandboxLimits(max_bytes=10_000))
    wide = "SELECT (SELECT name FROM products ORDER BY list_price DESC, name LIMIT 1), repeat('x', {})"
    here = f"(SELECT CASE WHEN count(*) = {_count(retail)} THEN 1 ELSE 20000 END FROM orders)"
    verdict = small.verify(DEAREST, wide.format(here) + " FROM orders LIMIT 1")
    assert (verdict.verdict, verdict.limits) == ("unsupported", ("result_size",))


def test_damaged_variants_are_an_error_that_names_them(retail: TaskSet, tmp_path: Path) -> None:
    assert retail.manifest.variants is not None
    copy = tmp_path / "retail.zip"
    copy.write_bytes((retail.folder / "variants" / "retail.zip").read_bytes() + b"x")
    with pytest.raises(BadInput, match=r"variants/retail\.zip of the task set was changed"):
        unpack(copy, retail.manifest.variants.archives["retail"], tmp_path)


def test_variants_travel_with_the_task_set(retail: TaskSet, tmp_path: Path) -> None:
    fetched = TaskSet(fetch(f"file://{retail.folder}", None, tmp_path))
    assert fetched.manifest.task_set_hash() == retail.manifest.task_set_hash()
    assert Desk.of(fetched).verify(DEAREST, desk_sql(retail)).verdict == "correct"


def test_the_hash_of_a_task_set_covers_its_variants(builtin: TaskSet, retail: TaskSet) -> None:
    assert builtin.manifest.task_set_hash() != retail.manifest.task_set_hash()


class Cheater:
    """Answers the dearest product rightly: in the first sample by its own query, in the second by heart."""

    def __init__(self, name: str, sql: str) -> None:
        self._name, self._sql = name, sql

    def act(self, turns: list[Turn]) -> list[ExploreAction]:
        return [self._next(turn) for turn in turns]

    def _next(self, turn: Turn) -> ExploreAction:
        if turn.history:
            return make_action("ANSWER", self._name)
        by_heart = f"SELECT name FROM products WHERE name = '{self._name}'"
        return make_action("QUERY", self._sql if turn.seed % 2 else by_heart)


@pytest.mark.parametrize("mode", ["variants", "base"])
async def test_only_what_is_verified_is_paid_and_a_regrade_finds_the_same(
    retail: TaskSet, desk: Desk, tmp_path: Path, mode: str
) -> None:
    config = RolloutConfig.model_validate(
        {"name": "cheat", "policies": ["cheater"], "tasks": TasksConfig(path=str(retail.folder)), "verification": mode}
    )
    task_set_hash = retail.manifest.task_set_hash()
    specs = [
        EpisodeSpec(run_id="r", task_set_hash=task_set_hash, task_id=DEAREST, policy="cheater", seed=0, sample_index=n)
        for n in range(8)
    ]
    run = RunFolder.start(tmp_path / "run", config, retail, specs, None)
    verdicts = {
        t.spec.episode_seed() % 2: (t.verdict, t.steps[-1].reward) for t in await _played(retail, desk, run, specs)
    }
    by_heart = ("correct_on_base_only", 0.0) if mode == "variants" else ("correct", 1.0)
    assert verdicts == {1: ("correct", 1.0), 0: by_heart}
    summary = await Regrader(run).regrade(lambda done: None)
    assert (summary.graded, summary.differences) == (8, ())


async def _played(retail: TaskSet, desk: Desk, run: RunFolder, specs: list[EpisodeSpec]) -> list[Trajectory]:
    sink, played = Sink(run.path, "part"), list[Trajectory]()

    async def deliver(trajectories: list[Trajectory]) -> None:
        played.extend(trajectories)
        if trajectories:
            sink.append(to_table(trajectories))

    config = run.manifest.config
    setup = ActorSetup(task_set=address_of(retail), limits=config.limits, sandbox=config.sandbox)
    policies = {"cheater": lambda: Cheater(desk.right(DEAREST), desk.golds[DEAREST].gold_sql)}
    verifier = verifier_for if config.verification == "variants" else None
    actor = EnvActor(setup, policies, GoldGrader.read, deliver, None, verifier)
    await actor.play(specs)
    actor.close()
    sink.roll()
    return played


@pytest.mark.soak
def test_over_all_built_in_databases_nine_in_ten_near_misses_fall_and_equivalents_stand(
    builtin: TaskSet, tmp_path: Path
) -> None:
    databases = tuple(builtin.manifest.databases)
    whole = Desk.of(with_variants(builtin, tmp_path / "set", databases))
    standing = [sql for sql, verdict in judged(whole, databases, right=False) if verdict.verdict == "correct"]
    fallen = [sql for sql, verdict in judged(whole, databases, right=True) if verdict.verdict != "correct"]
    assert len(standing) <= 0.1 * len(judged(whole, databases, right=False)), standing
    assert len(fallen) <= 0.03 * len(judged(whole, databases, right=True)), fallen


def desk_sql(task_set: TaskSet) -> str:
    return Desk.of(task_set).golds[DEAREST].gold_sql


def _count(task_set: TaskSet) -> int:
    table = task_set.catalog("retail").find("orders")
    assert table is not None
    return table.row_count


async def _value(desk: Desk, database: str, sql: str) -> str:
    from services.contracts.cells import cell_text
    from services.contracts.statements import ResultTable
    from services.sandbox.pool import SandboxPool

    async with SandboxPool({database: desk.task_set.database_path(database)}, SandboxLimits()) as pool:
        outcome, _ = await pool.run(database, sql)
        assert isinstance(outcome, ResultTable)
        return cell_text(outcome.rows[0][0])
