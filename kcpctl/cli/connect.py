"""The flags that name a server, and the client that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kcpctl.cli.options import FILE, flag
from kcpctl.runtime.logging import configure

if TYPE_CHECKING:
    from kcpctl.client import Client

__all__ = ["connected", "logging_flags", "reloads_logging", "server_flags"]

F = TypeVar("F", bound=Callable[..., Any])


def server_flags(command: F) -> F:
    """Add ``--kubeconfig`` and ``--context``."""
    command = flag(
        "--context",
        group="Server",
        metavar="NAME",
        help="Context of the kubeconfig instead of its current one.",
    )(command)
    return flag(
        "--kubeconfig",
        group="Server",
        type=FILE,
        help="Kubeconfig of the server. Without it: $KUBECONFIG, ~/.kube/config, then the Pod's "
        "own service account.",
    )(command)


def logging_flags(command: F) -> F:
    """Add ``-v`` and ``--logging-format``, which take effect before the command runs."""
    command = flag(
        "--logging-format",
        group="Logging",
        type=click.Choice(["text", "json"]),
        default="text",
        expose_value=False,
        callback=_set_up_logging,
        help="Format of the log lines on standard error.",
    )(command)
    return flag(
        "-v",
        "--verbose",
        group="Logging",
        count=True,
        expose_value=False,
        callback=_set_up_logging,
        help="Log detail, and show tracebacks.",
    )(command)


def _set_up_logging(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Configure logging anew with each of the two flags: they come in any order."""
    settings = ctx.meta.setdefault("kcpctl.logging", {})
    settings[param.name] = value
    # The demo's own lines tell what happens; beside them only warnings are of use.
    quiet = -1 if ctx.params.get("demo") else 0
    configure(
        style=settings.get("logging_format", "text"), verbosity=settings.get("verbose") or quiet
    )
    return value


def reloads_logging(ctx: click.Context) -> dict[str, Callable[[Mapping[str, Any]], None]]:
    """Return how the two flags take effect while the command runs, by parameter."""

    def take(name: str, param: click.Parameter, flags: Mapping[str, Any]) -> None:
        _set_up_logging(ctx, param, flags[name])

    return {
        param.name: partial(take, param.name, param)
        for param in ctx.command.params
        if param.name in {"verbose", "logging_format"}
    }


@contextmanager
def connected(kubeconfig: Path | None, context: str | None) -> Iterator[tuple[Client, str]]:
    """Yield a blocking client of one server, and the context's namespace, for one command."""
    from kcpctl.client import AsyncClient, Client, load_config
    from kcpctl.runtime.ioloop import IOLoop

    config = load_config(kubeconfig, context)
    with IOLoop() as loop:
        client = Client(AsyncClient.plain(config), loop)
        try:
            yield client, config.default_namespace
        finally:
            client.close()
