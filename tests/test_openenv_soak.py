"""Many sessions at once over all three environments, for long: no error, no growth, every seat free at the end."""

import asyncio
import gc
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from cluster.etl.serving import EtlServing
from services.env_actor.taskset import TaskSet
from services.grader.gold import read_gold
from tests.openenv_server import Served, desks, serving

SESSIONS, ETL = 64, 2
LEAVES = 5
"""Every so many episodes a session is cut off in the middle of one, and comes back for it."""
Step = dict[str, Any]


class Guest:
    """One session that plays episodes until its time is over."""

    def __init__(self, url: str, path: str, task_id: str, steps: Callable[[int], Iterator[Step]]) -> None:
        self._url = f"{url.replace('http', 'ws', 1)}/{path}/ws"
        self._task_id = task_id
        self._steps = steps
        self._socket: ClientConnection | None = None
        self.episodes = self.taken = self.resumed = 0

    async def _ask(self, kind: str, data: Step) -> Step:
        assert self._socket is not None
        await self._socket.send(json.dumps({"type": kind, "data": data}))
        answer: Step = json.loads(await self._socket.recv())
        assert answer["type"] == "observation", answer
        told: Step = answer["data"]
        return told

    async def play(self, until: Callable[[], bool]) -> None:
        self._socket = await connect(self._url, proxy=None, ping_timeout=None)
        while not until():
            begun = await self._ask("reset", {"task_id": self._task_id})
            for number, step in enumerate(self._steps(self.taken)):
                told = await self._ask("step", step)
                assert told["metadata"]["task_id"] == self._task_id
                self.taken += 1
                if number == 1 and self.episodes % LEAVES == LEAVES - 1 and not told["done"]:
                    await self._come_back(begun["metadata"]["episode_id"])
            self.episodes += 1
        await self._socket.close()

    async def _come_back(self, episode_id: str) -> None:
        assert self._socket is not None
        self._socket.transport.abort()
        self._socket = await connect(self._url, proxy=None, ping_timeout=None)
        assert (await self._ask("reset", {"episode_id": episode_id}))["metadata"]["resumed"]
        self.resumed += 1


def exploring(number: int) -> Iterator[Step]:
    for kind, argument in (
        ("DESCRIBE", "orders"),
        ("QUERY", "SELECT status, count(*) FROM orders GROUP BY 1"),
        ("QUERY", f"SELECT count(*) + {number % 500} FROM customers"),
        ("SAMPLE", "customers"),
        ("QUERY", "SELECT nothing FROM nowhere"),
        ("ANSWER", str(number)),
    ):
        yield {"action_type": kind, "argument": argument}


def analysing(right: str) -> Callable[[int], Iterator[Step]]:
    def steps(number: int) -> Iterator[Step]:
        for sql in (f"SELECT {number % 500} AS n", "SELEC", right):
            yield {"sql_query": sql}
        yield {"sql_query": right, "is_done": True}

    return steps


def optimising(original: list[str]) -> Callable[[int], Iterator[Step]]:
    def steps(number: int) -> Iterator[Step]:
        yield {"kind": "RUN", "statements": original}
        yield {"kind": "PROBE", "sql": f"SELECT count(*) + {number} FROM orders"}
        yield {"kind": "VERIFY"}

    return steps


def guests(server: Served, analyst: TaskSet) -> list[Guest]:
    join = read_gold(analyst.gold_path)["fix_broken_join"].gold_sql
    with server.socket("/etl/ws") as bare:
        original = bare.ask("reset", task_id="march_orders")["data"]["observation"]["original"]
    kinds: list[tuple[str, str, Callable[[int], Iterator[Step]]]] = [
        ("explore", "retail-000", exploring),
        ("explore", "retail-001", exploring),
        ("analyst", "fix_broken_join", analysing(join)),
    ]
    many = itertools.islice(itertools.cycle(kinds), SESSIONS - ETL)
    rest = [("etl", "march_orders", optimising(original))] * ETL
    return [Guest(server.url, *kind) for kind in (*many, *rest)]


def resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [60, 300])
@pytest.mark.timeout(900)
async def test_sixty_four_sessions_play_for_minutes_without_an_error_or_growth(
    builtin: TaskSet, named_analyst_set: TaskSet, seconds: float
) -> None:
    clock = asyncio.get_running_loop().time
    with serving(builtin, named_analyst_set, etl=EtlServing(scale="tiny")) as server:
        players = await asyncio.to_thread(guests, server, named_analyst_set)
        resident: list[float] = []
        for share in (0.3, 0.7):
            end = clock() + share * seconds
            await asyncio.gather(*(player.play(lambda end=end: clock() > end) for player in players))
            resident.append(resident_mb())
        await asyncio.to_thread(server.until, lambda: server.floor.seats_taken == 0 and not desks())
    assert min(player.episodes for player in players) >= 1
    assert all(player.resumed >= player.episodes // LEAVES - 1 for player in players)
    steps, episodes = sum(player.taken for player in players), sum(player.episodes for player in players)
    print(f"{episodes} episodes, {steps} steps, {resident[0]:.0f} and {resident[1]:.0f} MB resident")
    assert resident[1] < resident[0] * 1.1 + 20
