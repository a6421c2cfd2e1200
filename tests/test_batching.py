"""The batcher's laws: one call at a time, every turn answered, and nobody hurt by another."""

import asyncio
from collections.abc import Sequence

import pytest

from services.contracts.actions import Answer, ExploreAction
from services.contracts.errors import PolicyFault
from services.contracts.observation import Observation
from services.contracts.policy import AnyPolicy, Turn
from services.env_actor.batching import PolicyBatcher

FIRST = Observation(question="q", schema_info="tables: a")


def turn(number: int) -> Turn:
    return Turn(task_id=str(number), seed=number, first=FIRST, history=())


def answers(turns: Sequence[Turn]) -> list[ExploreAction]:
    return [Answer(value=turn.task_id) for turn in turns]


class Plain:
    """Answers at once."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        self.batches.append([turn.task_id for turn in turns])
        return answers(turns)


class Gated:
    """Answers when the test says so, and notes how many calls are under way at once."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.asked = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)
        self.under_way = self.most = 0

    async def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        self.batches.append([turn.task_id for turn in turns])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.asked.release()
        await self.go.acquire()
        self.under_way -= 1
        return answers(turns)


class Broken:
    """Fails its first call, and answers later ones."""

    def __init__(self) -> None:
        self.calls = 0

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        self.calls += 1
        if self.calls == 1:
            raise PolicyFault("down")
        return answers(turns)


class BrokenLater:
    """The same, after a while."""

    def __init__(self) -> None:
        self._broken = Broken()

    async def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        await asyncio.sleep(0)
        return self._broken.act(turns)


class Short:
    """Gives one action too few."""

    def act(self, turns: Sequence[Turn]) -> list[ExploreAction]:
        return answers(turns[1:])


async def test_turns_of_one_tick_are_one_call_and_keep_their_order() -> None:
    policy = Plain()
    batcher = PolicyBatcher(policy)
    for numbers in ([1, 2, 3], [4], [5, 6]):
        actions = await asyncio.gather(*(batcher.act(turn(number)) for number in numbers))
        assert actions == [Answer(value=str(number)) for number in numbers]
    assert policy.batches == [["1", "2", "3"], ["4"], ["5", "6"]]


async def test_turns_asked_while_a_batch_is_on_its_way_share_the_next_call() -> None:
    policy = Gated()
    batcher = PolicyBatcher(policy)
    early = asyncio.gather(*(batcher.act(turn(number)) for number in (1, 2)))
    await policy.asked.acquire()
    late = []
    for number in (3, 4, 5):
        late.append(asyncio.create_task(batcher.act(turn(number))))
        await asyncio.sleep(0)
    policy.go.release()
    assert await early == [Answer(value="1"), Answer(value="2")]
    policy.go.release()
    assert [await task for task in late] == [Answer(value=str(number)) for number in (3, 4, 5)]
    assert policy.batches == [["1", "2"], ["3", "4", "5"]]
    assert policy.most == 1


async def test_many_episodes_each_get_their_own_answers_with_one_call_at_a_time() -> None:
    policy = Gated()
    batcher = PolicyBatcher(policy)

    async def episode(number: int) -> None:
        for step in range(number % 5 + 1):
            assert await batcher.act(turn(100 * number + step)) == Answer(value=str(100 * number + step))

    episodes = asyncio.gather(*map(episode, range(20)))
    while not episodes.done():
        policy.go.release()
        await asyncio.sleep(0)
    await episodes
    assert policy.most == 1
    assert sum(map(len, policy.batches)) == sum(number % 5 + 1 for number in range(20))


@pytest.mark.parametrize("make", [Broken, BrokenLater])
async def test_an_exception_reaches_every_episode_that_waits_and_the_next_call_is_answered(
    make: type[Broken] | type[BrokenLater],
) -> None:
    batcher = PolicyBatcher(make())
    failed = await asyncio.gather(*(batcher.act(turn(number)) for number in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [PolicyFault] * 3
    assert await batcher.act(turn(7)) == Answer(value="7")


async def test_a_policy_that_gives_too_few_actions_is_an_error_and_no_hang() -> None:
    batcher = PolicyBatcher(Short())
    failed = await asyncio.gather(*(batcher.act(turn(number)) for number in range(3)), return_exceptions=True)
    assert [str(error) for error in failed] == ["the policy gave 2 actions for 3 turns"] * 3


async def test_an_episode_that_stops_waiting_hurts_nobody() -> None:
    policy = Gated()
    batcher = PolicyBatcher(policy)
    tasks = [asyncio.create_task(batcher.act(turn(number))) for number in (1, 2)]
    await policy.asked.acquire()
    queued = [asyncio.create_task(batcher.act(turn(number))) for number in (3, 4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    queued[0].cancel()
    policy.go.release()
    policy.go.release()
    assert await tasks[1] == Answer(value="2")
    assert await queued[1] == Answer(value="4")
    assert policy.batches == [["1", "2"], ["4"]]
    assert tasks[0].cancelled()
    assert queued[0].cancelled()


@pytest.mark.parametrize("make", [Plain, Gated])
async def test_a_policy_is_not_called_when_nobody_waits(make: type[Plain] | type[Gated]) -> None:
    policy: AnyPolicy = make()
    batcher = PolicyBatcher(policy)
    asking = asyncio.create_task(batcher.act(turn(1)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    await asyncio.sleep(0)
    assert isinstance(policy, Plain | Gated)
    assert policy.batches == []
