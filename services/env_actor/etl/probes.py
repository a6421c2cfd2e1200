"""The ready-made probes: skew, cardinality and NULLs of one column of one source."""

from services.contracts.etl import EtlJob, ReadyProbe

_PROBES = {
    "skew": (
        "SELECT {column} AS value, count(*) AS n, round(count(*) / sum(count(*)) OVER (), 4) AS share "
        "FROM {table} GROUP BY {column} ORDER BY n DESC, value LIMIT 20"
    ),
    "cardinality": "SELECT count(*) AS n, count(DISTINCT {column}) AS differing FROM {table}",
    "nulls": "SELECT count(*) AS n, count(*) - count({column}) AS nulls FROM {table}",
}


def probe_sql(action: ReadyProbe, job: EtlJob) -> str | None:
    """The query of a probe; None if the job has no such column."""
    for table in job.sources:
        for column in table.columns:
            if (table.name.lower(), column.name.lower()) == (action.table.lower(), action.column.lower()):
                name = ".".join(map(_quoted, table.name.split(".")))
                return _PROBES[action.probe].format(table=name, column=_quoted(column.name))
    return None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
