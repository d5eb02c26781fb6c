"""Child processes that cannot outlive their parent.

The parent holds the writing end of a pipe; the child watches the reading end, whose number it
finds in its environment. When the parent ends, also by kill -9, the kernel closes the pipe and
the child sees the end of the file. That works on Linux and macOS and, unlike the kernel's
parent-death signal, does not depend on which thread started the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from kcpctl.runtime.threads import start_thread

__all__ = ["PARENT_FD_VARIABLE", "Child", "run_program", "watch_parent"]

PARENT_FD_VARIABLE = "KCPCTL_PARENT_FD"


class Child:
    """A running child process.

    Parameters
    ----------
    args: the command line.
    env: the whole environment of the child.
    output: a file that gets standard output and error, or None for the parent's own.
    cwd: the child's working directory, or None for the parent's.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        output: IO[bytes] | None = None,
        cwd: Path | None = None,
    ) -> None:
        read_end, self._write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                list(args),
                env={**env, PARENT_FD_VARIABLE: str(read_end)},
                pass_fds=(read_end,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                start_new_session=True,  # a Ctrl-C in the terminal is the parent's to handle
            )
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the child has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for the end; None when the time was over."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self, grace_seconds: float = 5.0) -> int:
        """End the child: SIGTERM, then SIGKILL after ``grace_seconds``; returns its status."""
        if self._process.poll() is None:
            self._process.terminate()
            if self.wait(grace_seconds) is None:
                self._process.kill()
        status = self._process.wait()
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1
        return status


async def run_program(
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    with_terminal: bool = False,
) -> tuple[int, bytes, bytes]:
    """Run a program to its end; return its status and what it wrote to both outputs.

    Cancelling kills it, and does not wait for children of its own that keep its outputs open.
    ``with_terminal`` leaves it our standard input and error, to ask a person. Raises OSError when
    it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *args,
        env=env,
        cwd=cwd,
        stdin=None if with_terminal else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if with_terminal else asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        # Kills it if it runs, and closes the pipes, which children of its own may keep open. There
        # is no public way to do the latter.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()
    assert process.returncode is not None
    return process.returncode, output, errors or b""


def watch_parent(on_end: Callable[[], None]) -> None:
    """Call ``on_end`` on a watchdog thread when the parent that started us as a Child has ended.

    Does nothing in a process that was not started as a :class:`Child`. The variable is taken out
    of the environment, so that grandchildren do not inherit it.
    """
    text = os.environ.pop(PARENT_FD_VARIABLE, "")
    if not text.isdigit():
        return
    read_end = int(text)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(read_end, 1):
                pass
        on_end()

    os.set_inheritable(read_end, False)
    start_thread(watch, name="kcpctl-parent-watch", daemon=True)
