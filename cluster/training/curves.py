"""Curves: what each pass measured, as CSV, and drawn."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.run import write_whole
from services.contracts.errors import BadInput

Point = Mapping[str, float]


class Curve:
    """One CSV file, a line a pass; a pass that is measured again after a kill takes its line's place."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """The first column numbers the passes."""
        self._path = path
        self._columns = tuple(columns)
        self.number = self._columns[0]

    def points(self) -> list[dict[str, float]]:
        """All lines so far. Raises BadInput for a damaged file."""
        if not self._path.exists():
            return []
        try:
            with self._path.open(newline="", encoding="utf-8") as lines:
                return [{name: float(line[name]) for name in self._columns} for line in csv.DictReader(lines)]
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{self._path} is damaged: {error}") from error

    def add(self, point: Point) -> None:
        """One more line."""
        kept = [one for one in self.points() if one[self.number] < point[self.number]]
        rows = [",".join(f"{one[name]:.6g}" for name in self._columns) for one in (*kept, point)]
        write_whole(self._path, "\n".join((",".join(self._columns), *rows)) + "\n")

    def draw(self, path: Path, lines: Sequence[str]) -> None:
        """Columns over the first one, each in a field of its own, as SVG."""
        import matplotlib.figure

        points = self.points()
        if not points:
            return
        figure = matplotlib.figure.Figure(figsize=(4 * len(lines), 3), layout="constrained")
        for number, name in enumerate(lines, 1):
            axes = figure.add_subplot(1, len(lines), number)
            axes.plot([one[self.number] for one in points], [one[name] for one in points], marker=".")
            axes.set_xlabel(self.number)
            axes.set_title(name)
            axes.grid(alpha=0.3)
        figure.savefig(path, format="svg", metadata={"Date": None})
