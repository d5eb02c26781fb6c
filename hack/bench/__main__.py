"""Runs one of the measurements in this directory, with the options that follow.

python hack/bench --controllers [--quick ...]; see the file of that name for its options.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

MEASUREMENTS = ("controllers", "demo", "queue", "table", "watches")


def main() -> None:
    name = sys.argv[1].removeprefix("--") if len(sys.argv) > 1 else ""
    if name not in MEASUREMENTS:
        raise SystemExit(f"usage: python hack/bench --{'|--'.join(MEASUREMENTS)} [options]")
    path = str(Path(__file__).with_name(f"{name}.py"))
    sys.argv = [path, *sys.argv[2:]]
    runpy.run_path(path, run_name="__main__")


main()
