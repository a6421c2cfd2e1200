"""Makes what verifies the answers of a task set, if it has variants and the config asks for them."""

from pathlib import Path

import platformdirs

from services.contracts.grading import AnswerGrader, AnswerVerifier
from services.env_actor.taskset import VARIANTS, TaskSet
from services.grader.gold import read_gold
from services.grader.variants.verifier import VariantVerifier
from services.sandbox.pool import SandboxPool


def variants_cache() -> Path:
    """Where variants are unpacked, each archive in a folder named by its hash."""
    return Path(platformdirs.user_cache_dir("assay")) / VARIANTS


def verifier_for(task_set: TaskSet, grader: AnswerGrader, sandbox: SandboxPool) -> AnswerVerifier | None:
    """The verifier of a task set; None if it has no variants. Raises BadInput."""
    entry = task_set.manifest.variants
    if entry is None:
        return None
    folder = (task_set.folder / VARIANTS).resolve()
    archives = {name: (folder / f"{name}.zip", sha256) for name, sha256 in entry.archives.items()}
    return VariantVerifier(grader, read_gold(task_set.gold_path), archives, variants_cache(), sandbox)
