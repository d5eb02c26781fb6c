#!/usr/bin/env python3
"""Measures the work queue beside queue.Queue and asyncio's timers; see queue_rows.py.

    hack/bench/queue.py [--rounds 9]

Python looks for modules beside a script first, so to its neighbours and itself this file hides
the standard library's ``queue``: whoever imports it gets that one.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    import queue_rows

    queue_rows.main()
else:
    standard = Path(sysconfig.get_path("stdlib"), "queue.py")
    spec = importlib.util.spec_from_file_location("queue", standard)
    assert spec
    assert spec.loader
    sys.modules["queue"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["queue"])
