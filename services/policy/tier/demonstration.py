"""A demonstration: the gold of a task as operations, as `assay tasks demonstrate` writes it, a JSON line each."""

from pydantic import Field

from services.contracts.record import Record
from services.contracts.tasks import Difficulty
from services.policy.heuristic.linking import Hit
from services.policy.heuristic.reading import Schema
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Operations


class Demonstration(Record):
    """One gold as operations, the last a submission, and the statement that they make.

    `cells` are those that an agent finds by looking around: (table, column, value). With the database's catalog they
    give back the knowledge from which the candidates and their features come.
    """

    task_id: str
    database: str
    question: str
    difficulty: Difficulty
    operations: Operations
    sql: str
    cells: tuple[tuple[str, str, str], ...]
    offered: tuple[int, ...] = Field(description="how many candidates each operation was chosen from")
    reachable: bool = Field(description="every operation was among them")

    def knowledge(self, schema: Schema) -> Knowledge:
        """What an agent knows who has looked around, given the whole schema."""
        columns = {(column.table, column.name): column for column in schema.columns()}
        hits = (Hit(columns[table, column], value) for table, column, value in self.cells)
        return Knowledge(self.question, schema, tuple(hits))
