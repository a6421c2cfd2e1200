"""The `assay` command.

Exit codes: 0 done; 1 done, and the answer is no; 2 bad input; 3 infrastructure; 70 our own bug; 130 stopped.
"""

import asyncio
import json
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cluster.commands.baselines import baselines_app
from cluster.commands.compare import compare
from cluster.commands.demonstrate import demonstrate
from cluster.commands.diff import diff
from cluster.commands.doctor import doctor
from cluster.commands.evaluate import evaluate
from cluster.commands.export import export_app
from cluster.commands.green import serve_green_agent
from cluster.commands.metrics import metrics_app
from cluster.commands.openenv import serve_openenv
from cluster.commands.optimize import optimize
from cluster.commands.oracle import oracle
from cluster.commands.regrade import regrade
from cluster.commands.risks import risks
from cluster.commands.serving import serve_policy
from cluster.commands.timing import time_
from cluster.commands.train import train
from cluster.commands.variants import variants
from cluster.config import BUILTIN, load_config
from cluster.session import prepare_environment
from cluster.tasksets.opening import open_task_set
from services.contracts.errors import AssayError, BadInput
from services.contracts.record import Record
from services.env_actor.taskset import TaskSetManifest

BUG = 70
"""Exit code of a command that our own mistake ended: 1 would say that the answer is no."""
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
tasks_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at, check and make task sets.")
import_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Turn files into a task set.")
serve_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Serve parts of Assay to others.")
app.add_typer(tasks_app, name="tasks")
app.add_typer(serve_app, name="serve")
app.add_typer(export_app, name="export")
tasks_app.add_typer(import_app, name="import")
app.command()(diff)
app.command()(doctor)
app.command()(evaluate)
app.command()(compare)
app.command()(optimize)
app.command()(regrade)
app.command()(train)
app.command()(risks)
app.command("time")(time_)
tasks_app.command()(demonstrate)
tasks_app.command()(oracle)
tasks_app.command()(variants)
serve_app.command("openenv")(serve_openenv)
serve_app.command("policy")(serve_policy)
app.add_typer(baselines_app, name="baselines")
app.add_typer(metrics_app, name="metrics")
serve_app.command("green-agent")(serve_green_agent)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TaskSetPath = Annotated[
    str, typer.Argument(metavar="DIR", help="A task set folder, its URL, 'builtin' or 'builtin-analyst'.")
]
RunPlace = Annotated[str, typer.Argument(metavar="DIR", help="A run folder, or its URL.")]


@app.callback()
def _assay() -> None:
    """Plays SQL agents against real databases and pays only for what it has verified."""


@app.command()
def rollout(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file as in configs/.")],
    out: Annotated[str | None, typer.Option(help="The run folder, or its URL. Default: runs/<name>-<time>.")] = None,
    override: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Finish the run in --out.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Play only the first N planned episodes.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be played and what models would take, and stop.")
    ] = False,
    like: Annotated[
        Path | None, typer.Option(metavar="RUN", help="With --dry-run: expect what the episodes of that run took.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Play episodes on Ray and leave verified trajectories in a run folder."""
    from cluster.commands.playing import leave, play, run_place
    from cluster.console import print_report
    from cluster.rollout import prepare
    from cluster.run import RunFolder

    settings = load_config(config, override or [])
    prepared = prepare(settings, open_task_set(settings.tasks.path), limit)
    if dry_run:
        from cluster.commands.expecting import expected, plain

        told = expected(prepared, like)
        _print(told if as_json else plain(told), as_json)
        return
    path, mirror = run_place(out, settings, resume)
    if resume:
        run = RunFolder.resume(path, settings, prepared.task_set, limit, mirror)
    else:
        run = RunFolder.start(path, settings, prepared.task_set, prepared.specs, limit, mirror)
    report = play(prepared, run, f"rollout {config}")
    if as_json:
        _print(report, as_json)
    else:
        print_report(report)
    leave(run)


@app.command()
def report(run: RunPlace, as_json: Json = False) -> None:
    """Compute a run's figures from its trajectories."""
    from cluster.console import print_report
    from cluster.report import make_report
    from cluster.run import RunFolder, place_of

    figures = make_report(RunFolder.open(*place_of(run)))
    if as_json:
        _print(figures, as_json)
    else:
        print_report(figures)


@app.command()
def show(
    run: RunPlace,
    episode: Annotated[str, typer.Argument(metavar="EPISODE", help="An episode id, or the start of one.")],
    as_json: Json = False,
) -> None:
    """Show one stored episode step by step."""
    from cluster.console import out
    from cluster.run import RunFolder, place_of
    from cluster.show import episode_view

    row = RunFolder.open(*place_of(run)).row(episode)
    if as_json:
        print(json.dumps(row, default=str, indent=1))
    else:
        out.print(episode_view(row))


@app.command()
def play(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task id.")],
    tasks: Annotated[str, typer.Option(help="A task set folder, its URL, 'builtin' or 'builtin-analyst'.")] = BUILTIN,
) -> None:
    """Play one task yourself."""
    from cluster.interactive import play as play_task

    task_set = open_task_set(tasks)
    if task not in task_set.tasks:
        raise BadInput(f"no task {task} in {task_set.manifest.name}: see assay tasks list {tasks}")
    task_set.check_databases(task_set.databases_of([task_set.tasks[task]]))
    episode = play_task(task_set, task_set.tasks[task], input, print)
    if episode.over:
        print(f"{episode.verdict()}, reward {episode.reward():+.3f}")


@tasks_app.command("list")
def list_tasks(path: TaskSetPath = BUILTIN, as_json: Json = False) -> None:
    """List the tasks of a set."""
    task_set = open_task_set(path)
    if as_json:
        print(json.dumps([task.model_dump(mode="json") for task in task_set.tasks.values()], indent=1))
        return
    for task in task_set.tasks.values():
        print(f"{task.task_id}\t{task.database}\t{task.difficulty}\t{task.question}")


@tasks_app.command("validate")
def validate_tasks(path: TaskSetPath, as_json: Json = False) -> None:
    """Run every gold again; exit 1 if a task cannot be believed. Tasks that are too easy to hit are named too."""
    from cluster.console import counting
    from cluster.tasksets.validate import Finding, validate

    task_set = open_task_set(path)

    async def collect() -> list[Finding]:
        with counting("databases", len(task_set.manifest.databases)) as progress:
            done = iter(range(1, len(task_set.manifest.databases) + 1))
            return [finding async for finding in validate(task_set, lambda _: progress(next(done)))]

    findings = asyncio.run(collect())
    faults = [finding for finding in findings if finding.is_fault]
    if as_json:
        print(json.dumps([finding.model_dump(mode="json") for finding in findings], indent=1))
    else:
        for finding in findings:
            kind = "fault" if finding.is_fault else "weak"
            print(f"{kind}\t{finding.task_id}\t{finding.what}\t{finding.detail}")
        print(f"{len(task_set.tasks)} tasks: {len(faults)} faults, {len(findings) - len(faults)} warnings")
    raise typer.Exit(1 if faults else 0)


@tasks_app.command("generate-builtin")
def generate_builtin(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that is not there yet.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other rows.")] = 0,
) -> None:
    """Write the built-in task set of a seed to a folder."""
    from cluster.tasksets.generated import generate

    manifest = asyncio.run(generate(destination, seed))
    print(f"{manifest.tasks} tasks over {len(manifest.databases)} databases, hash {manifest.task_set_hash()}")


@import_app.command("spider")
def import_spider(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder in Spider's layout.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that is not there yet.")],
    as_json: Json = False,
) -> None:
    """Import Spider: databases, questions, and gold results frozen from SQLite."""
    from cluster.console import counting
    from cluster.tasksets.spider import import_spider as run_import

    with counting("databases", 0) as progress:
        manifest = asyncio.run(run_import(source, destination, destination.name, progress))
    _print_imported(manifest, as_json)


@import_app.command("csv")
def import_csv(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder of CSV and Parquet files.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A folder that is not there yet.")],
    questions: Annotated[Path | None, typer.Option(help="Default: SOURCE/questions.csv, .jsonl or .json.")] = None,
    null: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Another spelling of NULL.")] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Leave out what cannot be read.")] = False,
    as_json: Json = False,
) -> None:
    """Import your own tables: CSV or Parquet files, and questions with their gold SQL or their answers."""
    from cluster.console import counting, err
    from cluster.tasksets.csvs import CsvSource
    from cluster.tasksets.csvs import import_csv as run_import

    def complain(line: str) -> None:
        err.print(line, highlight=False, markup=False, soft_wrap=True)

    asked = CsvSource(source, questions, tuple(null or ()), skip_bad_rows)
    with counting("files and questions", 0) as progress:
        done = asyncio.run(run_import(asked, destination, progress, complain))
    _print_imported(done.manifest, as_json, done.bad_rows)


@serve_app.callback()
def _serve() -> None:
    """Serve parts of Assay to others."""


def _print_imported(manifest: TaskSetManifest, as_json: bool, rows_left_out: int = 0) -> None:
    total = manifest.tasks + sum(manifest.set_aside.values())
    if as_json:
        counts = {"questions": total, "admitted": manifest.tasks, "set_aside": manifest.set_aside}
        _print(counts | ({"rows_left_out": rows_left_out} if rows_left_out else {}), as_json)
        return
    print(f"{manifest.tasks} of {total} questions admitted over {len(manifest.databases)} databases")
    for reason, count in sorted(manifest.set_aside.items()):
        print(f"  set aside: {reason}: {count}")
    if rows_left_out:
        print(f"  rows left out: {rows_left_out}")


def _print(value: Record | dict[str, object], as_json: bool) -> None:
    tree = value.model_dump(mode="json") if isinstance(value, Record) else value
    if as_json:
        print(json.dumps(tree, indent=1))
    else:
        for key, item in tree.items():
            print(f"{key}: {item}")


def main() -> None:
    """Run the command; an error that the user can act on is one line on stderr."""
    prepare_environment()
    try:
        app()
    except AssayError as error:
        from cluster.console import err

        err.print(f"[red]error:[/red] {escape(' '.join(str(error).split()))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001  the process ends here
        traceback.print_exc()
        sys.exit(BUG)


if __name__ == "__main__":
    main()
