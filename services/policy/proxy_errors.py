"""What Serve's own HTTP proxy says about /v1 (busy, lost a replica, timed out), in the form of OpenAI's errors.

Serve runs `middlewares` in each proxy of a cluster that was started with RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
Invariant: every answer of status 400 or more is JSON, and there is one even where the proxy gives none.
"""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.policy.refusal import ErrorBody, ErrorDetail

LOST = 503
_KINDS = {404: "invalid_request_error", 408: "timeout", 429: "rate_limit_error"}
_CODES = {408: "request_timeout", 429: "rate_limit_exceeded", LOST: "unavailable"}
_SAID = {
    404: "there is nothing at this path",
    408: "the policy took too long",
    429: "the server is busy: try again after the seconds of Retry-After",
    500: "the server failed at this request",
    LOST: "the replica that had this request is gone: try again",
}


class OpenAIErrors:
    """ASGI middleware around a Serve proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and rewrite an error that is no JSON."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        await self._app(scope, receive, answer.take)
        if not answer.started:
            await answer.refuse(LOST)


class _Answer:
    """One answer on its way out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self._replaced = False

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = Headers(raw=message.get("headers", []))
            if message["status"] >= 400 and not headers.get("content-type", "").startswith("application/json"):
                self._replaced = True
                await self.refuse(message["status"], headers.get("retry-after"))
                return
        if not self._replaced:
            await self._send(message)

    async def refuse(self, status: int, retry_after: str | None = None) -> None:
        """Send the error of that status, whole."""
        detail = ErrorDetail(
            message=_SAID.get(status, _SAID[500]),
            type=_KINDS.get(status, "server_error"),
            code=_CODES.get(status),
        )
        body = ErrorBody(error=detail).model_dump_json().encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if retry_after is not None:
            headers.append((b"retry-after", retry_after.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def middlewares() -> list[Middleware]:
    """What Serve asks for."""
    return [Middleware(OpenAIErrors)]
