#!/usr/bin/env python3
"""Measures kcpctl beside others, and prints one table of what is asked of it. Linux only.

    hack/bench/table.py [--harness DIR] [--rounds 5] [--quick] [--only PART]
                        [--json FILE] [--into docs/numbers.md]

The informers' rows need a harness: a folder with ``run.py``, ``peers/`` and a list/watch server
that ``hack/bench/informer.py`` is a runner for. Without it, and for each peer that is not
installed, the figures are left out, and a line below the table says so. All runs use the Python
that runs this, so both kcpctl's and the peers' packages belong there. A round runs everything
once, one after the other; keep the machine quiet: about 10 minutes for 5 rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import goals

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYTHON_PEERS = ("lightkube", "informer")
GO_PEERS = ("client-go-1cpu", "client-go-typed-1cpu")
# Never the best at anything, and half a minute a run: measured in the first round only.
SLOW_PEERS = ("kopf-noindex",)
# What the harness calls them, and what we do.
NAMES = {
    "limit-meta1": goals.FLOOR,
    "client-go-1cpu": goals.DYNAMIC,
    "client-go-typed-1cpu": goals.TYPED,
    "kopf-noindex": "kopf",
}
# Columns of the harness, and what the metric is called.
FIELDS = {
    "sync_obj_s": "sync",
    "rss_per_obj": "memory",
    "ev_s": "events",
    "rec_s": "reconciles",
    "rlat_p50_ms": "latency p50",
    "rlat_p99_ms": "latency p99",
    "sync_cpu_s": "sync CPU",
    "ev_cpu_us": "event CPU",
    "rec_cpu_us": "reconcile CPU",
}
# It handles about 6,000 events a second: the harness's own number would take a minute.
CLIENT_GO_EVENTS = 15_000
TIMEOUT_SECONDS = 900
MARKS = ("<!-- table.py -->", "<!-- end of table.py -->")


class UnmeasuredError(Exception):
    """A program did not give its figures; the message has the end of its complaints."""


class Figures:
    """The samples of all metrics, the harness's rows, and who was left out and why."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.samples: dict[str, dict[str, list[float | None]]] = defaultdict(dict)
        self.left_out: dict[str, str] = {}

    def put(self, metric: str, who: str, number: int, value: object) -> None:
        """Note the figure of a round; rounds without one stay None."""
        figures = self.samples[metric].setdefault(who, [])
        figures.extend([None] * (number + 1 - len(figures)))
        if isinstance(value, int | float):
            figures[number] = float(value)

    def leave_out(self, who: str, reason: str) -> None:
        self.left_out.setdefault(who, (reason.strip().splitlines() or ["no reason"])[-1][:200])


def say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def run(*command: object, **environment: str) -> str:
    """Return what a Python program prints; raises UnmeasuredError if it fails."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    try:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnmeasuredError(f"took more than {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        raise UnmeasuredError(done.stderr or done.stdout or "no output")
    return done.stdout


def last_json(text: str) -> dict[str, Any]:
    """Return the object that the last line of a program's output is."""
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


class Informers:
    """The informers' rows, by a harness."""

    def __init__(self, directory: Path, figures: Figures, *, quick: bool) -> None:
        self.directory = directory
        self.figures = figures
        self.latency = ("--lat-secs", "1" if quick else "3")
        self.count = 2000 if quick else 10_000
        self.sizes = (1000, 20_000 if quick else 100_000)
        self.slow = () if quick else SLOW_PEERS

    def round(self, number: int) -> None:
        """Measure everybody once."""
        python = ("kcpctl", "limit-meta1", *PYTHON_PEERS, *(() if number else self.slow))
        go = ("--events", CLIENT_GO_EVENTS, *self.latency)
        rows = self.rows(python, self.count, *self.latency) + self.rows(GO_PEERS, self.count, *go)
        for row in rows:
            for field, metric in FIELDS.items():
                self.figures.put(metric, row["who"], number, row.get(field))
        self.growth(number)
        self.compact(number)

    def growth(self, number: int) -> None:
        """Measure the sync of few and of many objects; one of few is too short to be judged."""
        few, many = self.sizes
        for who, size, times in ((goals.BASE, few, 3), (goals.OURS, many, 1)):
            rows = self.rows(("kcpctl",) * times, size, "--phases", "sync")
            if rates := [row["sync_obj_s"] for row in rows]:
                self.figures.put("sync at 100,000", who, number, statistics.median(rates))

    def compact(self, number: int) -> None:
        """Measure the memory of the compact mode."""
        if "compact mode" in self.figures.left_out:
            return
        command = (
            HERE / "informer.py",
            "--variant",
            "compact",
            "--n",
            self.count,
            "--phases",
            "sync",
        )
        try:
            row = last_json(run(*command, BENCH_HARNESS=str(self.directory / "peers")))
        except UnmeasuredError as error:
            self.figures.leave_out("compact mode", str(error))
        else:
            self.figures.put("compact memory", goals.OURS, number, row["rss_per_obj"])

    def rows(self, peers: Sequence[str], count: int, *options: object) -> list[dict[str, Any]]:
        """Return a row, with ``who``, for each of those that have not failed yet."""
        names = {peer: NAMES.get(peer, peer) for peer in peers}
        wanted = [peer for peer in peers if names[peer] not in self.figures.left_out]
        if not wanted:
            return []
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory, "rows")
            runner = ("--runner", f"kcpctl={HERE / 'informer.py'}", "--peers", ",".join(wanted))
            sizes = ("--n", count, "--runs", 1, "--out", out)
            run(self.directory / "run.py", *runner, *sizes, *options)
            found = [json.loads(line) for line in out.read_text().splitlines()]
        good = []
        for row in found:
            row["who"] = names[row["short"]]
            self.figures.rows.append(row)
            if row.get("error"):
                self.figures.leave_out(row["who"], row["error"])
            else:
                good.append(row)
            figures = (
                f"{field} {row[field]:,.0f}"
                for field in ("sync_obj_s", "ev_s", "rec_s")
                if row.get(field)
            )
            say(f"{row['who']}, {count:,} objects: {', '.join(figures) or 'failed'}")
        return good


def informer_rows(figures: Figures, arguments: argparse.Namespace) -> None:
    if arguments.harness is None:
        figures.leave_out("informers", "no --harness given")
        return
    informers = Informers(arguments.harness.resolve(), figures, quick=arguments.quick)
    for number in range(arguments.rounds):
        say(f"informers, round {number + 1} of {arguments.rounds}")
        informers.round(number)


def queue_rows(figures: Figures, arguments: argparse.Namespace) -> None:
    """Measure the work queue; its program does the rounds."""
    # A round takes three seconds, and the figures of several threads differ from one to the next.
    rounds = 1 if arguments.quick else 2 * arguments.rounds + 1
    rates = last_json(run(HERE / "queue.py", "--rounds", rounds, "--json"))
    many, backlog = "1 + 4 threads", "100,000 keys of 1,000 clusters"
    pairs = {
        "queue 1": ("fifo, 1 thread", "queue.Queue, 1 thread"),
        "queue 1 + 4": (f"fifo, {many}", f"queue.Queue, {many}"),
        "fair 1": ("fair + metrics, 1 thread", "fifo, 1 thread"),
        "fair 1 + 4": (f"fair + metrics, {many}", f"fifo, {many}"),
        "delayed": ("add_after", "loop.call_later"),
    }
    for metric, (ours, base) in pairs.items():
        figures.samples[metric] = {goals.OURS: rates[ours], goals.BASE: rates[base]}
    figures.samples["fair backlog"] = {
        who: [100_000 / rate for rate in rates[f"{name}, {backlog}"]]
        for who, name in ((goals.OURS, "fair"), (goals.BASE, "fifo"))
    }
    figures.samples["quiet wait"] = {goals.OURS: rates["quiet wait, fair"]}


def watch_rows(figures: Figures, arguments: argparse.Namespace) -> None:
    """Measure idle watches, once: memory does not depend on how busy the machine is."""
    count = 500 if arguments.quick else 5000
    for metric, options in (("idle watch", ()), ("idle watch, TLS", ("--tls",))):
        row = last_json(run(HERE / "watches.py", "--count", count, *options))
        figures.put(metric, goals.OURS, 0, row["kb_per_watch"] * 1024)


PARTS: dict[str, Callable[[Figures, argparse.Namespace], None]] = {
    "queue": queue_rows,
    "watches": watch_rows,
    "informers": informer_rows,
}


def result(figures: Figures, arguments: argparse.Namespace, seconds: float) -> str:
    """Return the table, and below it who was left out and how it was measured."""
    parts = [goals.markdown(figures.samples)]
    parts += [f"Left out: {who} ({reason})" for who, reason in figures.left_out.items()]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    parts.append(
        f"{arguments.rounds} rounds in {seconds:.0f} s, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load at the end {load}"
    )
    return "\n\n".join(parts)


def replace_table(file: Path, text: str) -> None:
    """Put the result in the place of the last one, between the two marks."""
    before, _, rest = file.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    file.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--harness", type=Path, metavar="DIR", help="what brings peers and server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, less of everything")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep each round's figures")
    parser.add_argument("--into", type=Path, metavar="FILE", help="replace the table in a document")
    arguments = parser.parse_args()
    if arguments.into and any(mark not in arguments.into.read_text() for mark in MARKS):
        parser.error(f"{arguments.into} lacks the marks {' and '.join(MARKS)}")
    if arguments.quick:
        arguments.rounds = 1
    figures = Figures()
    began = time.monotonic()
    for name in arguments.only or PARTS:
        say(name)
        try:
            PARTS[name](figures, arguments)
        except UnmeasuredError as error:
            figures.leave_out(name, str(error))
    text = result(figures, arguments, time.monotonic() - began)
    print(text)
    if arguments.into:
        replace_table(arguments.into, text)
    if arguments.json:
        kept = {"samples": figures.samples, "rows": figures.rows, "left out": figures.left_out}
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
