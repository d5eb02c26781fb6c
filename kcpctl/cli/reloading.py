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

    What changes together is taken together or, where ``check`` finds that it does not go with the
    rest, not at all. Of what cannot change one log line says that it needs a restart, and again
    when it changes again. What the command line or the environment decides stays. A file with an
    error is told once, and changes nothing.

    ``start`` and ``close`` block and belong on any thread but the I/O thread.

    Parameters
    ----------
    flags: the command's parameters as they are in force.
    check: raises UsageError for parameters that do not go together; may complete them.
    take: the parameters that can change, each with what is called with all of them, on the I/O
        thread, when it did. What several of them name is called once.
    """

    def __init__(
        self,
        file: ConfigFile,
        io_loop: IOLoop,
        flags: Mapping[str, Any],
        *,
        check: Callable[[dict[str, Any]], object],
        take: Mapping[str, Callable[[Mapping[str, Any]], object]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._file = file
        self._io_loop = io_loop
        self._flags = self._candidate = dict(flags)
        self._check = check
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
                if await self._threads.run(self._file.reread, self._check_candidate):
                    self._changed(before)
            except UsageError as error:
                problem = str(error)
            if problem and problem != told:
                _log.error("Configuration not taken", error=problem)
            told = problem

    def _check_candidate(self) -> None:
        file = self._file
        news = {name: file.value(name) for name in self._take if file.decides(name)}
        self._candidate = {**self._flags, **news}
        self._check(self._candidate)

    def _changed(self, before: Mapping[str, str]) -> None:
        file, after = self._file, self._file.values
        names = sorted(
            name
            for name in {*before, *after}
            if before.get(name) != after.get(name) and file.decides(name)
        )
        self._flags = self._candidate
        for call in dict.fromkeys(self._take[name] for name in names if name in self._take):
            call(self._flags)
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
