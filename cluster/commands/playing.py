"""How a command plays a run: with a progress bar, and with a way to go on if it is stopped."""

from datetime import UTC, datetime
from pathlib import Path

import typer

from cluster.commands import STOPPED
from cluster.config import RolloutConfig
from cluster.report import RunReport
from cluster.rollout import Prepared
from cluster.run import RunFolder
from services.contracts.errors import BadInput


def run_path(out: Path | None, config: RolloutConfig, resume: bool) -> Path:
    """The run folder: as asked, or runs/NAME-TIME. Raises BadInput if there is nothing to resume."""
    if resume and out is None:
        raise BadInput("--resume needs --out with the run folder to finish")
    return out or Path("runs") / f"{config.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def play(prepared: Prepared, run: RunFolder, command: str) -> RunReport:
    """Play what is not stored yet; `command` is what the user typed, without its options."""
    from cluster.console import err, rollout_progress
    from cluster.rollout import run_rollout

    try:
        with rollout_progress(len(prepared.specs), len(run.episodes())) as progress:
            return run_rollout(prepared, run, progress.on_done)
    except KeyboardInterrupt:
        err.print(f"stopped; finish with: assay {command} --out {run.path} --resume", highlight=False)
        raise typer.Exit(STOPPED) from None
