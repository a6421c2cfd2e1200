"""Which layers of containment a sandbox child really has, judged from outside it."""

import os
import shutil
import subprocess
from pathlib import Path

from cluster.doctor.checks import Check, judged
from cluster.doctor.process import OpenFile, ProcessView, our_network
from services.sandbox.limits import SandboxLimits

ACTOR_GB = 8
"""The memory ceiling of one env actor with its children."""
_GB = 2**30
_OURS = "Assay sets this layer itself: update Assay, and until then run no policy that you do not trust"
_NETWORK = (
    "start as root, or allow user namespaces (sysctl user.max_user_namespaces=10000; on Debian and Ubuntu also "
    "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or cut the pod's network off"
)


def layers(child: ProcessView, database: Path) -> tuple[Check, ...]:
    """A row for each layer of the child, which has run a statement on the database."""
    return (
        _user(child),
        _no_capabilities(child),
        _layer("no new privileges", child.no_new_privs, f"NoNewPrivs is {int(child.no_new_privs)}"),
        _address_space(child),
        _all_children(child),
        _cpu(child),
        _none_of(child, "no file is written", "Max file size", "RLIMIT_FSIZE"),
        _none_of(child, "no core file", "Max core file size", "RLIMIT_CORE"),
        _none_of(child, "no new process", "Max processes", "RLIMIT_NPROC"),
        _environment(child),
        _descriptors(child, database),
        _network(child),
        _database(child, database),
    )


def _layer(name: str, there: bool, seen: str, advice: str = _OURS, required: bool = True) -> Check:
    return judged("sandbox child", name, there, seen, advice, required)


def _as_root() -> bool:
    return os.geteuid() == 0


def _user(child: ProcessView) -> Check:
    groups = ", ".join(map(str, child.groups)) or "none"
    seen = f"uid {_listed(child.uids)}, gid {_listed(child.gids)}, groups {groups}"
    if not _as_root():
        seen += "; the same user as this command"
    return _layer("unprivileged user", 0 not in child.uids | child.gids | set(child.groups), seen)


def _listed(ids: frozenset[int]) -> str:
    return "/".join(map(str, sorted(ids)))


def _no_capabilities(child: ProcessView) -> Check:
    advice = _OURS if _as_root() else "they hold in the child's own user namespace only; start as root to have none"
    seen = f"{child.capabilities:#x}" if child.capabilities else "none"
    return _layer("no capabilities", child.capabilities == 0, seen, advice, required=_as_root())


def _address_space(child: ProcessView) -> Check:
    limit = child.hard("Max address space")
    if limit is None:
        return _layer("memory", False, "RLIMIT_AS is unlimited")
    seen = f"RLIMIT_AS is {limit / _GB:.2f} GB, {child.mapped_bytes / _GB:.2f} GB of it mapped"
    return _layer("memory", limit <= ACTOR_GB * _GB, seen)


def _all_children(child: ProcessView) -> Check:
    """An upper bound: what children share is counted for each of them."""
    limit, children = child.hard("Max address space"), SandboxLimits().children
    if limit is None:
        return _layer("memory of all children", False, "no limit, so no bound")
    total = limit * children / _GB
    seen = f"{children} children of at most {limit / _GB:.2f} GB each: {total:.1f} GB of {ACTOR_GB} GB"
    return _layer("memory of all children", total <= ACTOR_GB, seen, "ask for fewer children in the config", False)


def _cpu(child: ProcessView) -> Check:
    limit = child.soft("Max cpu time")
    return _layer("CPU time", limit is not None, f"RLIMIT_CPU is {'unlimited' if limit is None else f'{limit} s'}")


def _none_of(child: ProcessView, name: str, limit_name: str, short: str) -> Check:
    limit = child.hard(limit_name)
    return _layer(name, limit == 0, f"{short} is {'unlimited' if limit is None else limit}")


def _environment(child: ProcessView) -> Check:
    """Names only: a value may be a secret."""
    names = sorted(variable.partition("=")[0] for variable in child.environment)
    return _layer("empty environment", not names, f"holds {', '.join(names)}" if names else "empty")


def _descriptors(child: ProcessView, database: Path) -> Check:
    strange = [f"{file.number} is {file.target}" for file in child.files if not _is_expected(file, database)]
    sockets = sum(file.target.startswith("socket:") for file in child.files)
    if sockets > 1:
        strange.append(f"{sockets} sockets")
    usual = "its socket, the database read-only, standard streams on /dev/null"
    if os.path.realpath("/proc/self/fd/2") == os.devnull:
        usual += "; this command's own stderr is there too, so look again with it on a terminal"
    return _layer("open descriptors", not strange, f"also {', '.join(strange)}" if strange else f"only {usual}")


def _is_expected(file: OpenFile, database: Path) -> bool:
    if file.number <= 2:
        return file.target == "/dev/null"
    return file.target.startswith("socket:") or (file.target == str(database) and not file.writable)


def _network(child: ProcessView) -> Check:
    interfaces = ", ".join(child.interfaces) or "none"
    if child.network == our_network():
        return _layer("own network", False, f"shares the host's; interfaces: {interfaces}", _NETWORK, required=False)
    seen = f"{child.network}; interfaces: {interfaces}"
    return _layer("own network", set(child.interfaces) <= {"lo"}, seen, _NETWORK, required=False)


def _database(child: ProcessView, database: Path) -> Check:
    """Asked of the kernel, with the child's user and groups. A user who owns the file could change its mode anyway."""
    writable = [path for path in (database, database.parent) if _can_write(child, path)]
    seen = f"writable for the child's user: {', '.join(map(str, writable))}" if writable else "neither file nor folder"
    advice = f"chmod go-w {database} {database.parent}" if _as_root() else "start as root, or make both read-only"
    name = "database is not writable"
    return _layer(name, not writable, seen, advice, required=_as_root())


def _can_write(child: ProcessView, path: Path) -> bool:
    command = [shutil.which("test") or "/usr/bin/test", "-w", str(path)]
    if not _as_root():
        return subprocess.run(command, check=False).returncode == 0
    user, group = max(child.uids), max(child.gids)
    tried = subprocess.run(command, check=False, user=user, group=group, extra_groups=child.groups)
    return tried.returncode == 0
