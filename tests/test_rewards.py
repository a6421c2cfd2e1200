"""The laws of the ledger, for any sequence of steps."""

from hypothesis import given
from hypothesis import strategies as st

from services.contracts.grading import RewardComponents
from services.contracts.statements import QueryFacts, ResultTable
from services.env_actor.rewards import CEILING, FLOOR, RewardLedger, binned

fractions = st.floats(0, 1)


def result(tree: int, tables: tuple[str, ...], from_data: bool, value: int) -> ResultTable:
    facts = QueryFacts(
        tables=tables,
        columns=tuple((name, "c") for name in tables),
        tree=str(tree),
        skeleton=str(tree),
        literals=(),
        from_data=from_data,
        volatile=False,
    )
    return ResultTable(columns=("c",), types=("INTEGER",), rows=[[value]], facts=facts)


looks = st.tuples(st.just("look"), st.sampled_from(["DESCRIBE", "SAMPLE"]), st.sampled_from("abcdefgh"))
queries = st.tuples(st.just("query"), st.integers(0, 20), st.booleans(), st.booleans(), st.integers(0, 9), fractions)
mistakes = st.tuples(st.just("mistake"))
steps = st.lists(looks | queries | mistakes, max_size=60)


def take(ledger: RewardLedger, step: tuple[object, ...]) -> RewardComponents:
    match step:
        case ("look", str(kind), str(name)):
            return ledger.look(kind, name, ["c", "d"])
        case ("query", int(tree), bool(reads), bool(from_data), int(value), float(progress)):
            return ledger.query(result(tree, ("t",) if reads else (), from_data, value), progress)
        case _:
            return ledger.mistake()


@given(steps)
def test_the_rewards_paid_add_up_to_the_clamped_sum(taken: list[tuple[object, ...]]) -> None:
    ledger = RewardLedger()
    shaping = paid = 0.0
    for step in taken:
        components = take(ledger, step)
        shaping += components.shaping()
        paid += ledger.pay(components)
    assert abs(paid - max(FLOOR, min(CEILING, shaping))) < 1e-9


@given(steps)
def test_each_layer_keeps_its_cap(taken: list[tuple[object, ...]]) -> None:
    ledger = RewardLedger()
    totals = {"exec_ok": 0.0, "new_info": 0.0, "progress": 0.0}
    for step in taken:
        components = take(ledger, step)
        for name in totals:
            totals[name] += getattr(components, name)
    assert totals["exec_ok"] < 0.2 + 1e-9
    assert totals["new_info"] < 0.1 + 1e-9
    assert totals["progress"] < 0.15 + 1e-9


@given(st.lists(fractions, min_size=1, max_size=20))
def test_progress_pays_the_best_bin_once(values: list[float]) -> None:
    ledger = RewardLedger()
    paid = [ledger.query(result(i, ("t",), True, i), value).progress for i, value in enumerate(values)]
    assert abs(sum(paid) - 0.15 * max(map(binned, values))) < 1e-9
    assert all(amount >= 0 for amount in paid)


@given(st.floats(allow_nan=False))
def test_progress_is_binned_to_five_levels(value: float) -> None:
    assert binned(value) in {0, 0.25, 0.5, 0.75, 1.0}
