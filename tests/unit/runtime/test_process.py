from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from kcpctl.runtime import Child
from kcpctl.testing import eventually

WATCHER = """
import os, sys
from kcpctl.runtime import watch_parent
from kcpctl.runtime.process import PARENT_FD_VARIABLE
watch_parent(lambda: os._exit(7))
assert PARENT_FD_VARIABLE not in os.environ
print("ready", flush=True)
import signal
signal.pause()
"""
# Starts a watcher as its own child, tells its pid, and waits to be killed.
PARENT = f"""
import os, signal, sys
from kcpctl.runtime import Child
child = Child([sys.executable, "-c", {WATCHER!r}], env=os.environ)
print(child.pid, flush=True)
signal.pause()
"""


def alive(pid: int) -> bool:
    """Whether the process runs (an orphan that has ended may stay a zombie of another parent)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_ends_on_close_with_the_status_of_the_signal() -> None:
    child = Child([sys.executable, "-c", "import signal; signal.pause()"], env=os.environ)
    assert child.poll() is None
    assert child.wait(0.01) is None
    assert child.close() == -signal.SIGTERM
    assert child.close() == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    ignore = (
        "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    )
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = Child([sys.executable, "-c", ignore], env=os.environ, output=output)
    eventually(lambda: log.read_text() == "up\n")
    assert child.close(grace_seconds=0.1) == -signal.SIGKILL


def test_a_signal_to_an_ended_child_is_no_error() -> None:
    child = Child([sys.executable, "-c", ""], env=os.environ)
    child.wait()
    child.signal(signal.SIGTERM)
    assert child.close() == 0


def test_a_child_sees_the_end_of_its_parent_also_after_kill_9(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        parent = Child([sys.executable, "-c", PARENT], env=os.environ, output=output)
    grandchild = int(eventually(lambda: "ready" in log.read_text() and log.read_text().split()[0]))
    assert alive(grandchild)
    parent.signal(signal.SIGKILL)
    parent.close()
    eventually(lambda: not alive(grandchild))
