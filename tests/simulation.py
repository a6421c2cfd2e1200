"""Simulated attempts of policies whose true rates are known, clustered by database."""

from collections.abc import Sequence

import numpy as np

from cluster.evaluation.attempts import Attempt


def attempt(policy: str, database: str, task: int, sample: int, success: bool, reward: float | None = 0.0) -> Attempt:
    """One attempt; a reward of None makes it a faulted one."""
    verdict = "ungraded" if reward is None else "correct" if success else "incorrect"
    return Attempt.model_validate(
        {
            "episode_id": f"{policy}-{database}-{task}-{sample}",
            "task_id": f"{database}-{task}",
            "sample_index": sample,
            "policy": policy,
            "environment": "explore",
            "database": database,
            "difficulty": "easy",
            "verdict": verdict,
            "reward": None if reward is None else float(success) + reward,
            "components": (0.0,) * 5 + (float(success),),
            "step_count": 3,
            "truncation": None,
            "fault_kind": "SandboxFault" if reward is None else None,
            "wall_ms": 2.0,
            "policy_ms": 1.0,
            "sandbox_ms": 1.0,
            "violations": 0,
        }
    )


def attempts(policy: str, outcomes: Sequence[Sequence[Sequence[bool]]]) -> list[Attempt]:
    """Attempts from outcomes[database][task][sample]."""
    return [
        attempt(policy, f"db{place}", task, sample, success)
        for place, database in enumerate(outcomes)
        for task, samples in enumerate(database)
        for sample, success in enumerate(samples)
    ]


def clustered(
    dice: np.random.Generator, rate: float, correlation: float, databases: int = 6, tasks: int = 17, samples: int = 4
) -> np.ndarray:
    """Successes as [database, task, sample]; the databases' own rates are beta distributed around `rate`."""
    scale = 1 / correlation - 1
    of_database = dice.beta(rate * scale, (1 - rate) * scale, databases)
    of_task = dice.beta(
        *(8 * np.maximum(chance, 1e-6) for chance in (of_database, 1 - of_database)), (tasks, databases)
    )
    return np.asarray(dice.random((databases, tasks, samples)) < of_task.T[:, :, None])
