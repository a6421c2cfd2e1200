"""A policy of a script behind a real OpenAI-compatible server, which answers each request after a while.

python benchmarks/slow_server.py SCRIPTS SECONDS      prints its base URL, and serves until it is ended
"""

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

from services.policy.scripted import Script
from services.policy.scripts import read_scripts


def application(scripts: dict[str, tuple[str, ...]], thinks_s: float) -> web.Application:
    """Answers by the task that `user` names and the number of the assistant's messages."""

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        await asyncio.sleep(thinks_s)
        place = sum(message["role"] == "assistant" for message in asked["messages"])
        said = scripts[asked["user"]][place].replace("SEED", str(asked["seed"] % 10**9))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": "slow"}
        return web.json_response(reply | {"choices": [choice], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    return app


async def serve(app: web.Application) -> None:
    """Serve on a free port of 127.0.0.1 for ever."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=8192).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    actions = {script.task_id: script.actions for script in read_scripts(Path(sys.argv[1]), Script)}
    asyncio.run(serve(application(actions, float(sys.argv[2]))))
