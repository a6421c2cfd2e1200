"""Policies by name: what is remote says how it must be written, and the rule-based one plays by its rules."""

import pytest

from services.contracts.actions import Answer, Describe, Query
from services.contracts.errors import BadInput
from services.contracts.policy import Exchange, Turn
from services.policy.registry import policy_maker
from services.policy.remote import OpenAIPolicy
from services.policy.rules import RuleBasedPolicy
from tests.conftest import Table


@pytest.mark.parametrize("name", ["openai:gpt", "openai:@http://x/v1", "openai:gpt@x", "a2a:x", "a2a:ftp://x"])
def test_a_remote_policy_without_a_url_or_model_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="with an http:// or https:// URL"):
        policy_maker(name)


@pytest.mark.parametrize(("name", "near"), [("opena:x", "openai"), ("rule-base", "rule-based"), ("a2:x", "a2a")])
def test_an_unknown_name_is_told_its_neighbour(name: str, near: str) -> None:
    with pytest.raises(BadInput, match=f"did you mean {near}"):
        policy_maker(name)


async def test_a_model_may_have_an_at_sign_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    policy = policy_maker("openai:org/model@v2@http://127.0.0.1:9/v1")()
    assert isinstance(policy, OpenAIPolicy)
    assert vars(policy)["_endpoint"].where == "org/model@v2 at http://127.0.0.1:9/v1"


def test_the_rule_based_policy_describes_counts_and_answers(table: Table) -> None:
    episode, policy = table.start("retail-000"), RuleBasedPolicy()
    turn = Turn(task_id="retail-000", seed=0, first=episode.reset(), history=())
    while not episode.over:
        (action,) = policy.act([turn])
        assert isinstance(action, Describe | Query | Answer)
        sql = episode.statement(action)
        outcome = None if sql is None else table.run("retail", sql)
        seen = episode.apply(action, outcome)
        turn = turn.model_copy(update={"history": (*turn.history, Exchange(action=action, observation=seen))})
    assert [step.action.kind for step in episode.steps] == ["DESCRIBE", "QUERY", "ANSWER"]
    assert episode.verdict() == "correct"
