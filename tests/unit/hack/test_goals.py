"""What the benchmark's table says of figures. The module is a script's neighbour, not a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[3] / "hack/bench/goals.py"


@pytest.fixture(scope="module")
def goals() -> Any:
    spec = importlib.util.spec_from_file_location("kcpctl_bench_goals", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def metric(goals: Any, *wanted: Any, **options: Any) -> Any:
    return goals.Metric("speed", "speed", wanted, **options)


def test_what_was_not_measured_is_not_judged(goals: Any) -> None:
    fast = metric(goals, goals.Goal("floor", 0.5, 0.8))
    assert goals.verdict(fast, {}) == "-"
    assert goals.verdict(fast, {"kcpctl": [None], "floor": [10]}) == "-"


def test_a_ratio_without_a_bound_is_shown_and_not_judged(goals: Any) -> None:
    shown = metric(goals, goals.Goal("floor"))
    samples = {"kcpctl": [6], "floor": [10]}
    assert goals.verdict(shown, samples) == "-"
    assert goals.row(shown, samples)[5:] == ["0.60x floor", "-", "-", "-"]


def test_a_peer_that_is_missing_leaves_a_question_mark(goals: Any) -> None:
    fast = metric(goals, goals.Goal("floor", 0.5), goals.Goal("client-go", 4))
    assert goals.verdict(fast, {"kcpctl": [6], "floor": [10]}) == "aim?"
    assert goals.verdict(fast, {"kcpctl": [4], "floor": [10]}) == "NO?"


def test_each_must_counts_and_then_each_aim(goals: Any) -> None:
    fast = metric(goals, goals.Goal("floor", 0.5, 0.8), goals.Goal("client-go", 4, 8))
    assert goals.verdict(fast, {"kcpctl": [9], "floor": [10], "client-go": [1]}) == "aim"
    assert goals.verdict(fast, {"kcpctl": [9], "floor": [10], "client-go": [2]}) == "must"
    assert goals.verdict(fast, {"kcpctl": [9], "floor": [10], "client-go": [3]}) == "NO"


def test_less_is_better_for_memory_and_time(goals: Any) -> None:
    small = metric(goals, goals.Goal("", 5400, 4000), lower_is_better=True)
    assert goals.verdict(small, {"kcpctl": [3999]}) == "aim"
    assert goals.verdict(small, {"kcpctl": [4001]}) == "must"
    assert goals.verdict(small, {"kcpctl": [5401]}) == "NO"


def test_what_is_good_enough_needs_no_ratio(goals: Any) -> None:
    late = metric(goals, goals.Goal("floor", 3, enough=2), lower_is_better=True)
    assert goals.verdict(late, {"kcpctl": [1.9], "floor": [0.1]}) == "aim"
    assert goals.verdict(late, {"kcpctl": [2.1], "floor": [0.1]}) == "NO"


def test_ratios_are_taken_within_a_round(goals: Any) -> None:
    # A ratio of medians would say 1.
    assert goals.ratios([10, 20, None, 5], [5, 10, 7]) == [2, 2]


def test_the_best_peer_is_a_python_client_and_the_best_at_this(goals: Any) -> None:
    samples = {"kcpctl": [9], "floor": [99], "client-go": [50], "a": [3, 5], "b": [4.5, None]}
    fast = metric(goals, goals.Goal("peer", 1.5))
    assert goals.best_peer(fast, samples) == "b"
    assert goals.best_peer(metric(goals, lower_is_better=True), samples) == "a"
    assert goals.best_peer(fast, {"kcpctl": [9], "floor": [99]}) is None
    assert goals.verdict(fast, samples) == "aim"


def test_a_row_shows_medians_ratios_and_bounds_in_the_metrics_unit(goals: Any) -> None:
    small = metric(
        goals,
        goals.Goal("", 5400),
        goals.Goal("client-go typed", 1),
        lower_is_better=True,
        unit=" KB",
        scale=1000,
    )
    samples = {"kcpctl": [3000, 4000, 5000], "client-go typed": [8000, 8000]}
    assert goals.row(small, samples) == [
        *("speed", "4.00 KB ±25%", "-", "- / 8.00 KB", "-"),
        *("0.44x client-go typed (0.38-0.50)", "<= 5.4 KB, <= 1x client-go typed", "-", "aim"),
    ]


def test_the_table_has_a_row_for_each_metric_whatever_was_measured(goals: Any) -> None:
    assert len(goals.markdown({}).splitlines()) == 2 + len(goals.METRICS)
