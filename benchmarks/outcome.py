"""How a benchmark prints what it found: a table for people, and one line of JSON at the end."""

import json
import os
import platform
from collections.abc import Mapping, Sequence


def print_outcome(
    name: str, figures: Mapping[str, float], found: Mapping[str, Sequence[float]], runs: int, as_json: bool
) -> None:
    """Print figures, the least and the most of each series, and the machine."""
    if not as_json:
        for figure, value in figures.items():
            print(f"{figure:32} {value:10.2f}")
    spread = {series: [min(values), max(values)] for series, values in found.items() if values}
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
    result = {"benchmark": name, "figures": dict(figures), "runs": runs, "spread": spread, "machine": machine}
    print(json.dumps(result))
