"""The parts that Assay can do without: which are installed, and the command that installs the others."""

import shutil
from importlib.metadata import PackageNotFoundError, version

from cluster.doctor.checks import Check, State, judged

PACKAGES = {
    "openenv": ("assay serve openenv", ".venv/bin/uv sync --frozen --inexact --extra openenv"),
    "torch": ("training", ".venv/bin/pip install -c requirements/torch.txt torch"),
    "deltalake": ("Delta tables", ".venv/bin/uv sync --frozen --inexact"),
}
PROGRAMS = {
    "prometheus": ("stored metrics", ("prometheus",), "make .venv/bin/promtool"),
    "chromium": ("looking at pages", ("chromium", "chromium-browser", "google-chrome"), "apt-get install chromium"),
}


def part_checks() -> tuple[Check, ...]:
    """A row for each part."""
    packages = [_part(name, use, _version(name), command) for name, (use, command) in PACKAGES.items()]
    programs = [_part(name, use, _found(names), command) for name, (use, names, command) in PROGRAMS.items()]
    return (*packages, *programs)


def _part(name: str, use: str, found: str | None, command: str) -> Check:
    seen = f"{found}; for {use}" if found else f"not found; for {use}"
    absent: State = "optional, not installed"
    return judged("optional parts", name, found is not None, seen, command, required=False, otherwise=absent)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)
