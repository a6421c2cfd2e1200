"""Offline: BC or MARWIL over stored decisions, by RLlib's own offline API."""

from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.marwil import MARWILConfig

from cluster.training.module import module_spec, spaces_of
from cluster.training.prelearning import DecisionReader
from cluster.training.settings import OfflineConfig, TrainConfig


def offline_algorithm(config: TrainConfig, decisions: Path, rows: int) -> Algorithm:
    """RLlib's algorithm over the Parquet files of a folder; one `train()` is one pass over the rows."""
    seen, done = spaces_of(config.most_candidates)
    asked = config.offline
    kinds: dict[str, Any] = {"bc": BCConfig, "marwil": MARWILConfig}
    weighted = {} if asked.algorithm == "bc" else {"beta": asked.beta}
    chosen = (
        kinds[asked.algorithm]()
        .training(**weighted)
        .environment(observation_space=seen, action_space=done)
        .framework("torch")
        .debugging(seed=config.seed)
        .learners(num_learners=0)
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=asked.batch, lr=learning_rates(asked), grad_clip=1.0)
        .rl_module(rl_module_spec=module_spec(config.network, config.most_candidates))
        .offline_data(
            input_=[str(path) for path in sorted(decisions.glob("*.parquet"))],
            input_read_method="read_parquet",
            input_read_method_kwargs={"shuffle": "files"},
            prelearner_class=DecisionReader,
            materialize_data=False,
            materialize_mapped_data=False,
            map_batches_kwargs={"concurrency": 1, "num_cpus": 0.1},
            dataset_num_iters_per_learner=rows // asked.batch,
        )
    )
    built: Algorithm = chosen.build_algo()
    return built


def learning_rates(asked: OfflineConfig) -> list[list[float]]:
    """RLlib's schedule [[steps, rate] …], from pass to pass down to a twentieth: it counts a batch for every pass."""
    passed = asked.batch * max(asked.epochs - 1, 1)
    return [[0, asked.learning_rate], [passed, asked.learning_rate / 20]]
