"""Runs a Dockerfile's steps without a Docker daemon: each stage in a root directory of its own, over this machine's
Python and libraries, which are mounted read-only. Needs root and a private mount namespace.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST_FOLDERS = ("/usr", "/bin", "/lib", "/lib64", "/etc", "/root/.pyenv")
PASSED_ON = re.compile(r"PIP_.*|UV_.*|SSL_.*|.*_CA_BUNDLE|.*_proxy", re.IGNORECASE)


@dataclass
class Stage:
    """What has been built: the folders that the stage wrote, and how it starts."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    command: Sequence[str] = ()
    health: Sequence[str] = ()


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()


def build(context: Path, folder: Path) -> Stage:
    """The last stage of the context's Dockerfile."""
    stages: dict[str, Stage] = {}
    for word, rest in instructions((context / "Dockerfile").read_text()):
        if word == "FROM":
            name = rest.split(" AS ")[-1] if " AS " in rest else f"stage{len(stages)}"
            stages[name] = stage = Stage(folder / name, dict(BASE))
            stage.root.mkdir(parents=True)
        else:
            _take(stage, word, rest, context, stages)
    return stage


BASE = {"PATH": "/root/.pyenv/versions/3.11.7/bin:/usr/local/bin:/usr/bin:/bin", "HOME": "/root"}


def _take(stage: Stage, word: str, rest: str, context: Path, stages: dict[str, Stage]) -> None:
    match word:
        case "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                stage.env[name] = re.sub(r"\$(\w+)", lambda found: stage.env.get(found[1], ""), value)
        case "WORKDIR":
            stage.workdir = rest
            (stage.root / rest.strip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = rest
        case "COPY":
            _copy(stage, rest.split(), context, stages)
        case "RUN":
            passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
            subprocess.run(inside(stage, ["sh", "-c", rest], writable=True), env=passed | stage.env, check=True)
        case "CMD":
            stage.command = json.loads(rest)
        case "HEALTHCHECK":
            stage.health = json.loads(rest.partition(" CMD ")[2])
        case "EXPOSE":
            pass
        case _:
            raise AssertionError(f"{word} is not known here")


def _copy(stage: Stage, words: list[str], context: Path, stages: dict[str, Stage]) -> None:
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    into = stage.root / (Path(stage.workdir) / target).as_posix().strip("/")
    for name in names:
        path = source / name.strip("/")
        to = into / path.name if target.endswith("/") or len(names) > 1 else into
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy(path, to)


def inside(stage: Stage, command: Sequence[str], writable: bool) -> list[str]:
    """The command line that runs a command in the stage's root; /tmp is always writable, the rest as asked."""
    binds = []
    for folder in HOST_FOLDERS:
        target = f"{stage.root}{folder}"
        binds.append(f"mkdir -p {target} && mount --rbind {folder} {target} && mount -o remount,bind,ro {target}")
    if not writable:
        binds.insert(0, f"mount --bind {stage.root} {stage.root}")
    binds.append(f"mkdir -p {stage.root}/proc {stage.root}/dev {stage.root}/tmp")
    binds += [f"mount --rbind /proc {stage.root}/proc", f"mount --rbind /dev {stage.root}/dev"]
    size = "8g" if writable else "512m"
    binds.append(f"mount -t tmpfs -o size={size},mode=1777 tmpfs {stage.root}/tmp")
    if not writable:
        binds.append(f"mount -o remount,bind,ro {stage.root}")
    user, group = stage.user.split(":")
    enter = f"exec /usr/sbin/chroot --userspec={user}:{group} {stage.root} sh -c {shlex.quote(_in(stage, command))}"
    return ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", "; ".join([*binds, enter])]


def _in(stage: Stage, command: Sequence[str]) -> str:
    return f"cd {stage.workdir} && exec {shlex.join(command)}"
