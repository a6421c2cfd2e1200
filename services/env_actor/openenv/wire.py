"""One WebSocket connection: messages in, one answer each, in their order.

Invariant: whatever is sent, the answer is an observation, a state or an error, and carries the request_id that its
request carried. A connection that is gone ends its step at once and frees its seat.
"""

import asyncio
import json
import math
from dataclasses import dataclass
from typing import Any

from openenv.core.env_server.types import Observation, WSErrorCode
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.websockets import WebSocket, WebSocketDisconnect

from services.env_actor.openenv.floor import Floor, Seat
from services.env_actor.openenv.stage import Asked, Refusal, Stage

UNANSWERED = 64
"""Requests that a connection may have open before it is closed for flooding."""
_PROPER = frozenset({1000, 1001})
_GOING_ON, _TRY_LATER, _POLICY = 1000, 1013, 1008
_BESIDE = {"reward", "done"}
_NO_EPISODE = "no episode: reset first"


@dataclass(frozen=True)
class Request:
    """One message of a client."""

    kind: str
    data: dict[str, Any]
    request_id: str | int | None


class Connection:
    """Serves one WebSocket until either side has had enough."""

    def __init__(self, websocket: WebSocket, floor: Floor, stage: Stage) -> None:
        self._websocket = websocket
        self._floor = floor
        self._stage = stage
        self._inbox: asyncio.Queue[str | bytes] = asyncio.Queue(UNANSWERED)
        self._gone_with: int | None = None
        self._close_with = _GOING_ON
        self._worker: asyncio.Task[None] | None = None
        self._clock = asyncio.get_running_loop().time
        self._asked_at = math.inf

    async def serve(self) -> None:
        """Accept, answer, and leave nothing behind."""
        await self._websocket.accept()
        try:
            seat = self._floor.sit(self._evict)
        except Refusal as refusal:
            await self._send(_error(refusal.code, str(refusal)))
            await self._websocket.close(_TRY_LATER)
            return
        try:
            await self._serve_at(seat)
        finally:
            self._floor.rise(seat, self._said_goodbye())

    async def _serve_at(self, seat: Seat) -> None:
        asked = self._websocket.query_params.get("episode_id")
        if asked:
            self._try_to_resume(seat, asked)
        tasks = [asyncio.create_task(part) for part in (self._work(seat), self._read(), self._wait_for_silence())]
        self._worker = tasks[0]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._floor.rise(seat, self._said_goodbye())
        for task in done:
            if not task.cancelled():
                task.result()
        if self._gone_with is None:
            await self._close()

    def _try_to_resume(self, seat: Seat, episode_id: str) -> None:
        """Take the episode up; without it the seat is as any other, and the client has to reset."""
        try:
            self._floor.resume(seat, self._stage, episode_id)
        except Refusal as refusal:
            self._floor.figures.errors.labels(self._stage.name, refusal.code.value).inc()

    def _evict(self) -> None:
        """End the step under way before it is taken: another connection has the episode now."""
        self._close_with = _POLICY
        if self._worker is not None:
            self._worker.cancel()

    async def _read(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._gone_with = message.get("code", 1006)
                return
            text = message.get("text")
            if self._inbox.full():
                self._close_with = _POLICY
                return
            self._inbox.put_nowait(message["bytes"] if text is None else text)

    async def _work(self, seat: Seat) -> None:
        while True:
            raw = await self._inbox.get()
            self._asked_at = math.inf  # it is our turn now
            answer = await self._answer(seat, raw)
            if answer is None:
                return
            await self._send(answer)
            self._asked_at = self._clock()

    async def _wait_for_silence(self) -> None:
        idle_s = self._floor.limits.idle_s
        self._asked_at = self._clock()
        while (left_s := self._asked_at + idle_s - self._clock()) > 0:
            await asyncio.sleep(min(left_s, idle_s))
        await self._send(_error(WSErrorCode.SESSION_ERROR, f"nothing was asked for in {idle_s:g} s"))

    async def _answer(self, seat: Seat, raw: str | bytes) -> str | None:
        """The answer to one message, as JSON; None to a close."""
        request_id: str | int | None = None
        try:
            request = parse(raw)
            request_id = request.request_id
            if request.kind == "close":
                return None
            kind, data = await self._carry_out(seat, request)
        except Refusal as refusal:
            kind, data = "error", self._refused(refusal.code, str(refusal))
        except ValidationError as error:
            kind, data = "error", self._refused(WSErrorCode.VALIDATION_ERROR, f"Invalid message: {_first(error)}")
        named = "" if request_id is None else f',"request_id":{json.dumps(request_id)}'
        return f'{{"type":"{kind}","data":{data}{named}}}'

    async def _carry_out(self, seat: Seat, request: Request) -> tuple[str, str]:
        """The kind of the answer, and its data as JSON."""
        match request.kind:
            case "step":
                if seat.held is None:
                    raise Refusal(WSErrorCode.EXECUTION_ERROR, 409, _NO_EPISODE)
                action = self._stage.action.model_validate(request.data)
                return "observation", _shown(await self._floor.step(seat.held, action))
            case "reset":
                asked = Asked.model_validate(request.data)
                return "observation", _shown(self._floor.reset(seat, self._stage, asked))
            case "state":
                held = seat.held
                state = self._stage.state() if held is None else held.play.state(held.episode_id)
                return "state", state.model_dump_json()
            case kind:
                raise Refusal(WSErrorCode.UNKNOWN_TYPE, 422, f"Unknown message type: {kind[:100]}")

    def _refused(self, code: WSErrorCode, message: str) -> str:
        self._floor.figures.errors.labels(self._stage.name, code.value).inc()
        return json.dumps({"message": message, "code": code.value})

    def _said_goodbye(self) -> bool:
        """Whether the client closed by itself and had heard the last answer."""
        return self._gone_with in _PROPER or (self._gone_with is None and self._close_with == _GOING_ON)

    async def _send(self, answer: str) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": answer})
        except (WebSocketDisconnect, RuntimeError):  # gone meanwhile: the reader hears of it
            self._gone_with = self._gone_with or 1006

    async def _close(self) -> None:
        try:
            await self._websocket.close(self._close_with)
        except (WebSocketDisconnect, RuntimeError):  # the other side was faster
            return


def parse(raw: str | bytes) -> Request:
    """The request in a message. Raises Refusal."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(WSErrorCode.INVALID_JSON, 422, "Invalid JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal(WSErrorCode.UNKNOWN_TYPE, 422, "expected an object with a type")
    data = message.get("data", {})
    if not isinstance(data, dict):
        raise Refusal(WSErrorCode.VALIDATION_ERROR, 422, "expected an object as data")
    request_id = message.get("request_id")
    if request_id is not None and (not isinstance(request_id, str | int) or len(str(request_id)) > 255):
        raise Refusal(WSErrorCode.VALIDATION_ERROR, 422, "expected a short text or an integer as request_id")
    return Request(message["type"], data, request_id)


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, detail['loc']))[:100]}: {detail['msg']}"


def _shown(observation: Observation) -> str:
    """The observation in OpenEnv's wire form: reward and done beside it, and the metadata once more."""
    seen = observation.model_dump_json(exclude=_BESIDE)
    facts, reward = to_json(observation.metadata).decode(), to_json(observation.reward).decode()
    done = "true" if observation.done else "false"
    return f'{{"observation":{seen},"reward":{reward},"done":{done},"metadata":{facts}}}'


def _error(code: WSErrorCode, message: str) -> str:
    return json.dumps({"type": "error", "data": {"message": message, "code": code.value}})
