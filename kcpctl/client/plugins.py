"""Credential plugins: programs that print who we are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kcpctl.client.config import ExecPlugin
from kcpctl.errors import ConfigError
from kcpctl.runtime.process import run_program

__all__ = ["run_plugin"]

_EXTENSION: Final = "client.authentication.k8s.io/exec"


async def run_plugin(plugin: ExecPlugin, source: str) -> Mapping[str, Any]:
    """Run the plugin and return the status that it printed, of the version asked for (AU-06).

    Cancelling kills it. Raises ConfigError that names ``source`` and never shows its output.
    """
    who = f"{source}: the credential plugin {plugin.command!r}"
    for key in ("command", "apiVersion"):
        if not plugin.spec.get(key):
            raise ConfigError(f"{who} lacks {key} in the user's exec")
    with_terminal = (
        sys.stdin is not None
        and sys.stdin.isatty()
        and plugin.spec.get("interactiveMode") != "Never"
    )
    try:
        code, output, errors = await run_program(
            [plugin.command, *map(str, plugin.spec.get("args") or ())],
            env=_environment(plugin, with_terminal),
            cwd=plugin.directory,
            with_terminal=with_terminal,
        )
    except OSError as error:
        hint = plugin.spec.get("installHint") or "install it or correct the user's exec.command"
        raise ConfigError(f"{who} cannot be run ({error.strerror}); {hint}") from error
    if code:
        said = " ".join(errors.decode("utf-8", "replace").split())[:500]
        raise ConfigError(f"{who} failed: it ended with {code}" + (f": {said}" if said else ""))
    return _status(output, str(plugin.spec["apiVersion"]), who)


def _environment(plugin: ExecPlugin, interactive: bool) -> dict[str, str]:
    environment = dict(os.environ)
    for entry in plugin.spec.get("env") or ():
        environment[str(entry["name"])] = str(entry["value"])
    info: dict[str, Any] = {
        "apiVersion": plugin.spec["apiVersion"],
        "kind": "ExecCredential",
        "spec": {"interactive": interactive},
    }
    if plugin.spec.get("provideClusterInfo"):
        cluster = dict(plugin.cluster)
        for extension in cluster.pop("extensions", None) or ():
            if extension.get("name") == _EXTENSION:
                cluster["config"] = extension.get("extension")
        info["spec"]["cluster"] = cluster
    environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(info).decode()
    return environment


def _status(output: bytes, version: str, who: str) -> Mapping[str, Any]:
    try:
        printed = msgspec.json.decode(output, type=dict[str, Any])
    except msgspec.MsgspecError:
        # The error's own text could quote a secret.
        raise ConfigError(f"{who} printed what is not an ExecCredential in JSON") from None
    if printed.get("kind") != "ExecCredential" or printed.get("apiVersion") != version:
        raise ConfigError(
            f"{who} printed {printed.get('kind')} {printed.get('apiVersion')}; the kubeconfig "
            f"asks for ExecCredential {version}"
        )
    status = printed.get("status")
    return status if isinstance(status, Mapping) else {}
