"""What a training run is told: one YAML file, read into a frozen tree."""

import hashlib
import json
from typing import Literal

from pydantic import Field

from cluster.config import ActorsConfig
from services.contracts.record import Record


class SplitConfig(Record):
    """How many databases are kept out of the supervised part, and for what; all others are supervised."""

    seed: int = Field(default=0, ge=0, description="of the split alone: trainings of several seeds are judged alike")
    online: int = Field(default=30, ge=1, description="databases whose rewards train the online part")
    validation: int = Field(default=10, ge=1, description="databases on which checkpoints are chosen")
    test: int = Field(default=25, ge=1, description="databases that training never sees")
    likeness: float = Field(
        default=0.5, gt=0, le=1, description="share of table and column names from which databases stay on one side"
    )


class NetworkConfig(Record):
    """The network's size."""

    width: int = Field(default=128, ge=8, le=512)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class OfflineConfig(Record):
    """Learning from stored decisions."""

    algorithm: Literal["bc", "marwil"] = "bc"
    beta: float = Field(default=0.5, ge=0, le=1, description="of MARWIL: how much better outcomes weigh")
    epochs: int = Field(default=5, ge=1)
    batch: int = Field(default=64, ge=8)
    learning_rate: float = Field(default=2e-3, gt=0)
    samples: int = Field(default=1, ge=0, description="rollouts of heuristic and random policy a task, for MARWIL")
    patience: int = Field(default=3, ge=1, description="epochs without a better validation before it ends")


class OnlineConfig(Record):
    """PPO in the environment, from the offline checkpoint."""

    iterations: int = Field(default=12, ge=0)
    steps: int = Field(default=2048, ge=32, description="decisions of one iteration")
    minibatch: int = Field(default=256, ge=8)
    epochs: int = Field(default=3, ge=1)
    env_runners: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    clip: float = Field(default=0.2, gt=0)
    kl: float = Field(default=0.2, ge=0)
    entropy: float = Field(default=0.003, ge=0)


class RerankConfig(Record):
    """A network that chooses among the queries tried, by their results."""

    epochs: int = Field(default=30, ge=0)


class PlayConfig(Record):
    """How a checkpoint plays."""

    width: int = Field(default=5, ge=1, le=32, description="partial queries that the search keeps")
    tries: int = Field(default=4, ge=1, le=8, description="whole queries tried at most")


class TrainConfig(Record):
    """A training run: supervised by demonstrations, then rewarded on databases kept out of that."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    tasks: str = Field(default="builtin", description="a task set folder, its URL, or 'builtin'")
    seed: int = Field(default=0, ge=0)
    most_candidates: int = Field(default=512, ge=32, le=1024, description="of a state; more are left out in training")
    split: SplitConfig = SplitConfig()
    network: NetworkConfig = NetworkConfig()
    offline: OfflineConfig = OfflineConfig()
    online: OnlineConfig = OnlineConfig()
    rerank: RerankConfig = RerankConfig()
    play: PlayConfig = PlayConfig()
    actors: ActorsConfig = ActorsConfig()

    def config_hash(self) -> str:
        """16 hex digits over every value."""
        tree = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(tree.encode()).hexdigest()[:16]
