"""Rights that a process takes from itself before it runs what an agent wrote. Standard library only.

`leave_network` is for a process that has no second thread yet, which the kernel asks for: import nothing before it.
"""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
NOBODY = 65534


def leave_network() -> None:
    """Move to a network namespace without a network, if the kernel lets us (`assay doctor` says whether it does)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0 and os.geteuid() != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def gain_nothing() -> None:
    """Never get more rights than now, whatever is executed."""
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit(which: int, value: int) -> None:
    """Set a resource limit for good."""
    resource.setrlimit(which, (value, value))


def limit_address_space(more_mb: int) -> None:
    """Map at most so many MB more than now."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    limit(resource.RLIMIT_AS, mapped + more_mb * 2**20)


def become_nobody() -> None:
    """Stop being root, if this process is root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        die_with_parent()  # a change of user clears it
