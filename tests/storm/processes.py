"""Who is who among the processes of a run: env actors, sandbox children, graders, Serve's replicas."""

import psutil

from tests.test_kills import named

TITLES = {"replica": "ray::ServeReplica:policies-", "grader": "ray::TableGrader"}
KINDS = ("actor", "child", "zygote", *TITLES)


def is_of_kind(process: psutil.Process, kind: str) -> bool:
    if kind not in TITLES:
        return named(process, kind)
    try:
        return (process.cmdline() or [""])[0].startswith(TITLES[kind])
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[psutil.Process]:
    """All of a process; none if it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def living(seen: set[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that have not ended in time. One that nobody has waited for yet has ended."""
    _, alive = psutil.wait_procs([one for one in seen if not _is_over(one)], timeout=timeout_s)
    return [one for one in alive if not _is_over(one)]


def _is_over(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
