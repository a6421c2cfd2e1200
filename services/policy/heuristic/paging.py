"""Paging: a result is shown 20 rows at a time, and the rest is asked for page by page."""

from collections.abc import Mapping

from services.policy.heuristic.reading import Outcome

PAGE = 20
PAGES = 4


def next_page(sql: str, outcomes: Mapping[str, Outcome]) -> str | None:
    """The statement for the next page of a result that was asked for; None if all of it, or enough, was seen."""
    outcome = outcomes[sql]
    if " LIMIT " in sql or len(outcome.rows) >= outcome.total:
        return None
    pages = (_page(sql, offset) for offset in range(PAGE, min(outcome.total, PAGE * PAGES), PAGE))
    return next((page for page in pages if page not in outcomes), None)


def rows_seen(sql: str, outcomes: Mapping[str, Outcome]) -> list[tuple[str | None, ...]]:
    """The rows of a result that was asked for, as far as they were shown."""
    rows = list(outcomes[sql].rows)
    for offset in range(PAGE, PAGE * PAGES, PAGE):
        page = outcomes.get(_page(sql, offset))
        rows.extend(page.rows if page is not None else ())
    return rows


def _page(sql: str, offset: int) -> str:
    return f"{sql} LIMIT {PAGE} OFFSET {offset}"
