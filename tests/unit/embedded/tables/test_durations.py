from __future__ import annotations

import pytest

from kcpctl.embedded.tables.durations import age, human, parse_time

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (5.9, "5s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (3 * MINUTE + 2, "3m2s"),
        (10 * MINUTE + 2, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 4 * MINUTE, "3h4m"),
        (8 * HOUR + 4 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (2 * DAY, "2d"),
        (2 * DAY + 3 * HOUR, "2d3h"),
        (8 * DAY + 3 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (2 * 365 * DAY + DAY, "2y1d"),
        (8 * 365 * DAY + DAY, "8y"),
    ],
)
def test_durations_get_shorter_the_longer_they_are(seconds: float, text: str) -> None:
    assert human(seconds) == text


def test_times_are_read_with_and_without_fractions() -> None:
    assert parse_time("1970-01-01T00:01:00Z") == 60
    assert parse_time("1970-01-01T01:00:00.500000+01:00") == 0.5
    assert parse_time("yesterday") is None
    assert parse_time(None) is None


def test_no_time_has_an_unknown_age() -> None:
    assert age(None, 100) == "<unknown>"
    assert age("1970-01-01T00:00:00Z", 100) == "100s"
