"""The actor's handles on its zygote and on each child: start, talk, kill."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.contracts.errors import SandboxFault
from services.sandbox.limits import SandboxLimits
from services.sandbox.wire import HEADER, MAX_MESSAGE, pack, receive

START_SECONDS = 20.0
PIECE = 64 * 1024
"""Bytes that are read at first: waiting for a second piece takes a whole pass of the event loop."""
_PAGE_MB = resource.getpagesize() / 2**20
_ROOT = Path(__file__).resolve().parents[2]
_START = """
import sys
sys.path.insert(0, sys.argv[1])
from services.sandbox.rights import leave_network
leave_network()
from services.sandbox.zygote import main
main(int(sys.argv[2]))
"""


class ChildDied(Exception):
    """The child's socket ended in the middle of a statement."""


class ChildKilled(ChildDied):
    """Something else ended the child or its zygote: no statement's doing."""


class Child:
    """One running child with one database."""

    def __init__(self, zygote: "Zygote", pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._zygote = zygote
        self._connection = connection
        self._ready_mb = 0.0

    async def ask(self, message: dict[str, Any], timeout_s: float) -> bytes:
        """The reply to a message, as JSON. Raises TimeoutError, or ChildDied if the child is gone."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                await loop.sock_sendall(self._connection, pack(message))
                return await self.next_message()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise ChildDied(str(error)) from error

    async def next_message(self) -> bytes:
        """The next message of the child, as JSON, which as a rule comes in one piece. Raises ChildDied."""
        came = await self._more(PIECE)
        while len(came) < HEADER.size:
            came += await self._more(PIECE)
        size = HEADER.unpack_from(came)[0]
        if size > MAX_MESSAGE:
            raise ChildDied(f"a message of {size} bytes")
        parts, missing = [came[HEADER.size :]], size + HEADER.size - len(came)
        while missing > 0:
            parts.append(await self._more(min(missing, 1 << 20)))
            missing -= len(parts[-1])
        if missing < 0:
            raise ChildDied("more than it was asked for")
        return b"".join(parts)

    async def _more(self, most: int) -> bytes:
        part = await asyncio.get_running_loop().sock_recv(self._connection, most)
        if not part:
            raise ChildDied("the child ended")
        return part

    def note_size(self) -> None:
        """Remember how much the child has mapped now that it is ready."""
        self._ready_mb = self._mapped_mb()

    def grown_mb(self) -> float:
        """How much more address space it has mapped since it was ready: so much less has the next statement."""
        return self._mapped_mb() - self._ready_mb

    def _mapped_mb(self) -> float:
        """0 if the child is gone."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[0]
        except OSError:
            return 0.0
        return int(pages) * _PAGE_MB

    def cpu_s(self) -> float:
        """CPU seconds that it has taken; 0 if it is gone."""
        try:
            fields = (
                Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
            )
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self) -> bool:
        """Whether an idle child still holds its end of the socket."""
        try:
            return bool(self._connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def was_killed(self) -> bool:
        """Whether something else ended this child, which is no more: SIGKILL, or the end of its zygote."""
        return self._zygote.ended_by(self.pid) in (None, signal.SIGKILL)

    def close(self) -> None:
        """Hang up; the child ends when it notices."""
        self._connection.close()

    def kill(self) -> None:
        """End the child for good."""
        self.close()
        self._zygote.kill(self.pid)


class Zygote:
    """The process that forks children; started when first needed, and again if it is gone."""

    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def spawn(self, database: Path | Sequence[Path]) -> Child:
        """A new child with its database, or with several variants of one (not yet ready: its first message says so).

        Raises SandboxFault.
        """
        control = self.start()
        ours, theirs = socket.socketpair()
        opened = {"database": str(database)} if isinstance(database, Path) else {"variants": list(map(str, database))}
        order = {"op": "spawn", **opened, **self._limits.model_dump(include=_ORDER)}
        try:
            socket.send_fds(control, [b"s"], [theirs.fileno()])
            control.sendall(pack(order))
            reply = receive(control)
        except (OSError, ValueError) as error:
            ours.close()
            self.close()
            raise SandboxFault(f"the sandbox parent does not answer: {error}") from error
        finally:
            theirs.close()
        if reply is None:
            ours.close()
            self.close()
            raise SandboxFault("the sandbox parent ended")
        ours.setblocking(False)
        return Child(self, reply["pid"], ours)

    def kill(self, pid: int) -> None:
        """Kill one child; its own parent does it, so that no other process can be hit."""
        if self._control is None:
            return
        try:
            socket.send_fds(self._control, [b"k"], [])
            self._control.sendall(pack({"op": "kill", "pid": pid}))
        except OSError:
            self.close()

    def ended_by(self, pid: int) -> int | None:
        """The signal that ended a child, 0 if none did; None if the zygote is gone too."""
        if self._control is None:
            return None
        try:
            socket.send_fds(self._control, [b"e"], [])
            self._control.sendall(pack({"op": "ended", "pid": pid}))
            reply = receive(self._control)
        except (OSError, ValueError):
            reply = None
        if reply is None:
            self.close()
            return None
        return int(reply["signal"])

    def close(self) -> None:
        """End the zygote, and with it every child."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start(self) -> socket.socket:
        """The control socket of the running zygote, which is started if there is none. Raises SandboxFault."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, str(_ROOT), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            raise SandboxFault(f"the sandbox parent cannot be started: {error}") from error
        finally:
            theirs.close()
        self._control = ours
        return ours


_ORDER = {"threads", "memory_mb", "headroom_mb", "max_rows", "max_bytes"}
