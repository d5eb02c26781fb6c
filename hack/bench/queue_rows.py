"""The rows of hack/bench/queue.py.

Each round runs every row once, one after the other, so that a noisy minute hits all of them. A
rate is the median of the rounds, a ratio the median of the rounds' own ratios with their range.
Rows of one thread are measured in CPU time, so that they are worth something on a busy machine;
those of several threads in real time, because what they cost is waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kcpctl.runtime import Metrics
from kcpctl.workqueue import (
    DelayingQueue,
    Fair,
    Ordering,
    QueueMetrics,
    RateLimitingQueue,
    ShutDown,
)

KEYS = 30_000
ALL_KEYS = [f"c{index % 1000}|default/object-{index}" for index in range(100_000)]
CONSUMERS = 4
NOISY = 50_000
REMOVED = 20


@dataclass(frozen=True)
class Verbs:
    """What the two kinds of queue are called by; ``end`` lets the consumers go."""

    add: Callable[[str], None]
    get: Callable[[], str]
    done: Callable[[str], None]
    end: Callable[[], None]


def standard() -> Verbs:
    made: queue.Queue[str] = queue.Queue()

    def end() -> None:
        for _ in range(CONSUMERS):
            made.put("")

    return Verbs(made.put, made.get, lambda _: made.task_done(), end)


def ours(ordering: Ordering[str] | None = None, *, metrics: bool = False) -> Verbs:
    made: RateLimitingQueue[str] = RateLimitingQueue(
        "bench", ordering=ordering, metrics=QueueMetrics(Metrics(), "bench") if metrics else None
    )
    return Verbs(made.add, made.get, made.done, made.shut_down)


def one_thread(verbs: Verbs) -> float:
    """Add, get, done of one key after the other; cycles per second."""
    add, get, done = verbs.add, verbs.get, verbs.done
    began = time.process_time()
    for key in ALL_KEYS[:KEYS]:
        add(key)
        done(get())
    return KEYS / (time.process_time() - began)


def consume(verbs: Verbs, note: Callable[[str], None]) -> None:
    while True:
        try:
            key = verbs.get()
        except ShutDown:
            return
        if key:
            note(key)
        verbs.done(key)
        if not key:
            return


def start_consumers(verbs: Verbs, note: Callable[[str], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=consume, args=(verbs, note)) for _ in range(CONSUMERS)]
    for thread in threads:
        thread.start()
    return threads


def many_threads(verbs: Verbs) -> float:
    """One producer and four consumers; keys per second until the last one is done."""
    seen: list[str] = []
    threads = start_consumers(verbs, seen.append)
    began = time.perf_counter()
    for key in ALL_KEYS[:KEYS]:
        verbs.add(key)
    verbs.end()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    assert len(seen) == KEYS, f"{len(seen)} of {KEYS} keys came out"
    return KEYS / seconds


def whole_backlog(verbs: Verbs) -> float:
    """100,000 keys of 1,000 clusters in, then all of them out; keys per second."""
    began = time.process_time()
    for key in ALL_KEYS:
        verbs.add(key)
    for _ in ALL_KEYS:
        verbs.done(verbs.get())
    return len(ALL_KEYS) / (time.process_time() - began)


def removals(ordering: Ordering[str] | None = None) -> float:
    """Clusters a second that go, each with 100 queued keys and 100 waiting ones of 100,000."""
    made: RateLimitingQueue[str] = RateLimitingQueue("bench", ordering=ordering)
    for key in ALL_KEYS:
        made.add(key)
        made.add_after(f"{key}-later", 60)
    began = time.process_time()
    for number in range(REMOVED):
        made.remove_cluster(f"c{number}")
    return REMOVED / (time.process_time() - began)


def delayed_adds() -> float:
    made: DelayingQueue[str] = DelayingQueue()
    began = time.process_time()
    for index, key in enumerate(ALL_KEYS):
        made.add_after(key, 60 + index % 977)
    return len(ALL_KEYS) / (time.process_time() - began)


def timers() -> float:
    """The same with ``loop.call_later`` for each key."""

    async def run() -> float:
        loop = asyncio.get_running_loop()
        began = time.process_time()
        handles = [
            loop.call_later(60 + index % 977, ALL_KEYS.index, key)
            for index, key in enumerate(ALL_KEYS)
        ]
        seconds = time.process_time() - began
        for handle in handles:
            handle.cancel()
        return len(ALL_KEYS) / seconds

    return asyncio.run(run())


def quiet_wait(ordering: Ordering[str] | None) -> float:
    """p99 seconds from add to get of a quiet cluster's keys while another adds 50,000."""
    verbs = ours(ordering, metrics=True)
    added: dict[str, float] = {}
    waits: list[float] = []

    def note(key: str) -> None:
        if key in added:
            waits.append(time.perf_counter() - added[key])

    def trickle() -> None:
        for index in range(200):
            added[f"quiet|{index}"] = time.perf_counter()
            verbs.add(f"quiet|{index}")
            time.sleep(0.001)

    threads = start_consumers(verbs, note)
    quiet = threading.Thread(target=trickle)
    quiet.start()
    for index in range(NOISY):
        verbs.add(f"noisy|{index}")
    quiet.join()
    verbs.end()
    for thread in threads:
        thread.join()
    return statistics.quantiles(waits, n=100)[98]


def limited() -> Verbs:
    return ours(Fair(max_per_cluster=CONSUMERS - 1), metrics=True)


def fair() -> Verbs:
    return ours(Fair(), metrics=True)


ROWS: dict[str, Callable[[], float]] = {
    "queue.Queue, 1 thread": lambda: one_thread(standard()),
    "fifo, 1 thread": lambda: one_thread(ours()),
    "fifo + metrics, 1 thread": lambda: one_thread(ours(metrics=True)),
    "fair + metrics, 1 thread": lambda: one_thread(fair()),
    "fair + limit + metrics, 1 thread": lambda: one_thread(limited()),
    "queue.Queue, 1 + 4 threads": lambda: many_threads(standard()),
    "fifo, 1 + 4 threads": lambda: many_threads(ours()),
    "fifo + metrics, 1 + 4 threads": lambda: many_threads(ours(metrics=True)),
    "fair + metrics, 1 + 4 threads": lambda: many_threads(fair()),
    "fair + limit + metrics, 1 + 4 threads": lambda: many_threads(limited()),
    "fifo, 100,000 keys of 1,000 clusters": lambda: whole_backlog(ours()),
    "fair, 100,000 keys of 1,000 clusters": lambda: whole_backlog(ours(Fair())),
    "remove_cluster, fifo": removals,
    "remove_cluster, fair": lambda: removals(Fair()),
    "loop.call_later": timers,
    "add_after": delayed_adds,
}
# Row, what it is divided by, must, aim.
RATIOS = [
    ("fifo, 1 thread", "queue.Queue, 1 thread", ">= 0.75", "2"),
    ("fifo, 1 + 4 threads", "queue.Queue, 1 + 4 threads", ">= 1.0", "5"),
    ("fifo + metrics, 1 thread", "fifo, 1 thread", "", ""),
    ("fair + metrics, 1 thread", "fifo, 1 thread", ">= 0.5", "0.8"),
    ("fair + limit + metrics, 1 thread", "fifo, 1 thread", "", ""),
    ("fifo + metrics, 1 + 4 threads", "fifo, 1 + 4 threads", "", ""),
    ("fair + metrics, 1 + 4 threads", "fifo, 1 + 4 threads", ">= 0.5", "0.8"),
    ("fair + limit + metrics, 1 + 4 threads", "fifo, 1 + 4 threads", "", ""),
    ("fair + metrics, 1 thread", "queue.Queue, 1 thread", "", ""),
    ("fair + metrics, 1 + 4 threads", "queue.Queue, 1 + 4 threads", "", ""),
    ("remove_cluster, fair", "remove_cluster, fifo", "", ""),
    ("add_after", "loop.call_later", ">= 1.1", "1.6"),
    (
        "fair, 100,000 keys of 1,000 clusters",
        "fifo, 100,000 keys of 1,000 clusters",
        ">= 0.67",
        "0.87",
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the work queue.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--json", action="store_true", help="print each row's figures, one a round, as JSON"
    )
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    waits: dict[str, list[float]] = {"fifo": [], "fair": []}
    for _ in range(arguments.rounds):
        for name, run in ROWS.items():
            rates[name].append(run())
        waits["fifo"].append(quiet_wait(None))
        waits["fair"].append(quiet_wait(Fair()))
    if arguments.json:
        print(json.dumps(rates | {f"quiet wait, {name}": found for name, found in waits.items()}))
    else:
        print_table(rates, waits)


def print_table(rates: dict[str, list[float]], waits: dict[str, list[float]]) -> None:
    print("| row | per second | divided by | ratio | must | aim |\n|---|---|---|---|---|---|")
    for name, base, must, aim in RATIOS:
        ratios = [ours / theirs for ours, theirs in zip(rates[name], rates[base], strict=True)]
        print(
            f"| {name} | {statistics.median(rates[name]):,.0f} | {base} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
            f"{must} | {aim} |"
        )
    for name, seconds in waits.items():
        limits = "< 1 s | < 100 ms" if name == "fair" else "|"
        print(
            f"| p99 wait of a quiet cluster, {name} | {statistics.median(seconds) * 1e3:.1f} ms "
            f"({max(seconds) * 1e3:.1f} at most) | | | {limits} |"
        )
