"""`python -m cluster.etl.builtin FOLDER [--scale SCALE] [--seed N] [JOB ...]`: write built-in jobs to be optimised."""

import argparse
import sys
from pathlib import Path

from cluster.etl.builtin.building import SCALES
from cluster.etl.builtin.catalog import JOBS, job_spec
from cluster.etl.builtin.writing import PINS, write_job
from services.contracts.errors import AssayError


def main() -> int:
    """Write the jobs and say where they are; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster.etl.builtin", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="default: all")
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    try:
        specs = [job_spec(name) for name in asked.jobs or JOBS]
        for spec in specs:
            write_job(spec, asked.folder, asked.scale, asked.seed)
            sys.stdout.write(f"{asked.folder / spec.task_key / PINS}\n")
    except AssayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
