"""Takes the network away from a process. Imported before anything that starts a thread, which the kernel asks for."""

import ctypes
import os

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def leave_network() -> None:
    """Move to a network namespace without a network, if the kernel lets us (`assay doctor` says whether it does)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0 and os.geteuid() != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
