"""Two runs on the same task set, paired: what changed from A to B, and which tasks flipped."""

from cluster.evaluation.attempts import Attempt, of_policy, policies_of, read_attempts
from cluster.evaluation.pairs import Comparison, Flip, compare, corrected, flips, paired
from cluster.run import RunFolder, RunManifest
from services.contracts.errors import BadInput
from services.contracts.record import Record


class PolicyComparison(Record):
    """A policy of run B against its partner in run A, with the pairs that flipped either way."""

    comparison: Comparison
    lost: tuple[Flip, ...]
    won: tuple[Flip, ...]


class RunComparison(Record):
    """Run B against run A. Differences are B - A; p values are corrected over the policies."""

    run_a: str
    run_b: str
    task_set_hash: str
    policies: tuple[PolicyComparison, ...]


def compare_runs(a: RunFolder, b: RunFolder) -> RunComparison:
    """B against A on their common tasks and samples. Raises BadInput if they cannot be compared."""
    check_comparable(a, b)
    ours, theirs = read_attempts(a), read_attempts(b)
    partners = _partners(policies_of(ours), policies_of(theirs), (a, b))
    sides = [(of_policy(ours, mine), of_policy(theirs, other)) for mine, other in partners]
    comparisons = corrected([_compared(*side, (a, b)) for side in sides])
    return RunComparison(
        run_a=str(a.path),
        run_b=str(b.path),
        task_set_hash=a.manifest.task_set_hash,
        policies=tuple(
            PolicyComparison(comparison=one, lost=tuple(flips(pairs, "a")), won=tuple(flips(pairs, "b")))
            for one, pairs in zip(comparisons, (paired(*side) for side in sides), strict=True)
        ),
    )


def check_comparable(a: RunFolder, b: RunFolder) -> None:
    """Raise BadInput unless both runs are on the same task set."""
    check_same_task_set(a.manifest, b.manifest.task_set_hash, f"{a.path} and {b.path}")


def check_same_task_set(manifest: RunManifest, task_set_hash: str, whose: str) -> None:
    """Raise BadInput unless the run is on the task set of that hash."""
    if manifest.task_set_hash != task_set_hash:
        raise BadInput(
            f"{whose} are of different task sets ({manifest.task_set_hash} and {task_set_hash}): nothing to compare"
        )


def partner_names(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    """Policies of the same name; or the only one of A with the only one of B; else none."""
    common = [(name, name) for name in a if name in b]
    return common or ([(a[0], b[0])] if len(a) == len(b) == 1 else [])


def _partners(a: list[str], b: list[str], runs: tuple[RunFolder, RunFolder]) -> list[tuple[str, str]]:
    partners = partner_names(a, b)
    if not partners:
        played = f"{', '.join(a)} and {', '.join(b)}"
        raise BadInput(f"{runs[0].path} and {runs[1].path} have no policy in common: they played {played}")
    return partners


def _compared(a: list[Attempt], b: list[Attempt], runs: tuple[RunFolder, RunFolder]) -> Comparison:
    one = compare(a, b, (a[0].policy, b[0].policy))
    if not one.pairs:
        raise BadInput(f"{runs[0].path} and {runs[1].path} have no graded task and sample of {one.b} in common")
    return one
