"""What makes the policies of a config: models with their settings, and with what counts their tokens."""

from collections.abc import Callable
from functools import partial

from cluster.config import RolloutConfig
from services.contracts.policy import AnyPolicy
from services.policy.llm.metering import Freely, Meter
from services.policy.llm.settings import ModelSettings, is_model
from services.policy.registry import policy_maker

MeterOf = Callable[[str], Meter]
"""Makes what counts for the policy of a name."""


def free_meter(config: RolloutConfig, name: str) -> Meter:
    """For a run without a budget: it knows the price, and lets everything pass."""
    return Freely(config.prices.get(name))


def makers_of(config: RolloutConfig, meter_of: MeterOf | None = None) -> dict[str, Callable[[], AnyPolicy]]:
    """What makes each policy of the config, wherever it is called. Raises BadInput."""
    meter_of = meter_of or partial(free_meter, config)
    return {
        name: policy_maker(name, settings_of(config, name), meter_of(name)) if is_model(name) else policy_maker(name)
        for name in config.policies
    }


def settings_of(config: RolloutConfig, name: str) -> ModelSettings:
    """How the model of that name is asked in one env actor: the run's requests a minute are shared out."""
    settings = config.models.get(name, ModelSettings())
    per_minute = settings.requests_per_minute
    if per_minute is None:
        return settings
    return settings.model_copy(update={"requests_per_minute": per_minute / config.actors.count})
