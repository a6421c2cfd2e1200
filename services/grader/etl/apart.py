"""A job's bench in a process of its own (protocol: services.contracts.etl.EtlDesk), for a server that must go on.

Invariant: `close` may come from another thread at any moment; then what was asked raises, and the processes and files
are gone soon after. A desk that failed is closed: whoever goes on takes another one.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from services.contracts.errors import BadInput, Infrastructure
from services.contracts.etl import BenchReply, EtlGrade, EtlJob
from services.grader.etl.desk import Answer, Failure, Question, Setting
from services.grader.etl.submission import Submission, grade_of
from services.grader.runtime.pay import PayRules

_ROOT = Path(__file__).resolve().parents[3]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main(int(sys.argv[2]), sys.argv[3])"
_MODULE = "services.grader.etl.desk"
Ends = tuple["subprocess.Popen[bytes]", "Connection[Any, Any]", Path]


class BenchApart:
    """The bench of one episode; its process is started when it is first needed."""

    def __init__(self, job: EtlJob, rules: PayRules, ran: tuple[str, ...] | None = None) -> None:
        self._setting = Setting(job=job, rules=rules, ran=ran)
        self._lock = threading.Lock()
        self._ends: Ends | None = None
        self._closed = False
        self.submission: Submission | None = None

    def open(self) -> None:
        """Set it up. Raises BadInput if the job is broken, Infrastructure if it cannot be had or was closed."""
        with self._lock:
            if self._closed:
                raise Infrastructure("the desk is closed")
            if self._ends is not None:
                return
            self._ends = _started()
        self._ask(self._setting)

    def close(self) -> None:
        """End it, without waiting for its end."""
        with self._lock:
            self._closed = True
            ends, self._ends = self._ends, None
        if ends is not None:
            ends[0].send_signal(signal.SIGALRM)
            threading.Thread(target=_cleared, args=(ends[0], ends[2])).start()

    def explain(self, sql: str) -> BenchReply:
        """The plan of one query."""
        return self._ask(Question(name="explain", arguments=(sql,))).reply

    def analyze(self, sql: str) -> BenchReply:
        """The profile of one query."""
        return self._ask(Question(name="analyze", arguments=(sql,))).reply

    def probe(self, sql: str) -> BenchReply:
        """The first rows of one query."""
        return self._ask(Question(name="probe", arguments=(sql,))).reply

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        """Run a rewrite and keep its output for `verify`."""
        return self._ask(Question(name="run", arguments=(statements,))).reply

    def verify(self) -> BenchReply:
        """The last run's output beside production's."""
        return self._ask(Question(name="verify")).reply

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        """The grade of a rewrite."""
        submission = self._ask(Question(name="submit", arguments=(statements,))).submission
        if submission is None:
            raise Infrastructure("the desk graded nothing")
        self.submission = submission
        return grade_of(submission)

    def _ask(self, what: Setting | Question) -> Answer:
        ends = self._ends
        if ends is None:
            raise Infrastructure("the desk is closed")
        try:
            ends[1].send(what)
            answer: Answer | Failure = ends[1].recv()
        except (EOFError, OSError) as error:
            raise Infrastructure("the desk's process has ended") from error
        if isinstance(answer, Failure):
            raise (BadInput if answer.job_is_broken else Infrastructure)(answer.message)
        return answer


def _started() -> Ends:
    """A desk's process, the owner's end of its channel, and its folder. Raises Infrastructure."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="assay-desk-")).resolve()
        folder.chmod(0o711)  # the user of a run passes through to what is its own
        ours, theirs = socket.socketpair()
        with theirs:
            start = [_START.format(module=_MODULE), str(_ROOT), str(theirs.fileno()), str(folder)]
            process = subprocess.Popen(
                [sys.executable, "-c", *start],
                env={**os.environ, "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
    except OSError as error:
        raise Infrastructure(f"a desk cannot be had: {error.strerror}") from error
    return process, Connection(ours.detach()), folder


def _cleared(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait for the end of a desk that was told to end. The channel closes itself when nobody listens any more."""
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
