"""`assay optimize JOB`: have a policy rewrite a job, prove the output, measure the run. Exit 1 without a proposal."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from cluster.commands import STOPPED
from services.contracts.errors import BadInput


def optimize(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A JOB.yaml, jobs/ID.json of a workspace, or pins.json.")],
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Which of the job's tasks.")] = None,
    policy: Annotated[str, typer.Option(help="rewriter, random-edits, scripted:PATH, openai:MODEL@URL.")] = "rewriter",
    out: Annotated[Path | None, typer.Option(help="A new folder. Default: runs/<job>-<time>.")] = None,
    sign_offs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signed risks. Default: <JOB>.<KEY>.sign-offs.yaml.")
    ] = None,
    started_at: Annotated[str | None, typer.Option(metavar="TIME", help="The production run that is meant.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Of that run; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Actions that the policy may take.")] = 60,
    wall: Annotated[float, typer.Option(min=0.001, help="Seconds that its statements may run.")] = 7200.0,
    gigabytes: Annotated[float, typer.Option(min=0, help="GB that its statements may read.")] = 500.0,
    mode: Annotated[str, typer.Option("--pay", help="log, helios_gate or bird_steps.")] = "log",
    seed: Annotated[int, typer.Option(min=0, help="Of the policy.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Rewrite a job of production in a sandbox; leave a proposal with its proof. Exit 1 if there is none."""
    from cluster.commands.optimizing import print_outcome, print_step, run_folder
    from cluster.etl.opening import open_job
    from cluster.etl.optimize import Asked, make_folder, play
    from services.env_actor.etl.budgets import EtlBudgets
    from services.grader.runtime.pay import PayMode, PayRules
    from services.policy.rewriter.registry import etl_policy

    if mode not in get_args(PayMode):
        raise BadInput(f"--pay {mode} is none of {', '.join(get_args(PayMode))}")
    player = etl_policy(policy)
    given = _parameters(parameter or [])
    folder = out or run_folder(job.stem)
    make_folder(folder)
    pins = open_job(job, task, started_at, given, sign_offs, folder / "original")
    budgets = EtlBudgets(steps=steps, wall_s=wall, read_bytes=int(gigabytes * 10**9))
    asked = Asked(policy=policy, seed=seed, budgets=budgets, rules=PayRules.model_validate({"mode": mode}))
    try:
        done = play(pins, player, asked, folder, print_step)
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    if as_json:
        typer.echo(done.model_dump_json(indent=1))
    else:
        print_outcome(done, folder)
    raise typer.Exit(0 if done.proposed else 1)


def _parameters(given: list[str]) -> dict[str, str]:
    pairs = [item.partition("=") for item in given]
    wrong = next((name for name, mark, _ in pairs if not mark or not name), None)
    if wrong is not None:
        raise BadInput(f"--param {wrong}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}
