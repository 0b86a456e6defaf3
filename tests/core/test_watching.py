"""What a person is told of a run that works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbo_attach.core.watching import Pace, View, duration, time_left

VIEW = View(
    ended=50,
    expected=200,
    in_doubt=0,
    requests_sent=12,
    requests_per_min=480.4,
    files_per_min=100.0,
    limit_per_min=490,
    wait_s=0.0,
    wait_reason="",
    left_s=90.0,
)


def test_rates_are_those_of_the_last_minute() -> None:
    pace = Pace()
    assert pace.per_minute() is None
    pace.note(0.0, 0, 0)
    assert pace.per_minute() is None
    pace.note(30.0, 245, 2_450)
    assert pace.per_minute() == (490.0, 4_900.0)
    for now in range(60, 301, 30):
        pace.note(float(now), 245, 2_450)
    assert pace.per_minute() == (0.0, 0.0)


def test_a_rate_forgets_what_was_before_the_last_minute() -> None:
    pace = Pace()
    for second in range(0, 301, 5):  # fast for four minutes, then slow
        pace.note(float(second), min(second, 240) * 8 + max(0, second - 240) * 2, 0)
    assert pace.per_minute() == pytest.approx((120.0, 0.0))


def test_the_line_says_what_a_person_wants_to_know() -> None:
    assert VIEW.parts() == ["50 of 200", "480 requests a minute of 490", "about 2 min left"]


def test_a_wait_is_told_with_its_reason_and_doubts_with_what_is_done_about_them() -> None:
    waiting = replace(VIEW, wait_s=42.0, wait_reason="3001 ThrottleExceeded", in_doubt=3)
    assert "QBO asked to wait 42 s more (3001 ThrottleExceeded)" in waiting.parts()
    assert "3 in doubt" in waiting.parts()
    settling = replace(VIEW, ended=197, in_doubt=3)
    assert "3 in doubt, asking QBO for them" in settling.parts()
    assert not any("left" in part for part in settling.parts())


def test_time_left_counts_the_wait_and_is_unknown_without_a_rate() -> None:
    assert time_left(100, 50.0, 30.0) == 150.0
    assert time_left(100, None, 0.0) is None
    assert time_left(100, 0.0, 0.0) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (40, "40 s"),
        (89.0, "89 s"),
        (90.0, "2 min"),
        (720, "12 min"),
        (3_590, "1 h 00 min"),
        (3_599, "1 h 00 min"),
        (7_500, "2 h 05 min"),
    ],
)
def test_spans_are_told_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_as_json_rounds_and_keeps_what_is_unknown() -> None:
    told = replace(VIEW, requests_per_min=480.4321, left_s=None).as_json()
    assert told["requests_per_min"] == 480.4
    assert told["left_s"] is None
