"""The evaluation agent of appendix C over the OpenEnv client."""

import pytest

from cluster.green.agent import SQLGreenAgent, TurnTaker
from cluster.green.openenv import OpenEnvEnvironment
from services.contracts.actions import Answer
from services.contracts.errors import Infrastructure
from services.env_actor.taskset import TaskSet
from services.grader.gold import GoldAnswer
from services.policy.random import RandomPolicy
from tests.openenv_server import serving
from tests.test_green_agent import Oracle, Scripted


def test_a_server_s_environment_is_evaluated_and_one_that_goes_away_is_a_fault(
    builtin: TaskSet, named_analyst_set: TaskSet, golds: dict[str, GoldAnswer]
) -> None:
    with serving(builtin, named_analyst_set) as server, OpenEnvEnvironment(server.url, seed=4) as env:
        oracle = SQLGreenAgent(env, Oracle(builtin, golds)).evaluate(6)
        wrong = SQLGreenAgent(env, Scripted(Answer(value="no such answer"))).evaluate(2)
        random = [SQLGreenAgent(OpenEnvEnvironment(server.url, 1), TurnTaker(RandomPolicy())).evaluate(3) for _ in "ab"]
        url = server.url
    assert (oracle["success_rate"], oracle["avg_steps"], oracle["faulted"]) == (1.0, 2.0, 0)
    assert (wrong["success_rate"], wrong["avg_steps"]) == (0.0, 1.0)
    assert random[0] == random[1]
    with OpenEnvEnvironment(url) as gone:
        assert SQLGreenAgent(gone, Scripted(Answer(value="x"))).evaluate(2)["faulted"] == 2
        with pytest.raises(Infrastructure, match=url):
            gone.reset()
