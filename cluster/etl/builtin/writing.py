"""Writes built-in jobs as folders that `assay optimize` plays: the sources, production's output, pins and scripts."""

from pathlib import Path

from cluster.etl.builtin.building import build
from cluster.etl.builtin.domain import JobSpec
from cluster.etl.pinning import Pins, pin_files, tables_of, write_pins
from services.policy.rewriter.playing import EtlScript, handing_in

PINS = "pins.json"


def write_job(spec: JobSpec, folder: Path, scale: str = "small", seed: int = 1) -> Pins:
    """FOLDER/<job>: pins.json, right.jsonl and for a trap wrong.jsonl, which `scripted:PATH` plays."""
    home = folder / spec.task_key
    job = build(spec, home, scale, seed)
    pins = Pins(job=job, files=pin_files(tables_of(job)))
    write_pins(pins, home / PINS)
    for name, statements in (("right", spec.right), ("wrong", spec.wrong)):
        if statements:
            script = EtlScript(task_key=spec.task_key, actions=handing_in(statements))
            (home / f"{name}.jsonl").write_text(script.model_dump_json() + "\n", encoding="utf-8")
    return pins
