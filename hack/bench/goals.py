"""What the benchmark asks of kcpctl, and how its figures are judged. No I/O; see table.py.

Figures come as ``samples``: for each metric and whoever was measured one figure a round, None for
a round without. A ratio is taken within each round and its median judged, so that a noisy minute,
which hits everybody, counts little.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OURS = "kcpctl"
FLOOR = "floor"
DYNAMIC = "client-go"
TYPED = "client-go typed"
PEER = "peer"
"""In a goal: whichever Python peer is the best at this metric."""
BASE = "base"
"""What the metric itself names, for example queue.Queue or the same without metrics."""
ABSOLUTE = ""
"""In a goal: the figure itself."""
NOT_PEERS = {OURS, FLOOR, DYNAMIC, TYPED, BASE}

Figures = Sequence[float | None]
Samples = Mapping[str, Figures]


@dataclass(frozen=True)
class Goal:
    """A bound for the ratio to somebody (or the figure itself) that must, or should, be kept.

    Without either the ratio is only shown. ``enough`` is a figure that meets the must whatever the
    ratio is.
    """

    against: str
    must: float | None = None
    aim: float | None = None
    enough: float | None = None


@dataclass(frozen=True)
class Metric:
    """A row. ``unit`` is shown behind figures, which are shown divided by ``scale``."""

    key: str
    title: str
    goals: tuple[Goal, ...]
    lower_is_better: bool = False
    unit: str = ""
    scale: float = 1
    base: str = ""
    """What the base is, for the column of peers."""

    def keeps(self, value: float, bound: float) -> bool:
        return value <= bound if self.lower_is_better else value >= bound

    def best(self, values: Sequence[float]) -> float:
        return min(values) if self.lower_is_better else max(values)


METRICS = (
    Metric(
        "sync",
        "initial sync, objects/s",
        (
            Goal(DYNAMIC, 4, 8),
            Goal(TYPED, None, 4),
            Goal(PEER, 2.5),
            Goal(FLOOR, 0.5, 0.75),
        ),
    ),
    Metric(
        "sync at 100,000",
        "the same at N = 100,000, relative to N = 1,000",
        (Goal(BASE, 0.8, 0.9),),
        base="N = 1,000",
    ),
    Metric(
        "memory",
        "RSS per cached object",
        (Goal(ABSOLUTE, 5400, 4000), Goal(TYPED, 1)),
        lower_is_better=True,
        unit=" KB",
        scale=1000,
    ),
    Metric(
        "compact memory",
        "the same in compact mode",
        (Goal(ABSOLUTE, None, 1400),),
        lower_is_better=True,
        unit=" KB",
        scale=1000,
    ),
    Metric(
        "events",
        "watch events/s, one handler",
        (Goal(PEER, 2), Goal(DYNAMIC, 5), Goal(FLOOR, None, 0.6)),
    ),
    Metric(
        "reconciles",
        "no-op reconciles/s, dedupe, 4 threads, fair, metrics on",
        (Goal(PEER, 1.5), Goal(DYNAMIC, 2), Goal(TYPED, 2), Goal(FLOOR, None, 0.4)),
    ),
    Metric(
        "latency p50",
        "emit to reconcile start at 1,000/s, p50",
        (Goal(FLOOR, 2), Goal(ABSOLUTE, None, 0.2)),
        lower_is_better=True,
        unit=" ms",
    ),
    Metric(
        "latency p99",
        "the same, p99",
        (Goal(FLOOR, 3, enough=2), Goal(ABSOLUTE, None, 0.6)),
        lower_is_better=True,
        unit=" ms",
    ),
    Metric(
        "sync CPU",
        "CPU time until synced",
        (Goal(DYNAMIC), Goal(TYPED), Goal(PEER), Goal(FLOOR)),
        lower_is_better=True,
        unit=" ms",
        scale=0.001,
    ),
    Metric(
        "event CPU",
        "CPU time of an event",
        (Goal(DYNAMIC), Goal(TYPED), Goal(PEER), Goal(FLOOR)),
        lower_is_better=True,
        unit=" µs",
    ),
    Metric(
        "reconcile CPU",
        "CPU time of an event and its reconcile",
        (Goal(DYNAMIC), Goal(TYPED), Goal(PEER), Goal(FLOOR)),
        lower_is_better=True,
        unit=" µs",
    ),
    Metric(
        "queue 1",
        "queue cycles/s, 1 thread",
        (Goal(BASE, 0.75, 2),),
        base="queue.Queue",
    ),
    Metric(
        "queue 1 + 4",
        "queue cycles/s, 1 producer + 4 consumers",
        (Goal(BASE, 1, 5),),
        base="queue.Queue",
    ),
    Metric(
        "fair 1",
        "fair ordering and metrics on, 1 thread",
        (Goal(BASE, 0.5, 0.8),),
        base="fifo, no metrics",
    ),
    Metric(
        "fair 1 + 4",
        "fair ordering and metrics on, 1 + 4",
        (Goal(BASE, 0.5, 0.8),),
        base="fifo, no metrics",
    ),
    Metric(
        "delayed",
        "delayed adds/s",
        (Goal(BASE, 1.1, 1.6),),
        base="loop.call_later",
    ),
    Metric(
        "idle watch",
        "memory per idle watch, plain TCP",
        (Goal(ABSOLUTE, 20_000, 8_000),),
        lower_is_better=True,
        unit=" KB",
        scale=1000,
    ),
    Metric(
        "idle watch, TLS",
        "memory per idle watch, TLS",
        (Goal(ABSOLUTE, 90_000, 70_000),),
        lower_is_better=True,
        unit=" KB",
        scale=1000,
    ),
    Metric(
        "quiet wait",
        "p99 wait of a quiet cluster's key while another adds 50,000",
        (Goal(ABSOLUTE, 1, 0.1),),
        lower_is_better=True,
        unit=" ms",
        scale=0.001,
    ),
    Metric(
        "fair backlog",
        "seconds for 100,000 keys of 1,000 clusters, fair",
        (Goal(BASE, 1.5, 1.15),),
        lower_is_better=True,
        unit=" s",
        base="fifo",
    ),
)


def median(figures: Figures) -> float | None:
    """Return the median of what there is."""
    there = [figure for figure in figures if figure is not None]
    return statistics.median(there) if there else None


def best_peer(metric: Metric, samples: Samples) -> str | None:
    """Return the Python peer with the best median, or None when none was measured."""
    medians = {
        who: middle
        for who, figures in samples.items()
        if who not in NOT_PEERS and (middle := median(figures)) is not None
    }
    wanted = metric.best(list(medians.values())) if medians else None
    return next((who for who, middle in medians.items() if middle == wanted), None)


def ratios(ours: Figures, theirs: Figures) -> list[float]:
    """Return the ratio of each round that has both."""
    return [
        one / other
        for one, other in zip(ours, theirs, strict=False)
        if one is not None and other is not None and other > 0
    ]


def against(metric: Metric, goal: Goal, samples: Samples) -> list[float]:
    """Return what the goal bounds, one figure a round."""
    ours = samples.get(OURS, ())
    if goal.against == ABSOLUTE:
        return [figure for figure in ours if figure is not None]
    who = best_peer(metric, samples) if goal.against == PEER else goal.against
    return ratios(ours, samples.get(who or "", ()))


def verdict(metric: Metric, samples: Samples) -> str:
    """Return ``aim`` or ``must`` for what is met, ``NO`` for a missed must, ``-`` for nothing.

    A question mark behind it says that somebody to compare with was not measured.
    """
    bounds = [goal for goal in metric.goals if goal.must is not None or goal.aim is not None]
    if not bounds or median(samples.get(OURS, ())) is None:
        return "-"
    unknown = must_missed = aim_missed = False
    for goal in bounds:
        found = median(against(metric, goal, samples))
        if found is None:
            unknown = True
            continue
        if goal.must is not None and not metric.keeps(found, goal.must):
            ours = median(samples[OURS])
            good = goal.enough is not None and ours is not None and ours <= goal.enough
            must_missed = must_missed or not good
        if goal.aim is not None and not metric.keeps(found, goal.aim):
            aim_missed = True
    word = "NO" if must_missed else "must" if aim_missed else "aim"
    return word + ("?" if unknown else "")


def figure(metric: Metric, figures: Figures) -> str:
    """Return the median with its spread (half of the range)."""
    middle = median(figures)
    if middle is None:
        return "-"
    there = [one for one in figures if one is not None]
    spread = (max(there) - min(there)) / 2 / middle if middle else 0
    return number(middle / metric.scale) + metric.unit + (f" ±{spread:.0%}" if spread else "")


def number(value: float) -> str:
    """Return three digits or more of a number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 20 else f"{value:.2f}"


def bounds_text(metric: Metric, which: str) -> str:
    """Return the musts or the aims as text."""
    sign = "<=" if metric.lower_is_better else ">="
    words = []
    for goal in metric.goals:
        bound = goal.must if which == "must" else goal.aim
        if bound is None:
            continue
        if goal.against == ABSOLUTE:
            words.append(f"{sign} {bound / metric.scale:g}{metric.unit}")
            continue
        text = f"{bound:g}x {metric.base if goal.against == BASE else goal.against}"
        if which == "must" and goal.enough is not None:
            text = f"max({goal.enough / metric.scale:g}{metric.unit}, {text})"
        words.append(f"{sign} {text}")
    return ", ".join(words)


def ratio_text(metric: Metric, samples: Samples) -> str:
    """Return the median ratio to each of those the goals name, with its range."""
    words = []
    for goal in metric.goals:
        found = [] if goal.against == ABSOLUTE else against(metric, goal, samples)
        if found:
            who = best_peer(metric, samples) if goal.against == PEER else goal.against
            name = metric.base if goal.against == BASE else who
            span = f" ({min(found):.2f}-{max(found):.2f})" if len(found) > 1 else ""
            words.append(f"{statistics.median(found):.2f}x {name}{span}")
    return "; ".join(words)


COLUMNS = (
    *("metric", OURS, "best peer", "client-go dynamic / typed", FLOOR),
    *("ratio: median (range)", "must", "aim", "met"),
)


def row(metric: Metric, samples: Samples) -> list[str]:
    """Return the cells of a metric's row."""
    peer = BASE if metric.base else best_peer(metric, samples)
    name = metric.base or peer
    theirs = figure(metric, samples.get(peer or "", ()))
    go = [figure(metric, samples.get(who, ())) for who in (DYNAMIC, TYPED)]
    return [
        metric.title,
        figure(metric, samples.get(OURS, ())),
        "-" if theirs == "-" else f"{theirs} ({name})",
        "-" if go == ["-", "-"] else " / ".join(go),
        figure(metric, samples.get(FLOOR, ())),
        ratio_text(metric, samples) or "-",
        bounds_text(metric, "must") or "-",
        bounds_text(metric, "aim") or "-",
        verdict(metric, samples),
    ]


def markdown(samples: Mapping[str, Samples]) -> str:
    """Return the table."""
    rows = (row(metric, samples.get(metric.key, {})) for metric in METRICS)
    head, *body = ("| " + " | ".join(cells) + " |" for cells in (COLUMNS, *rows))
    return "\n".join((head, "|---" * len(COLUMNS) + "|", *body))
