"""All rules, in the order in which the search tries them: what has paid most on DuckDB comes first."""

from services.policy.rewriter import aggregates, joins, lists, lookups, predicates, rows, windows
from services.policy.rewriter.sites import Rule

RULES: dict[str, Rule] = {
    "or_join": joins.or_join,
    "spans_over_calendar": lookups.spans_over_calendar,
    "text_dates": predicates.text_dates,
    "filter_below_window": windows.filter_below_window,
    "date_parts": predicates.date_parts,
    "unread_order": rows.unread_order,
    "unread_join": joins.unread_join,
    "running_join": windows.running_join,
    "running_scalar": windows.running_scalar,
    "fan_out": joins.fan_out,
    "distinct_on_key": rows.distinct_on_key,
    "clean_text": predicates.clean_text,
    "casts_in_equality": predicates.casts_in_equality,
    "exists_beyond": windows.exists_beyond,
    "list_round_trip": lists.list_round_trip,
    "lists_added_up": lists.lists_added_up,
    "cases_in_two_stages": aggregates.cases_in_two_stages,
    "grouped_dependents": rows.grouped_dependents,
    "scalars_in_one_join": aggregates.scalars_in_one_join,
    "long_case": lookups.long_case,
    "window_and_distinct": rows.window_and_distinct,
    "regex_prefix": predicates.regex_prefix,
    "union_all": rows.union_all,
    "add_up_before_join": aggregates.add_up_before_join,
    "as_of": lookups.as_of,
}
