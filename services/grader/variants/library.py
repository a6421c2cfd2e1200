"""The variants of a task set on disk: for each database one archive with small DuckDB files and what the gold gives.

Invariant: what is unpacked is what the manifest hashes; a folder of the cache is there whole or not at all.
"""

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.variants.agreement import Expected

GOLDS = "golds.jsonl"
EPOCH = (1980, 1, 1, 0, 0, 0)


class Survivor(Record):
    """A mutant of the gold that no chosen variant tells from it."""

    kind: str
    sql: str
    standing: str = Field(description="equivalent: with the proof; killable: by a larger search; unresolved")


class TaskVariants(Record):
    """What is known of one task's near misses. Of the grader's side: the survivors are almost the gold."""

    task_id: str
    database: str
    variants: tuple[str, ...] = Field(description="the variants that its answers are replayed on")
    mutants: int
    killed_on_base: int
    killed: int = Field(description="by the variants, beyond those killed on the database itself")
    equivalent: int
    unresolved: int
    kill_rate: float | None = Field(description="killed of those that are not proven equivalent; None without any")
    survivors: tuple[Survivor, ...] = ()
    cpu_s: float = 0.0


class VariantGold(Record):
    """What the gold of one task gives on one variant."""

    task_id: str
    variant: str
    expected: Expected


def pack(folder: Path, variants: Iterable[str], golds: Iterable[VariantGold], to: Path) -> None:
    """Write an archive of the DuckDB files NAME.duckdb of a folder, and of the golds."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(variants):
            archive.writestr(
                zipfile.ZipInfo(f"{name}.duckdb", EPOCH),
                (folder / f"{name}.duckdb").read_bytes(),
                zipfile.ZIP_DEFLATED,
                9,
            )
        text = "".join(gold.model_dump_json() + "\n" for gold in golds)
        archive.writestr(zipfile.ZipInfo(GOLDS, EPOCH), text.encode(), zipfile.ZIP_DEFLATED, 9)
    to.chmod(0o644)


class DatabaseVariants:
    """The unpacked variants of one database, and the golds on them."""

    def __init__(self, name: str, paths: Sequence[Path], golds: Mapping[str, Sequence[tuple[int, Expected]]]) -> None:
        self.name = name
        self.paths = tuple(paths)
        self._golds = golds

    def golds(self, task_id: str) -> Sequence[tuple[int, Expected]]:
        """(place of the variant, what the gold gives there), for each variant of the task; none without any."""
        return self._golds.get(task_id, ())

    def variant(self, place: int) -> str:
        """The name of a variant."""
        return self.paths[place].stem


def unpack(archive: Path, sha256: str, cache: Path) -> DatabaseVariants:
    """The variants of an archive, unpacked into the cache once a machine. Raises BadInput if it is not what it was."""
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise BadInput(f"the task set lacks variants/{archive.name}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadInput(f"variants/{archive.name} of the task set was changed: its hash is not the manifest's")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".duckdb"))
        if any("/" in name or name.startswith(".") for name in names):
            raise BadInput(f"variants/{archive.name} names files outside of itself")
        folder = _unpacked(opened, names, cache / sha256)
        lines = opened.read(GOLDS).decode().splitlines()
    places = {Path(name).stem: place for place, name in enumerate(names)}
    golds: dict[str, list[tuple[int, Expected]]] = {}
    for line in lines:
        try:
            gold = VariantGold.model_validate_json(line)
        except ValidationError as error:
            raise BadInput(f"variants/{archive.name}: {error.errors()[0]['msg']}") from error
        golds.setdefault(gold.task_id, []).append((places[gold.variant], gold.expected))
    return DatabaseVariants(f"{archive.stem} variants {sha256[:8]}", [folder / name for name in names], golds)


def _unpacked(opened: zipfile.ZipFile, names: Sequence[str], final: Path) -> Path:
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{final.name[:16]}-", dir=final.parent))
    try:
        for name in names:
            (partial / name).write_bytes(opened.read(name))
            (partial / name).chmod(0o644)
        partial.chmod(0o755)
        try:
            os.rename(partial, final)
        except OSError:  # another process was faster
            if not final.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
