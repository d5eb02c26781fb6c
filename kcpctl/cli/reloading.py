"""Following the changes of the ``--config`` file while the controllers run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kcpctl.cli.config_file import ConfigFile
from kcpctl.errors import UsageError
from kcpctl.runtime import SYSTEM_CLOCK, BlockingPool, Clock, IOLoop, TaskSet, get_logger

__all__ = ["Reloader"]

_log = get_logger(__name__)

# Looked at and not watched: a ConfigMap's files are links that are exchanged as a whole, and take
# a minute to arrive anyway.
_INTERVAL_SECONDS: Final = 10.0


class Reloader:
    """Looks at the file every 10 seconds and takes what can change while everything runs.

    ``take`` has the parameters that can, each with what is called with its new value. Of the others
    one log line says that they need a restart, and again when they change again. What the command
    line or the environment decides stays. A file with an error is told once, and changes nothing.

    ``start`` and ``close`` block and belong on any thread but the I/O thread.
    """

    def __init__(
        self,
        file: ConfigFile,
        io_loop: IOLoop,
        take: Mapping[str, Callable[[Any], None]],
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._file = file
        self._io_loop = io_loop
        self._take = take
        self._clock = clock
        self._started_with = file.values
        self._tasks = TaskSet("configuration file")
        self._threads = BlockingPool("kcpctl-config", threads=1)

    def start(self) -> None:
        """Begin to look at the file."""
        self._io_loop.run(self._begin())

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._io_loop.run(self._tasks.close())
        self._threads.close()

    async def _begin(self) -> None:
        self._tasks.spawn(self._follow(), name="follow")

    async def _follow(self) -> None:
        told = ""
        while True:
            await self._clock.asleep(_INTERVAL_SECONDS)
            before, problem = self._file.values, ""
            try:
                if await self._threads.run(self._file.reread):
                    self._changed(before)
            except UsageError as error:
                problem = str(error)
            if problem and problem != told:
                _log.error("Configuration not taken", error=problem)
            told = problem

    def _changed(self, before: Mapping[str, str]) -> None:
        file, after = self._file, self._file.values
        names = sorted(
            name
            for name in {*before, *after}
            if before.get(name) != after.get(name) and file.decides(name)
        )
        for name in names:
            if name in self._take:
                self._take[name](file.value(name))
        taken = [name for name in names if name in self._take]
        left = [
            name
            for name in names
            if name not in self._take and after.get(name) != self._started_with.get(name)
        ]
        if names:
            _log.info(
                "Configuration changed",
                taken=",".join(map(file.key, taken)),
                needs_restart=",".join(map(file.key, left)),
            )
