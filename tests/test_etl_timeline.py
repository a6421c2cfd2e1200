"""Times become versions by the commits' own timestamps, and a later time never means an earlier version."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.etl.timeline import Commit, commits_of, in_order, milliseconds, parse_time, version_at, written_out
from services.contracts.errors import BadInput
from tests.etl_world import make_production, minutes, set_times

TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
LOGS = st.lists(st.integers(0, 10_000), min_size=1, max_size=20)


def log(times: list[int]) -> list[Commit]:
    return list(in_order([Commit(version=version, at_ms=at) for version, at in enumerate(times)]))


@given(LOGS, st.integers(0, 11_000), st.integers(0, 11_000))
def test_a_later_time_never_means_an_earlier_version(times: list[int], one: int, other: int) -> None:
    commits = log(times)
    found = []
    for at in sorted((one, other)):
        if at >= commits[0].at_ms:
            found.append(version_at(commits, parse_time(written_out(at), "at"), "t").version)
    assert found == sorted(found)


@given(LOGS)
def test_each_commit_is_found_at_its_own_time_and_not_a_millisecond_before(times: list[int]) -> None:
    commits = log(times)
    for commit in commits:
        assert version_at(commits, parse_time(written_out(commit.at_ms), "at"), "t") == commit
    with pytest.raises(BadInput, match="there was no version yet"):
        version_at(commits, parse_time(written_out(commits[0].at_ms - 1), "at"), "t")


@given(TIMES)
def test_a_time_is_the_same_in_every_zone(time: datetime) -> None:
    elsewhere = time.astimezone(datetime.now().astimezone().tzinfo)
    assert milliseconds(parse_time(elsewhere.isoformat(), "at")) == milliseconds(time)
    assert abs(parse_time(written_out(milliseconds(time)), "at") - time) < timedelta(milliseconds=1)


@pytest.mark.parametrize(("text", "why"), [("2026-03-02T03:00:00", "no time zone"), ("yesterday", "is no time")])
def test_a_time_without_a_zone_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        parse_time(text, "started_at")
    with pytest.raises(BadInput, match="no time zone"):
        version_at(log([0]), datetime(2026, 1, 1), "t")


def test_file_times_decide_nothing(tmp_path: Path) -> None:
    orders = make_production(tmp_path) / "orders"
    for file in (orders / "_delta_log").iterdir():
        os.utime(file, (0, 0))
    commits = commits_of(orders, "orders")
    assert [version_at(commits, minutes(at), "orders").version for at in (-60, 0, 29, 30, 999)] == [0, 0, 0, 1, 1]


def test_a_commit_that_does_not_say_its_time_is_not_passed_over(tmp_path: Path) -> None:
    orders = make_production(tmp_path) / "orders"
    for times in ([None, minutes(30)], [minutes(-60), None]):
        set_times(orders, times)
        with pytest.raises(BadInput, match=f"version {times.index(None)} does not say when it was committed"):
            commits_of(orders, "orders")
        make_production(tmp_path := tmp_path / "again")
        orders = tmp_path / "orders"


def test_the_timeline_begins_after_the_last_commit_that_is_gone(tmp_path: Path) -> None:
    orders = make_production(tmp_path) / "orders"
    (orders / "_delta_log" / f"{0:020d}.json").unlink()
    commits = commits_of(orders, "orders")
    assert [commit.version for commit in commits] == [1]
    with pytest.raises(BadInput, match="the log begins with version 1"):
        version_at(commits, minutes(0), "orders")


def test_the_time_inside_of_a_commit_goes_before_that_of_its_writer(tmp_path: Path) -> None:
    orders = make_production(tmp_path) / "orders"
    set_times(orders, [minutes(-60)], inCommitTimestamp=5000)
    assert commits_of(orders, "orders")[0].at_ms == 5000
