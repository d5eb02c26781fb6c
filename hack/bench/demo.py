#!/usr/bin/env python3
"""Measures the demo: time to Ready, memory of each process, requests at rest. Linux only.

    hack/bench/demo.py [--runs 5] [--rest 120]

Times are of the whole process, from its start; memory is what /proc says (RSS, and PSS where the
pages that processes share are divided among them).
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, Client, load_config
from kcpctl.runtime import Child, IOLoop
from kcpctl.testing import eventually

COMMAND = [sys.executable, "-m", "kcpctl", "run-controllers", "--embedded", "--demo"]


def time_to_ready(runs: int) -> list[float]:
    """Return the seconds until all is Ready, of each run after one that warms the disk up."""
    seconds = []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(runs + 1):
            done = subprocess.run(
                [*COMMAND, "--exit-when-ready"],
                cwd=directory,
                capture_output=True,
                text=True,
                check=True,
            )
            found = re.search(r"([\d.]+)s  kcpctl +everything is ready", done.stdout)
            assert found, done.stdout
            seconds.append(float(found[1]))
    return seconds[1:]


def family(root: int) -> dict[int, str]:
    """Return the descendants of a process with a short name for each."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    names = {}
    for pid in sorted(found):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "kcpctl" in words:
            kind = words[words.index("kcpctl") + 1]
            detail = re.search(r"/(\w+)/kubeconfig|--sync-target-name=(\w+)", " ".join(words))
            names[pid] = f"{kind} {detail[1] or detail[2] if detail else ''}".strip()
    return names


def memory_mib(pid: int) -> tuple[float, float]:
    """Return RSS and PSS."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    figures = dict(re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE))
    return int(figures["Rss"]) / 1024, int(figures["Pss"]) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def requests(metrics_url: str) -> float:
    """Return how many requests the controllers have made upstream.

    Probes are not among them: one for each cluster every 10 s.
    """
    with urllib.request.urlopen(metrics_url + "/metrics") as answer:
        text = answer.read().decode()
    return sum(
        float(n)
        for n in re.findall(r"^rest_client_requests_total\{.*\} (\S+)$", text, re.MULTILINE)
    )


def at_rest(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        with log.open("wb") as output:
            child = Child(COMMAND, env=os.environ, output=output, cwd=Path(directory))
        try:
            eventually(lambda: "everything is ready" in log.read_text(), timeout_seconds=60)
            found = re.search(r"metrics (http://\S+)", log.read_text())
            assert found, log.read_text()
            observe(child.pid, found[1], Path(directory, ".kcpctl/kubeconfig"), seconds)
        finally:
            child.close()


def observe(pid: int, metrics_url: str, kubeconfig: Path, seconds: float) -> None:
    with IOLoop() as loop:
        client = Client(AsyncClient.plain(load_config(kubeconfig)), loop)
        targets = client.resource(SYNCTARGETS)
        time.sleep(15)  # until what the start has set off is over
        members = family(pid)
        before = requests(metrics_url), {one: cpu_seconds(one) for one in members}
        events = 0
        version = targets.list().resource_version
        end = time.monotonic() + seconds

        async def count() -> int:
            seen = 0
            watch = client.aio.resource(SYNCTARGETS).watch(
                resource_version=version, timeout_seconds=int(seconds)
            )
            async for _ in watch:
                seen += 1
            return seen

        events = loop.run(count())
        time.sleep(max(end - time.monotonic(), 0))
        minutes = seconds / 60
        made = requests(metrics_url) - before[0]
        print(f"\nat rest for {seconds:.0f} s, 2 SyncTargets:")
        print(f"  requests of the controllers    {made / minutes:6.1f} a minute, upstream")
        print(f"  writes to SyncTargets          {events / minutes:6.1f} a minute (heartbeats)")
        print(f"\n{'process':24} {'RSS MiB':>8} {'PSS MiB':>8} {'CPU % of a core':>16}")
        for one, name in members.items():
            rss, pss = memory_mib(one)
            busy = (cpu_seconds(one) - before[1][one]) / seconds * 100
            print(f"{name:24} {rss:8.1f} {pss:8.1f} {busy:16.2f}")
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rest", type=float, default=120, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.runs:
        seconds = time_to_ready(arguments.runs)
        print(
            f"process start to all Ready: median {statistics.median(seconds):.1f} s, "
            f"{min(seconds):.1f} to {max(seconds):.1f} s in {len(seconds)} runs"
        )
    if arguments.rest:
        at_rest(arguments.rest)


if __name__ == "__main__":
    main()
