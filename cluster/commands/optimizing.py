"""An optimised job as people see it: a line a step while it goes on, and what came of it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cluster.etl.optimize import Optimized
from cluster.etl.proposal import saved
from services.env_actor.etl.episode import EtlStep

PLAIN_WIDTH = 120
_LINE = 160
out = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)  # not cluster.console: it would import Ray
err = Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH)


def run_folder(given: Path | None, task_key: str) -> Path:
    """Where the run is left."""
    return given or Path("runs") / f"{task_key}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def print_step(number: int, step: EtlStep) -> None:
    """One step in a line on stderr."""
    said = " ".join((step.reply.error or step.reply.text).split())
    why = f" ({step.action.reasoning})" if step.action.reasoning else ""
    err.print(Text(f"{number:3} {step.action.kind}{why}: {said}"[:_LINE]), highlight=False, soft_wrap=True)


def print_outcome(done: Optimized, folder: Path) -> None:
    """What came of the job."""
    if done.proposed and done.grade is not None and done.grade.lower_bound is not None:
        gain = f"equal, and at least {saved(done.grade.lower_bound)} less CPU time"
        out.print(Text.assemble(("proposal", "bold green"), f": {gain}"), highlight=False, soft_wrap=True)
    else:
        why = done.grade.reason if done.grade is not None else done.verdict
        out.print(Text.assemble(("no proposal", "bold yellow"), f": {why}"), highlight=False, soft_wrap=True)
    out.print(Text(f"{folder}/proposal.md"), highlight=False, soft_wrap=True)
