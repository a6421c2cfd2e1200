"""Gates: what an evaluation must reach. Each says in one line how it failed."""

import re
from collections.abc import Iterable, Sequence

from cluster.evaluation.figures import Figures
from cluster.evaluation.pairs import ALPHA, holm
from cluster.evaluation.results import Evaluation
from cluster.evaluation.runs import RunComparison, check_same_task_set, partner_names
from cluster.rollout import Prepared
from cluster.run import RunFolder
from services.contracts.errors import BadInput
from services.contracts.grading import ALL_COMPONENTS
from services.contracts.record import Record

_PASS_AT = re.compile(r"pass@([1-9][0-9]*)")
METRICS = ("success_rate", "reward", "pass@K", *ALL_COMPONENTS)


class Floor(Record):
    """The least that a figure may be, of one policy, or of all if `policy` is None."""

    policy: str | None
    metric: str
    least: float


def read_floor(text: str, policies: Sequence[str], samples: int) -> Floor:
    """A floor as `METRIC=VALUE` or `POLICY:METRIC=VALUE`. Raises BadInput."""
    left, _, value = text.rpartition("=")
    policy, _, metric = left.rpartition(":")
    if policy and policy not in policies:
        raise BadInput(f"--fail-under {text}: the config has no policy {policy}, only {', '.join(policies)}")
    k = _PASS_AT.fullmatch(metric)
    if metric not in METRICS[:2] and metric not in ALL_COMPONENTS and k is None:
        raise BadInput(f"--fail-under {text}: expected METRIC=VALUE with a metric of {', '.join(METRICS)}")
    if k is not None and int(k[1]) not in pass_ks(samples):
        known = ", ".join(map(str, pass_ks(samples)))
        raise BadInput(f"--fail-under {text}: with {samples} samples, pass@K is known for K = {known}")
    try:
        least = float(value)
    except ValueError as error:
        raise BadInput(f"--fail-under {text}: {value!r} is not a number") from error
    if least != least:
        raise BadInput(f"--fail-under {text}: {value!r} is not a number")
    return Floor(policy=policy or None, metric=metric, least=least)


def pass_ks(samples: int) -> list[int]:
    """The ks for which pass@k is told: 1, 2, 4 … and all samples."""
    return sorted({samples, *(2**power for power in range(samples.bit_length()))})


def under(evaluation: Evaluation, floors: Iterable[Floor]) -> list[str]:
    """What failed: a policy whose figure lies under its floor, or is not there because all episodes were faulted."""
    failed = []
    for floor in floors:
        for one in evaluation.policies:
            if floor.policy not in (None, one.policy):
                continue
            found = _figure(one, floor.metric)
            if found is None or found < floor.least:
                said = "unknown" if found is None else f"{found:.4f}"
                failed.append(f"--fail-under: {floor.metric} of {one.policy} is {said}, under {floor.least:g}")
    return failed


def check_reference(reference: RunFolder, prepared: Prepared) -> None:
    """Raise BadInput, before anything is played, unless the reference can be compared with what is planned."""
    task_set_hash = prepared.task_set.manifest.task_set_hash()
    check_same_task_set(reference.manifest, task_set_hash, f"--no-worse-than: {reference.path} and this evaluation")
    played = list(reference.manifest.config.policies)
    if not partner_names(played, list(prepared.config.policies)):
        raise BadInput(f"--no-worse-than: {reference.path} played {', '.join(played)}, none of this config's policies")


def worse(compared: RunComparison) -> list[str]:
    """What failed: a policy whose success or reward is significantly under the reference's.

    One-sided cluster-robust t tests at 0.05 in all, corrected by Holm over every policy and both figures.
    """
    tests = [(one.comparison, name) for one in compared.policies for name in ("success", "reward")]
    differences = [one.success if name == "success" else one.reward for one, name in tests]
    sided = [one_sided(found.delta.mean, found.p) for found in differences]
    return [
        f"--no-worse-than: {name} of {one.b} is {found.b:.4f}, was {found.a:.4f} (p = {p:.4f})"
        for (one, name), found, p in zip(tests, differences, holm(sided), strict=True)
        if p is not None and p < ALPHA
    ]


def one_sided(delta: float | None, p: float | None) -> float | None:
    """The p of "B is not worse", from the two-sided one."""
    if delta is None or p is None:
        return None
    return p / 2 if delta < 0 else 1 - p / 2


def _figure(one: Figures, metric: str) -> float | None:
    k = _PASS_AT.fullmatch(metric)
    if k is not None:
        return one.pass_at[int(k[1])].mean if int(k[1]) in one.pass_at else None
    if metric in ALL_COMPONENTS:
        return one.components.get(metric)
    return one.success.mean if metric == "success_rate" else one.reward.mean
