"""Tie-break corroboration of a job: the rows that its picks may take, found by its own widened statements.

Invariant: where the ties cannot be found, or no stable key pairs the rows, the answer is BadInput and no verdict.
"""

import tempfile
from pathlib import Path

from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob
from services.grader.etl.nondeterminism.classes import classify
from services.grader.etl.nondeterminism.rerun import RerunLimits, run_original
from services.grader.etl.nondeterminism.signoff import to_corroborate
from services.grader.etl.nondeterminism.tiebreak import TieReport, TieRule, corroborate
from services.grader.etl.nondeterminism.widening import widened


def check_ties(
    job: EtlJob, left: Path, right: Path, limits: RerunLimits | None = None, folder: Path | None = None
) -> TieReport | None:
    """Whether another output differs from the original's, in the columns that are signed off as picks, by ties alone.

    The job's sources are those that both outputs were made from; `left` and `right` are whole outputs as Parquet files.
    None if no column is signed off as a pick. Raises BadInput, Infrastructure.
    """
    carried = to_corroborate(job)
    if not carried:
        return None
    key = classify(job).key
    if key is None:
        raise BadInput(f"job {job.job_id}: no stable columns name a row of {job.output}: declare a key of it")
    wide = job.model_copy(update={"statements": widened(job.statements)})
    used = limits or RerunLimits()
    with tempfile.TemporaryDirectory(prefix="assay-ties-", dir=folder) as own:
        source = Path(own) / "tied.parquet"
        run_original(wide, 2, source, used)
        return corroborate(left, right, source, TieRule(key=key, carried=carried), used.memory_mb)
