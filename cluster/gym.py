"""The explore environment for Gymnasium: `gymnasium.make("cluster.gym:assay/Explore-v0", tasks="builtin")`."""

import gymnasium

from cluster.config import BUILTIN
from cluster.tasksets.opening import open_task_set
from cluster.verifying import verifier_for
from services.contracts.tasks import EpisodeLimits
from services.env_actor.gym import ExploreGym
from services.grader.grader import GoldGrader


def explore_gym(
    tasks: str = BUILTIN, render_mode: str | None = None, limits: EpisodeLimits | None = None
) -> ExploreGym:
    """The environment over a task set folder, its URL, or 'builtin'. Raises BadInput."""
    task_set = open_task_set(tasks)
    task_set.check_databases(task_set.manifest.databases)
    grader = GoldGrader.read(task_set.gold_path)
    return ExploreGym(task_set, grader, limits, render_mode=render_mode, verifier=verifier_for)


gymnasium.register("assay/Explore-v0", entry_point="cluster.gym:explore_gym", disable_env_checker=True)
gymnasium.register("assay/Structured-v0", entry_point="cluster.structured_gym:structured_gym", disable_env_checker=True)
