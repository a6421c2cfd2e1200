"""Online: PPO in the environment, from the offline network, on databases kept out of the supervised part."""

from collections.abc import Sequence
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.env_context import EnvContext

from cluster.training.module import module_spec, spaces_of
from cluster.training.playground import Playground
from cluster.training.settings import TrainConfig

OPERATIONS = 6
"""Decisions of an episode, about: how many episodes an environment will play is reckoned from it."""


def online_algorithm(config: TrainConfig, tasks: str, task_ids: Sequence[str]) -> Algorithm:
    """PPO over the tasks; one `train()` plays `online.steps` decisions and learns from them."""
    seen, done = spaces_of(config.most_candidates)
    asked = config.online
    planned = max(1, asked.steps * asked.iterations // OPERATIONS // asked.env_runners)

    def playground(context: EnvContext) -> Playground:
        seed = 1000 * config.seed + context.worker_index
        return Playground(tasks, task_ids, config.most_candidates, planned, seed)

    fixed = config.network.model_copy(update={"dropout": 0.0})  # the ratios of PPO are of one network
    kind: Any = PPOConfig
    chosen = (
        kind()
        .environment(env=_registered(playground), observation_space=seen, action_space=done, disable_env_checking=True)
        .framework("torch")
        .debugging(seed=config.seed)
        .learners(num_learners=0)
        .env_runners(
            num_env_runners=asked.env_runners,
            num_envs_per_env_runner=1,
            num_cpus_per_env_runner=0.5,
            batch_mode="complete_episodes",
            create_local_env_runner=False,
        )
        .training(
            train_batch_size_per_learner=asked.steps,
            minibatch_size=asked.minibatch,
            num_epochs=asked.epochs,
            lr=asked.learning_rate,
            gamma=1.0,
            lambda_=1.0,
            clip_param=asked.clip,
            use_kl_loss=asked.kl > 0,
            kl_coeff=asked.kl,
            kl_target=0.02,
            entropy_coeff=asked.entropy,
            vf_loss_coeff=1.0,
            vf_clip_param=10.0,
            grad_clip=1.0,
        )
        .rl_module(rl_module_spec=module_spec(fixed, config.most_candidates))
    )
    built: Algorithm = chosen.build_algo()
    return built


def _registered(playground: Any) -> str:
    from ray.tune.registry import register_env

    register_env("assay/Playground", playground)
    return "assay/Playground"
