"""The rights that a measured process gives up before the first statement that is not the grader's.

After `confine` it can write below one folder only, read nothing but that folder, its sources and the system's own
files, start no process and gain nothing back: Landlock where the kernel has it, an unprivileged user where we are root.
Standard library only.
"""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Sequence

from services.sandbox.rights import become_nobody, gain_nothing, limit, limit_address_space

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_WRITE, _REFER, _TRUNCATE = 0x1FF2, 1 << 13, 1 << 14
"""WRITE_FILE, REMOVE_* and MAKE_*; REFER from ABI 2 and TRUNCATE from ABI 3 on (linux/landlock.h)."""
_READ, _READ_FILE = 0xC, 0x4
"""READ_FILE and READ_DIR, and the part of them that a file can have."""
_SERVICES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/localtime", sys.prefix, sys.base_prefix, _SERVICES)
"""What an interpreter and the engine read while they run."""


def confine(folder: str, address_mb: int, file_mb: int, sources: Sequence[str] = ()) -> None:
    """Give up every right but to write below `folder` and to read the sources, with so many more MB of address space.

    Raises OSError.
    """
    gain_nothing()
    _only_below(folder, sources)
    limit_address_space(address_mb)
    limit(resource.RLIMIT_FSIZE, file_mb * 2**20)
    limit(resource.RLIMIT_CORE, 0)
    become_nobody()
    limit(resource.RLIMIT_NPROC, 0)


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 or less if there is none."""
    return int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def _only_below(folder: str, sources: Sequence[str]) -> None:
    version = landlock_version()
    if version < 1:
        return
    writing = _WRITE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    libc = _libc()
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("=Q", writing | _READ), 8, 0)
    refused = ruleset < 0 or _allow(ruleset, folder, writing | _READ)
    for path in (*_SYSTEM, *sources):
        if os.path.exists(path):
            refused = refused or _allow(ruleset, path, _READ if os.path.isdir(path) else _READ_FILE)
    if refused or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "Landlock refused the rule")
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> bool:
    """Whether the kernel refuses the rule."""
    below = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, below)
        return bool(_libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(below)


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
