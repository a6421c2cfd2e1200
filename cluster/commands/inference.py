"""What `python inference.py` does: settings from the environment, the log on stdout, everything else on stderr."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from cluster.config import BUILTIN_ANALYST
from cluster.inference.lines import LogFormat, log_of
from services.contracts.actions import Action
from services.contracts.errors import AssayError, BadInput, Infrastructure
from services.contracts.policy import AnyTurn, action_of

CALL_S = 60.0
DEFAULT_URL, DEFAULT_MODEL = "https://router.huggingface.co/v1", "Qwen/Qwen2.5-72B-Instruct"


def inference(
    log_format: Annotated[LogFormat, typer.Option(help="The lines of Assay, or those of OpenEnv's sample.")] = "assay",
    tasks: Annotated[str, typer.Option(envvar="ASSAY_ANALYST_TASKS", help="The analyst's task set.")] = BUILTIN_ANALYST,
    call_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one answer of the model.")] = CALL_S,
    task_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one task.")] = 360.0,
) -> None:
    """Play the analyst's three tasks with MODEL_NAME at API_BASE_URL; the key is HF_TOKEN."""
    from cluster.inference.playing import infer
    from cluster.tasksets.opening import open_task_set
    from services.policy.remote import OpenAIPolicy

    url, model = os.environ.get("API_BASE_URL", DEFAULT_URL), os.environ.get("MODEL_NAME", DEFAULT_MODEL)
    made: list[OpenAIPolicy] = []

    async def act(turn: AnyTurn) -> Action:
        if not made:  # here, so that a missing key is a task's problem and its [END] is written
            made.append(OpenAIPolicy(url, model, "HF_TOKEN", call_timeout))
        return action_of(*await made[0].act([turn]))

    def say(line: str) -> None:
        print(line, flush=True)

    problems = asyncio.run(infer(lambda: open_task_set(tasks), act, log_of(log_format, model), say, task_timeout))
    for problem in problems:
        print(_told(problem, task_timeout), file=sys.stderr)
    if problems:
        raise typer.Exit(BadInput.exit_code if isinstance(problems[0], BadInput) else Infrastructure.exit_code)


def _told(problem: AssayError | TimeoutError, task_timeout: float) -> str:
    if isinstance(problem, TimeoutError):
        return f"error: a task was not over after {task_timeout:g} s"
    return f"error: {' '.join(str(problem).split())}"
