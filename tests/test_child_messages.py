"""Messages of a sandbox child reach its actor whole, in whatever pieces they come."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sandbox.limits import SandboxLimits
from services.sandbox.process import PIECE, Child, ChildDied, Zygote
from services.sandbox.wire import HEADER


async def heard(pieces: Sequence[bytes]) -> bytes:
    """What the actor hears of a child that sends these pieces, a pass of the loop apart, and hangs up."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    hears = asyncio.create_task(Child(Zygote(SandboxLimits()), 0, ours).next_message())
    with theirs, ours:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(theirs, piece)
            await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)
        return await hears


@given(st.binary(max_size=60), st.lists(st.integers(0, 64)))
def test_a_message_in_pieces_is_heard_whole(body: bytes, cuts: list[int]) -> None:
    message = HEADER.pack(len(body)) + body
    ends = sorted({*(min(cut, len(message)) for cut in cuts), len(message)})
    pieces = [message[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert asyncio.run(heard(pieces)) == body


def test_a_message_larger_than_any_buffer_is_heard_whole() -> None:
    body = bytes(range(256)) * (20 * PIECE // 256)
    assert asyncio.run(heard([HEADER.pack(len(body)) + body])) == body


@pytest.mark.parametrize("sent", [b"", HEADER.pack(3), HEADER.pack(3) + b"ab"], ids=("nothing", "a length", "a part"))
def test_a_message_that_breaks_off_is_a_child_that_ended(sent: bytes) -> None:
    with pytest.raises(ChildDied, match="ended"):
        asyncio.run(heard([sent]))


def test_a_child_that_says_more_than_it_was_asked_for_is_given_up() -> None:
    with pytest.raises(ChildDied, match="more than"):
        asyncio.run(heard([HEADER.pack(2) + b"{}" + HEADER.pack(2) + b"{}"]))
