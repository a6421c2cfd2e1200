"""The rights that a measured process gives up before the first statement that is not the grader's.

After `confine` it can write below one folder only, start no process and gain nothing back: Landlock where the kernel
has it, an unprivileged user where we are root. Standard library only.
"""

import ctypes
import os
import resource
import struct

from services.sandbox.rights import become_nobody, gain_nothing, limit, limit_address_space

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE, _REFER, _TRUNCATE = 0x1FF2, 1 << 13, 1 << 14
"""WRITE_FILE, REMOVE_* and MAKE_*; REFER from ABI 2 and TRUNCATE from ABI 3 on (linux/landlock.h)."""


def confine(folder: str, address_mb: int, file_mb: int) -> None:
    """Give up every right but to write below `folder`, with so many more MB of address space. Raises OSError."""
    gain_nothing()
    _write_only_below(folder)
    limit_address_space(address_mb)
    limit(resource.RLIMIT_FSIZE, file_mb * 2**20)
    limit(resource.RLIMIT_CORE, 0)
    become_nobody()
    limit(resource.RLIMIT_NPROC, 0)


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 or less if there is none."""
    return int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def _write_only_below(folder: str) -> None:
    version = landlock_version()
    if version < 1:
        return
    handled = _WRITE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    libc = _libc()
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("=Q", handled), 8, 0)
    below = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", handled, below)
    refused = ruleset < 0 or libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    if refused or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock refused the rule")
    os.close(below)
    os.close(ruleset)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def writable(path: str) -> bool:
    """Whether this process could write a file, tried and not asked; the file is left as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError:
        return False
    os.close(descriptor)
    return True
