"""The CPU time of table equality as a multiple of scanning both tables, at 28.3M rows of 12 columns of mixed types.

Each measurement is a process of its own that answers one question about two Parquet files with two threads, after it
has answered it about two tiny ones: imports and the loading of compiled kernels, some 2 s, are paid once a worker and
left out, for all alike. Rounds are interleaved, so that a slow minute of the machine hits all alike. The scan is DuckDB
reading every column of both sides (max of each). `reject`: one value changed, verdict only. `sound_accept`: the same
rows in another order. `tolerant_keyless`: the same rows in another order, every float off by 1e-13. Beside them, at a
tenth of the rows: EXCEPT ALL both ways and datacompy, as multiples of the scan of the same tables.

    python benchmarks/equivalence.py [--json] [--quick] [--rows N] [--peer-rows N] [--rounds N] [--folder FOLDER]
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

ROWS, PEER_ROWS, ROUNDS = 28_300_000, 2_830_000, 3
MEMORY = "8GB"
TABLE = """
    SELECT i AS id, (hash(i, 1) % 1000000)::INTEGER AS customer, (hash(i, 2) % 50)::SMALLINT AS store,
        DATE '2020-01-01' + (hash(i, 3) % 2000)::INTEGER AS day,
        TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_microseconds((hash(i, 4) % 100000000000000)::BIGINT) AS at,
        ['north', 'south', 'east', 'west'][1 + (hash(i, 5) % 4)::INTEGER] AS region,
        'item-' || hash(i, 6) % 20000 AS item, 'note ' || (hash(i, 7) % 100000000000)::VARCHAR AS note,
        ((hash(i, 8) % 100000000)::DECIMAL(18, 2) / 100)::DECIMAL(18, 2) AS price, hash(i, 9) % 2 = 0 AS paid,
        (hash(i, 10) % 1000000007) / 997.0::DOUBLE AS amount,
        CASE WHEN hash(i, 11) % 20 > 0 THEN ln(1 + hash(i, 12) % 1000003) END AS score
    FROM range({rows}) r(i)
"""
RIGHTS = {
    "same": "SELECT * FROM source",
    "changed": "SELECT * REPLACE (CASE id WHEN {middle} THEN customer + 1 ELSE customer END AS customer) FROM source",
    "noisy": "SELECT * REPLACE (amount * (1 + 1e-13) AS amount, score * (1 - 1e-13) AS score) FROM source",
}
SHUFFLED = "ORDER BY hash(id) % 1000"
"""Another order of rows that a machine of this size can write: as if a thousand partitions had come one by one."""


def prepare(folder: Path, rows: int) -> None:
    """Write the left table and the three right ones, unless a kept folder has them."""
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"threads": 2, "memory_limit": MEMORY, "temp_directory": str(folder)}) as connection:
        connection.execute(f"COPY ({TABLE.format(rows=rows)}) TO '{folder}/left.parquet'")
        connection.execute(f"CREATE VIEW source AS FROM '{folder}/left.parquet'")
        for name, query in RIGHTS.items():
            connection.execute(f"COPY ({query.format(middle=rows // 2)} {SHUFFLED}) TO '{folder}/{name}.parquet'")
    (folder / "done").touch()


def scan(left: str, right: str) -> str:
    """Every column of both sides."""
    with duckdb.connect(config={"threads": 2, "memory_limit": MEMORY}) as connection:
        for path in (left, right):
            names = [row[0] for row in connection.execute(f"DESCRIBE FROM '{path}'").fetchall()]
            maxima = ", ".join(f'max("{name}")' for name in names)
            connection.execute(f"SELECT {maxima} FROM '{path}'").to_arrow_table()
    return "read"


def assay(examples: int) -> Callable[[str, str], str]:
    """Our comparison."""

    def compared(left: str, right: str) -> str:
        from services.grader.tables.compare import compare
        from services.grader.tables.verdict import TableJob, TableRules

        return compare(TableJob(left=left, right=right, rules=TableRules(examples=examples))).verdict

    return compared


def except_all(left: str, right: str) -> str:
    """EXCEPT ALL both ways."""
    folder = str(Path(left).parent)
    with duckdb.connect(config={"threads": 2, "memory_limit": MEMORY, "temp_directory": folder}) as connection:
        for one, other in ((left, right), (right, left)):
            query = f"SELECT count(*) FROM (FROM '{one}' EXCEPT ALL FROM '{other}')"
            if connection.execute(query).fetchall() != [(0,)]:
                return "different"
    return "identical"


def datacompy(left: str, right: str) -> str:
    """datacompy's Polars comparison, which needs a key."""
    import polars as pl
    from datacompy import PolarsCompare

    found = PolarsCompare(pl.read_parquet(left), pl.read_parquet(right), join_columns="id", abs_tol=0, rel_tol=0)
    return "identical" if found.matches() else "different"


WORK: dict[str, tuple[Callable[[str, str], str], str, str]] = {
    "scan": (scan, "same", "read"),
    "reject": (assay(0), "changed", "different"),
    "sound_accept": (assay(20), "same", "identical"),
    "tolerant_keyless": (assay(20), "noisy", "within_tolerance"),
    "except_all": (except_all, "same", "identical"),
    "datacompy": (datacompy, "same", "identical"),
}
OURS = ("reject", "sound_accept", "tolerant_keyless")
PEERS = ("except_all", "datacompy")


def measure(name: str, folder: Path) -> tuple[float, float]:
    """CPU seconds (user + system) and peak memory in GB of one piece of work in a process of its own, warmed up."""
    command = [sys.executable, "-m", "benchmarks.equivalence", "--work", name, "--folder", str(folder)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    said, cpu, memory = done.stdout.split()
    if said != WORK[name][2]:
        raise SystemExit(f"{name} said {said} where {WORK[name][2]} is right")
    return float(cpu), float(memory)


def work(name: str, folder: Path) -> str:
    """The body of a measurement: the answer, CPU seconds and peak memory in GB."""
    do, right, _ = WORK[name]
    do(f"{folder.parent}/tiny/left.parquet", f"{folder.parent}/tiny/{right}.parquet")
    before = resource.getrusage(resource.RUSAGE_SELF)
    said = do(f"{folder}/left.parquet", f"{folder}/{right}.parquet")
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return f"{said} {cpu} {int(peak.split()[1]) / 1e6}"


def measure_rounds(folder: Path, names: Sequence[str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """All rounds, interleaved; one that is not counted comes first, for caches and compiled kernels."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        for name in names:
            figures = measure(name, folder)
            if round_:
                found[name].append(figures)
            print(f"  {name:20} {figures[0]:8.2f} CPU s {figures[1]:6.2f} GB", file=sys.stderr, flush=True)
    return found


def ratios(found: dict[str, list[tuple[float, float]]]) -> dict[str, list[float]]:
    """Each round's CPU time over that of the scan of the same round."""
    scans = [cpu for cpu, _ in found["scan"]]
    names = [name for name in found if name != "scan"]
    return {
        f"{name}_over_scan": [cpu / base for (cpu, _), base in zip(found[name], scans, strict=True)] for name in names
    }


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    rows, peer_rows = (200_000, 100_000) if options.quick else (options.rows, options.peer_rows)
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as scratch:
        folder = options.folder or Path(scratch)
        prepare(folder / "tiny", 1000)
        prepare(folder / f"{rows}", rows)
        found = measure_rounds(folder / f"{rows}", ("scan", *OURS), rounds)
        prepare(folder / f"{peer_rows}", peer_rows)
        peers = measure_rounds(folder / f"{peer_rows}", ("scan", *PEERS), rounds)
    values = ratios(found) | ratios(peers)
    figures = {name: statistics.median(all_) for name, all_ in values.items()}
    figures["peak_gb"] = max(gb for name in OURS for _, gb in found[name])
    figures |= {f"{name}_peak_gb": max(gb for _, gb in peers[name]) for name in PEERS}
    figures |= {"rows": rows, "peer_rows": peer_rows, "scan_cpu_s": statistics.median(c for c, _ in found["scan"])}
    spread = {name: [min(all_), max(all_)] for name, all_ in values.items()}
    if not options.json:
        for name, value in figures.items():
            print(f"{name:28} {value:14.2f}")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    result = {"benchmark": "equivalence", "figures": figures, "runs": rounds, "spread": spread, "machine": machine}
    print(json.dumps(result))


def asked(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--peer-rows", type=int, default=PEER_ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, help="keep the tables here")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options = asked(sys.argv[1:])
    if options.work:
        print(work(options.work, options.folder))
    else:
        main(options)
