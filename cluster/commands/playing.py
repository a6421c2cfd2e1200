"""How a command plays a run: with a progress bar, and with a way to go on if it is stopped."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import typer

from cluster.commands import STOPPED
from cluster.config import RolloutConfig
from cluster.mirror import Mirror
from cluster.report import RunReport
from cluster.rollout import Prepared
from cluster.run import RunFolder, place_of
from services.contracts.errors import BadInput

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for what `ray job submit` runs."""


def run_path(out: Path | None, config: RolloutConfig, resume: bool) -> Path:
    """The run folder: as asked, or runs/NAME-TIME. Raises BadInput if there is nothing to resume."""
    if resume and out is None:
        raise BadInput("--resume needs --out with the run folder to finish")
    path = out or Path("runs") / f"{config.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    if IN_A_JOB in os.environ and not path.is_absolute():
        raise BadInput(f"{path} would end with the job's working folder: give --out an absolute path or a URL")
    return path


def run_place(out: str | None, config: RolloutConfig, resume: bool) -> tuple[Path, Mirror | None]:
    """The run folder, and its mirror if a URL was asked for. Raises BadInput."""
    if out is not None and "://" in out:
        return place_of(out)
    return run_path(None if out is None else Path(out), config, resume), None


def leave(run: RunFolder) -> None:
    """Say where the run is; what its mirror has need not be here too."""
    from cluster.console import err

    if run.mirror is not None:
        shutil.rmtree(run.path, ignore_errors=True)
    err.print(f"run folder: {run.where}", highlight=False, soft_wrap=True)


def play(prepared: Prepared, run: RunFolder, command: str) -> RunReport:
    """Play what is not stored yet; `command` is what the user typed, without its options."""
    from cluster.console import err, rollout_progress
    from cluster.rollout import run_rollout

    try:
        with rollout_progress(len(prepared.specs), len(run.episodes())) as progress:
            return run_rollout(prepared, run, progress.on_done)
    except KeyboardInterrupt:
        err.print(f"stopped; finish with: assay {command} --out {run.where} --resume", highlight=False)
        raise typer.Exit(STOPPED) from None
