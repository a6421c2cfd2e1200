"""skyrl-gym's SQL environment on one half of the questions: prints steps and seconds as JSON. Extra `bench`."""

import json
import sys
import tempfile
import time
from pathlib import Path

from skyrl_gym.envs.sql.env import SQLEnv, Text2SQLEnvConfig


def main(peer: Path, source: Path, samples: int, part: int) -> None:
    """Play the scripted episodes of one half."""
    lines = json.loads(peer.read_text())[part::2]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spider").symlink_to(source.resolve())
        config = Text2SQLEnvConfig(db_path=folder)
        steps = 0
        started = time.perf_counter()
        for line in lines:
            for _ in range(samples):
                extras = {"db_id": line["db"], "reward_spec": {"ground_truth": line["gold"]}, "data": "spider"}
                env = SQLEnv(config, {**extras, "max_turns": len(line["peer"])})
                for action in line["peer"]:
                    output = env.step(action)
                    steps += 1
                assert output["reward"] == 1.0, line["task_id"]
        seconds = time.perf_counter() - started
    print(json.dumps({"steps": steps, "seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
