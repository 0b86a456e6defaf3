"""Real processes that meet: a crash in the report, two runs at one moment, a damaged segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kills.proof import new_runner
from tests.kills.test_kills import CALM
from tests.kills.trial import REALM, Case, Runner, WarmProcess


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = new_runner(tmp_path / "runs", 7, None)
    yield made
    made.close()


def chain(case: Case) -> dict[str, bytes]:
    folder = Path(case.env["LOG_DIR"], "runlog", REALM)
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


def requests(case: Case) -> dict[str, int]:
    counts: dict[str, int] = case.fake.ledger()["requests"]
    return counts


def test_a_crash_while_the_tables_are_derived_changes_nothing(runner: Runner) -> None:
    points = [
        f"table.qbo_attach_{name}:{moment}"
        for name in ("runlog", "errors", "dups")
        for moment in ("begun", "written", "there")
    ]
    with runner.case(CALM) as case:
        assert case.forked(runner.warm, "report:before", 1)[0] == -9
        whole, asked = chain(case), requests(case)
        for point in points:
            assert case.forked(runner.warm, point, 1, command="report")[0] == -9, point
            assert (chain(case), requests(case)) == (whole, asked)
        assert case.forked(runner.warm, command="report")[0] == 0
        assert (chain(case), requests(case)) == (whole, asked)
        assert case.forked(runner.warm)[0] == 0
        assert case.differences(runner.expected) == []


def test_of_two_runs_started_at_one_moment_one_goes_on_and_one_is_refused_by_name(
    runner: Runner, tmp_path: Path
) -> None:
    other = WarmProcess(tmp_path)
    try:
        for group in (1, 3, 1, 3):
            with runner.case(replace(CALM, group=group, latency_ms=150)) as case:
                folder = case.folder / "other"
                folder.mkdir()
                twin = replace(case, folder=folder)
                with ThreadPoolExecutor(2) as pool:
                    first = pool.submit(case.forked, runner.warm)
                    second = pool.submit(twin.forked, other)
                statuses = first.result()[0], second.result()[0]
                assert sorted(statuses) == [0, 3]
                refused = (case, twin)[statuses.index(3)]
                assert "another run works on this realm: process " in refused.said()
                assert "this run sent nothing" in refused.said()
                assert case.forked(runner.warm)[0] == 0
                assert case.differences(runner.expected) == []
    finally:
        other.close()


def torn(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes()[:-20])


def removed(segment: Path) -> None:
    segment.unlink()


def edited(segment: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"5", b"6", 1))


@pytest.mark.parametrize(("which", "damage"), [(1, torn), (1, removed), (1, edited), (-1, torn)])
def test_a_damaged_segment_stops_the_command_with_its_name_and_the_remedy(
    runner: Runner, which: int, damage: Callable[[Path], None]
) -> None:
    with runner.case(CALM) as case:
        assert case.forked(runner.warm, "log.end:before", 1)[0] == -9
        asked = requests(case)
        segment = Path(case.env["LOG_DIR"], "runlog", REALM, sorted(chain(case))[which])
        whole = segment.read_bytes()
        damage(segment)
        assert case.forked(runner.warm)[0] == 3
        assert requests(case) == asked
        last = case.said().splitlines()[-1]
        assert last.startswith(f"qbo-attach: {segment}: ")
        assert "Restore this file from a backup" in last
        segment.write_bytes(whole)
        assert case.forked(runner.warm)[0] == 0
        assert case.forked(runner.warm)[0] == 0
        assert case.differences(runner.expected) == []


def test_a_chain_that_lost_its_last_segments_doubles_nothing_with_existing_check(
    runner: Runner,
) -> None:
    with runner.case(replace(CALM, existing="check")) as case:
        assert case.forked(runner.warm, "log.end:before", 1)[0] == -9
        held = case.fake.ledger()["attachables"]
        for name in sorted(chain(case))[1:]:
            Path(case.env["LOG_DIR"], "runlog", REALM, name).unlink()
        assert case.forked(runner.warm)[0] == 0
        assert case.fake.ledger()["attachables"] == held
