"""Connections that end as they should not: whatever the moment, the seat is free again and the next one is served."""

import asyncio
import json
import random
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.env_actor.openenv.floor import FloorLimits
from services.env_actor.taskset import TaskSet
from services.sandbox.limits import SandboxLimits
from tests.openenv_server import Served, serving

SLOW = "SELECT count(*) FROM range(3000000000) AS a(x) WHERE x % 7 = 3 AND x > "
SEATS = 40
PINGS = {"ws_ping_interval": 1.0, "ws_ping_timeout": 1.0}
SLOW_SANDBOX = SandboxLimits(statement_s=60, children=2)


@pytest.fixture(scope="module")
def served(builtin: TaskSet, named_analyst_set: TaskSet) -> Iterator[Served]:
    with serving(
        builtin, named_analyst_set, PINGS, floor=FloorLimits(sessions=SEATS, parked=16), sandbox=SLOW_SANDBOX
    ) as server:
        yield server


async def reset(socket: ClientConnection) -> str:
    await socket.send(json.dumps({"type": "reset", "data": {"task_id": "retail-000"}}))
    return str(json.loads(await socket.recv())["data"]["metadata"]["episode_id"])


async def step(socket: ClientConnection, sql: str) -> None:
    await socket.send(json.dumps({"type": "step", "data": {"action_type": "QUERY", "argument": sql}}))


async def leave(served: Served, number: int) -> None:
    """One connection that ends in one of six ways: closed, cut, or silent; idle, in a reset, or in a step."""
    url = served.url.replace("http", "ws", 1) + "/explore/ws"
    socket = await connect(url, proxy=None, ping_interval=None, close_timeout=0.1)
    try:
        match number % 6:
            case 0:
                await reset(socket)
                await socket.close()
            case 1:
                await socket.send(json.dumps({"type": "reset", "data": {"task_id": "retail-000"}}))
            case 2:
                await reset(socket)
                await step(socket, f"{SLOW}{number}")
            case 3:
                await reset(socket)
                await step(socket, f"SELECT {number}")
            case 4:  # half open: the other side is there for the kernel, and says nothing any more
                episode_id = await reset(socket)
                socket.transport.pause_reading()
                await asyncio.to_thread(served.until, lambda: not served.floor.is_seated("explore", episode_id))
            case 5:
                await socket.send('{"type": "res')
    except ConnectionClosed:
        pass
    finally:
        socket.transport.abort()


async def leave_many(served: Served, count: int) -> None:
    gate = asyncio.Semaphore(SEATS // 2)

    async def one(number: int) -> None:
        async with gate:
            await leave(served, number)

    await asyncio.gather(*(one(number) for number in random.Random(0).sample(range(count), count)))


@pytest.mark.parametrize("count", [100, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_every_seat_is_free_again_however_its_connection_ended(served: Served, count: int) -> None:
    await leave_many(served, count)
    await asyncio.to_thread(served.until, lambda: served.floor.seats_taken == 0)
    url = served.url.replace("http", "ws", 1) + "/explore/ws"
    sockets = [await connect(url, proxy=None) for _ in range(SEATS)]
    assert len({await reset(socket) for socket in sockets}) == SEATS
    async with connect(url, proxy=None) as late:
        assert json.loads(await late.recv())["data"]["code"] == "CAPACITY_REACHED"
    for socket in sockets:
        await socket.close()


async def test_a_half_open_connection_loses_its_seat_and_not_its_episode(served: Served) -> None:
    url = served.url.replace("http", "ws", 1) + "/explore/ws"
    socket = await connect(url, proxy=None, ping_interval=None)
    episode_id = await reset(socket)
    socket.transport.pause_reading()
    await asyncio.to_thread(served.until, lambda: served.floor.seats_taken == 0)
    socket.transport.abort()
    async with connect(f"{url}?episode_id={episode_id}", proxy=None) as again:
        await again.send('{"type": "state"}')
        assert json.loads(await again.recv())["data"]["episode_id"] == episode_id


async def test_a_step_that_its_connection_did_not_outlive_was_not_taken(served: Served) -> None:
    url = served.url.replace("http", "ws", 1) + "/explore/ws"
    socket = await connect(url, proxy=None, close_timeout=0.1)
    episode_id = await reset(socket)
    await step(socket, f"{SLOW}-1")
    socket.transport.abort()
    await asyncio.to_thread(served.until, lambda: served.floor.seats_taken == 0)
    async with connect(f"{url}?episode_id={episode_id}", proxy=None) as again:
        await again.send('{"type": "state"}')
        assert json.loads(await again.recv())["data"]["step_count"] == 0


async def test_a_step_in_the_middle_of_which_its_episode_was_taken_over_was_not_taken(served: Served) -> None:
    url = served.url.replace("http", "ws", 1) + "/explore/ws"
    async with connect(url, proxy=None) as old, connect(url, proxy=None) as new:
        episode_id = await reset(old)
        await step(old, f"{SLOW}-2")
        await new.send(json.dumps({"type": "reset", "data": {"episode_id": episode_id}}))
        assert json.loads(await new.recv())["data"]["metadata"]["resumed"]
        with pytest.raises(ConnectionClosed):
            await old.recv()
        await step(new, "SELECT 1")
        assert json.loads(await new.recv())["data"]["observation"]["step_count"] == 1


async def test_a_silent_connection_is_ended_and_its_seat_given_to_others(
    builtin: TaskSet, named_analyst_set: TaskSet
) -> None:
    with serving(builtin, named_analyst_set, floor=FloorLimits(sessions=1, idle_s=1.0)) as server:
        url = server.url.replace("http", "ws", 1) + "/ws"
        async with connect(url, proxy=None) as socket:
            await reset(socket)
            assert json.loads(await socket.recv())["data"]["code"] == "SESSION_ERROR"
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        async with connect(url, proxy=None) as socket:
            assert await reset(socket)
