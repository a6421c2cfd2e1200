"""A real OpenAI-compatible server for tests: each request is answered by what the model's name asks for."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiohttp import web

Answer = Callable[["Upstream", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


class Upstream:
    """The server: `behaviour` answers each request; `asked` counts requests by model, `bodies` keeps them."""

    def __init__(self, behaviour: Answer) -> None:
        self._behaviour = behaviour
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.under_way = self.most_under_way = 0
        self.url = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        self.asked[body["model"]] += 1
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._behaviour(self, request, body)
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Upstream"]:
        """Serve on a free port of 127.0.0.1."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()


@contextmanager
def upstream(behaviour: Answer) -> Iterator[Upstream]:
    """The server in a thread of its own, for tests that block."""
    server, loop, ready, done = Upstream(behaviour), asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with server.serving():
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


def completion(content: str | None, **message: Any) -> dict[str, Any]:
    """A chat completion that says the content, with more fields of the message as given."""
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": "stop", "message": said}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def call(name: str, arguments: str) -> dict[str, Any]:
    """A tool call as a message lists it."""
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}


def says(*contents: str) -> Answer:
    """Says these one after the other, by the number of the assistant's messages; the last one again and again."""

    async def answer(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        place = sum(message["role"] == "assistant" for message in body["messages"])
        return web.json_response(completion(contents[min(place, len(contents) - 1)]))

    return answer


def error(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error in OpenAI's form."""
    body = {"error": {"message": f"no: {code}", "type": "error", "code": code, "param": None}}
    return web.json_response(body, status=status, headers=headers)


async def forever(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Takes the request, and is silent."""
    await asyncio.Event().wait()
    raise AssertionError


async def dripping(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Sends a byte now and then, and never an end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)
