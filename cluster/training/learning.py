"""Learning: the passes of BC or MARWIL, then those of PPO; each is kept, and has a line in a curve."""

import time
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID

from cluster.training.curves import Curve
from cluster.training.judging import judge
from cluster.training.keeping import Kept, Weights, module_of
from cluster.training.offline import offline_algorithm
from cluster.training.online import online_algorithm
from cluster.training.splits import Split
from cluster.training.stages import Prepared, Stages

SYNC_S = 120.0
"""By then every EnvRunner must have the offline weights: without a time RLlib does not wait for them."""
OFFLINE = ("epoch", "loss", "decisions right", "queries right", "seconds")
ONLINE = ("iteration", "decisions", "return", "length", "kl", "entropy", "seconds")


def learn_offline(stages: Stages, made: Prepared) -> Weights:
    """The weights of the pass that did best on the validation databases."""
    config, curve = stages.config, Curve(stages.folder / "offline.csv", OFFLINE)
    kept = Kept(stages.folder / "offline")
    algorithm = offline_algorithm(config, stages.folder / "decisions" / "supervised", made.supervised.decisions)
    try:
        for epoch in range(_begun(kept, algorithm, curve) + 1, config.offline.epochs + 1):
            began = time.monotonic()
            learned = algorithm.train()["learners"][DEFAULT_MODULE_ID]
            judged = judge(module_of(algorithm), stages.folder / "decisions" / "validation", config.most_candidates)
            loss, took = float(learned["policy_loss"]), time.monotonic() - began
            point = dict(zip(OFFLINE, (epoch, loss, judged.decisions, judged.episodes, took), strict=True))
            kept.save(algorithm, epoch, judged.episodes, point)
            curve.add(point)
            stages.say(
                f"offline {epoch} of {config.offline.epochs}: loss {loss:.3f}, "
                f"{judged.decisions:.1%} of the validation's decisions, {judged.episodes:.1%} of its queries"
            )
    finally:
        algorithm.stop()
    curve.draw(stages.folder / "offline.svg", OFFLINE[1:4])
    return kept.best()


def learn_online(stages: Stages, sides: Split, weights: Weights) -> Weights:
    """The weights after PPO, which begins with those that are given."""
    config, curve = stages.config, Curve(stages.folder / "online.csv", ONLINE)
    kept = Kept(stages.folder / "online")
    tasks = sides.tasks(stages.task_set, sides.online)
    algorithm = online_algorithm(config, stages.config.tasks, tasks)
    try:
        begun = _begun(kept, algorithm, curve)
        if not begun:
            module_of(algorithm).load_state_dict(weights)
        runners: Any = algorithm.env_runner_group
        runners.sync_weights(from_worker_or_learner_group=algorithm.learner_group, timeout_seconds=SYNC_S)
        for iteration in range(begun + 1, config.online.iterations + 1):
            began = time.monotonic()
            result = algorithm.train()
            point = _online_point(iteration, iteration * config.online.steps, result, time.monotonic() - began)
            kept.save(algorithm, iteration, iteration, point)
            curve.add(point)
            stages.say(f"online {iteration} of {config.online.iterations}: return {point['return']:.3f}")
    finally:
        algorithm.stop()
    curve.draw(stages.folder / "online.svg", ONLINE[2:6])
    return kept.best()


def _begun(kept: Kept, algorithm: Algorithm, curve: Curve) -> int:
    """The pass to go on after. A kill between a pass and its line leaves no gap in the curve."""
    point = kept.restore(algorithm)
    if point is None:
        return 0
    curve.add(point)
    return int(point[curve.number])


def _online_point(iteration: int, decisions: int, result: dict[str, Any], seconds: float) -> dict[str, float]:
    learned, played = result["learners"][DEFAULT_MODULE_ID], result["env_runners"]
    values = (
        iteration, decisions, played["episode_return_mean"], played["episode_len_mean"],
        learned.get("mean_kl_loss", 0.0), learned["entropy"], seconds,
    )  # fmt: skip
    return {name: float(value) for name, value in zip(ONLINE, values, strict=True)}
