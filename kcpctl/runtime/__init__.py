"""The seams: time, randomness, threads, tasks, the I/O loop, processes, logs and metrics.

Whatever sleeps, waits, draws a random number, starts a thread, a task or a process does it through
this package, so that a whole system can run under virtual time and be replayed from a seed.
``tests/unit/test_seams.py`` bans the ways around it.
"""

from kcpctl.runtime.backoff import Backoff
from kcpctl.runtime.clock import (
    SYSTEM_CLOCK,
    Clock,
    SystemClock,
    format_micro_time,
    format_time,
    parse_time,
)
from kcpctl.runtime.deadline import Deadline
from kcpctl.runtime.entropy import SYSTEM_RANDOM, new_uid, random_suffix
from kcpctl.runtime.ioloop import IOLoop
from kcpctl.runtime.limit import Limit
from kcpctl.runtime.logging import Logger, get_logger, log_fields, set_log_fields
from kcpctl.runtime.metrics import Metrics
from kcpctl.runtime.process import Child, run_program, watch_parent
from kcpctl.runtime.tasks import TaskSet, gather_all
from kcpctl.runtime.threads import BlockingPool, ShortLock, start_thread

__all__ = [
    "SYSTEM_CLOCK",
    "SYSTEM_RANDOM",
    "Backoff",
    "BlockingPool",
    "Child",
    "Clock",
    "Deadline",
    "IOLoop",
    "Limit",
    "Logger",
    "Metrics",
    "ShortLock",
    "SystemClock",
    "TaskSet",
    "format_micro_time",
    "format_time",
    "gather_all",
    "get_logger",
    "log_fields",
    "new_uid",
    "parse_time",
    "random_suffix",
    "run_program",
    "set_log_fields",
    "start_thread",
    "watch_parent",
]
