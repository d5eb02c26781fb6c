"""``kcpctl`` and ``python -m kcpctl``: the sub-commands, and how a failure is told.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A failure is one sentence on
standard error; the traceback comes with ``-v``.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

import click

from kcpctl import __version__
from kcpctl.errors import KcpctlError, UsageError
from kcpctl.runtime.clock import SYSTEM_CLOCK
from kcpctl.runtime.process import watch_parent

__all__ = ["cli", "main"]

# What each sub-command imports is loaded when it is used: a syncer does not pay for a server.
_COMMANDS: Final = {
    "run-controllers": "kcpctl.cli.run_controllers",
    "syncer": "kcpctl.cli.syncer",
    "control-plane": "kcpctl.cli.control_plane",
    "workload": "kcpctl.cli.workload",
}

_ORPHAN_GRACE_SECONDS = 5.0


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="kcpctl", message="%(prog)s %(version)s")
def cli() -> None:
    """Controllers for kcp and Kubernetes: SyncTargets, the syncer, and a control plane of its own.

    First steps: `kcpctl run-controllers --embedded --demo` shows the whole product on this
    machine; it needs nothing else.
    """


def _parent_gone() -> None:
    """End a process whose parent has ended: first as on SIGTERM, then at once."""
    os.kill(os.getpid(), signal.SIGTERM)
    SYSTEM_CLOCK.sleep(_ORPHAN_GRACE_SECONDS)
    os._exit(1)


def _verbose(args: Sequence[str]) -> bool:
    return any(arg == "-v" or arg.startswith(("-vv", "--verbose")) for arg in args)


def _tell(message: str) -> None:
    print(f"Error: {message}", file=sys.stderr)  # noqa: T201 - this is the command line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args: list[str] = list(sys.argv[1:] if argv is None else argv)
    watch_parent(_parent_gone)
    try:
        result: Any = cli.main(args=args, prog_name="kcpctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort: one sentence, exit code 1
        if _verbose(args):
            traceback.print_exc()
        if isinstance(error, KcpctlError | OSError):
            _tell(str(error))
        else:
            _tell(f"{type(error).__name__}: {error} (a bug; -v shows where)")
        return 2 if isinstance(error, UsageError) else 1
    return result if isinstance(result, int) else 0
