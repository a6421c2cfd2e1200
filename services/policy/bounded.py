"""HTTP with strangers: an answer that is too long is cut off, and one that is compressed is refused.

Invariant: what a server sends never takes more memory than ANSWER_BYTES.
"""

from collections.abc import AsyncIterator
from typing import cast

import httpx

ANSWER_BYTES = 4_000_000


class BoundedTransport(httpx.AsyncBaseTransport):
    """The usual transport, for answers of at most ANSWER_BYTES. Redirects are not followed by httpx itself."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, with its body still to be read. Raises httpx.ReadError."""
        request.headers["Accept-Encoding"] = "identity"
        answer = await self._inner.handle_async_request(request)
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            await answer.aclose()
            raise httpx.ReadError("the answer is compressed, which was not asked for", request=request)
        body = _Bounded(cast(httpx.AsyncByteStream, answer.stream), request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._inner = inner
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for part in self._inner:
            read += len(part)
            if read > ANSWER_BYTES:
                raise httpx.ReadError(f"the answer is longer than {ANSWER_BYTES} bytes", request=self._request)
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()
