"""Who may ask a policy server, and how much one request may hold.

The server keeps the token's digest alone, so that neither Ray's records nor a log can hold the token.
"""

import hashlib
import hmac

from pydantic import Field
from starlette.requests import Request

from services.contracts.record import Record

REQUEST_BYTES = 4 * 1024 * 1024


class TooLong(Exception):
    """A request body of more bytes than are allowed."""


class Admission(Record):
    """The rule at the door."""

    token_sha256: str = Field(default="", description="of the bearer token, in hex; whoever asks is let in if empty")
    request_bytes: int = Field(default=REQUEST_BYTES, ge=1)

    def admits(self, request: Request) -> bool:
        """Whether the request shows the token; takes the same time wherever a wrong one differs."""
        if not self.token_sha256:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return hmac.compare_digest(digest(token.strip()), self.token_sha256) and scheme.lower() == "bearer"

    async def body(self, request: Request) -> bytes:
        """The body. Raises TooLong before more than the allowed bytes are kept."""
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.request_bytes:
            raise TooLong
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.request_bytes:
                raise TooLong
        return bytes(body)


def digest(token: str) -> str:
    """What stands for the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
