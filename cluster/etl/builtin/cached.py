"""The built-in jobs on this machine, made once in the user's cache.

Invariant: production's output and the pins are for their owner only; a folder with its mark in it is whole.
"""

from pathlib import Path

import duckdb
import platformdirs

from cluster.etl.builtin.catalog import JOBS
from cluster.etl.builtin.writing import PINS, write_job
from cluster.etl.opening import open_job
from services.contracts.errors import Infrastructure
from services.contracts.etl import EtlJob
from services.env_actor.fetching import alone

VERSION = 1
"""To be raised when a job's rows or statements change."""
SEED = 1
_WHOLE = ".whole"


def builtin_jobs(scale: str, cache: Path | None = None) -> dict[str, EtlJob]:
    """Every built-in job at that scale, by name. Raises BadInput, Infrastructure if they cannot be kept."""
    name = f"builtin-v{VERSION}-{scale}-seed{SEED}-duckdb-{duckdb.__version__}"
    folder = (cache or Path(platformdirs.user_cache_dir("assay")) / "etl") / name
    if not (folder / _WHOLE).exists():
        try:
            _make(folder, scale)
        except OSError as error:
            raise Infrastructure(f"cannot keep the built-in jobs in {folder}: {error.strerror}") from error
    return {key: open_job(folder / key / PINS).job for key in JOBS}


def _make(folder: Path, scale: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock")):
        if (folder / _WHOLE).exists():  # another process was faster
            return
        for spec in JOBS.values():
            pins = write_job(spec, folder, scale, SEED)
            for path in pins.job.after.files:
                Path(path).chmod(0o600)
        (folder / _WHOLE).touch()
