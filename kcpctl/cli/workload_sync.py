"""``kcpctl workload sync``: the objects of a SyncTarget's syncer, for the cluster's own admin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from kcpctl.apis.convert import decode
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.workload import (
    EXTERNAL,
    MANAGED,
    SYNCTARGETS,
    APIExportReference,
    SyncTarget,
    deployment_mode,
)
from kcpctl.cli.connect import logging_flags, server_flags
from kcpctl.cli.options import DURATION, FILE, GroupedCommand, flag
from kcpctl.client import AsyncClient, Client, ClientConfig, load_config
from kcpctl.embedded.security.private_file import write_private
from kcpctl.errors import ApiError, Forbidden, KcpctlError, NotFound, UsageError
from kcpctl.reconcilers.synctarget import SyncTargetOptions
from kcpctl.reconcilers.synctarget.deployment import syncer_inputs
from kcpctl.reconcilers.synctarget.installation import install, make_identity, with_token
from kcpctl.reconcilers.synctarget.manifests import FIELD_MANAGER, SyncerInputs
from kcpctl.reconcilers.synctarget.options import AUTH_CERTIFICATE, AUTH_TOKEN
from kcpctl.reconcilers.synctarget.printing import as_text, printable_objects
from kcpctl.reconcilers.synctarget.validation import validate
from kcpctl.runtime import SYSTEM_CLOCK, IOLoop, format_time

__all__ = ["sync"]

_EXPORT: Final = "root:compute:kubernetes"
_MANAGED_SECONDS: Final = 86_400
"""As the controller, which renews it."""
_EXTERNAL_SECONDS: Final = 365 * 86_400
"""Nobody renews it by itself; a server may grant less."""


@click.command("sync", cls=GroupedCommand)
@click.argument("name")
@server_flags
@flag(
    "--cluster-name",
    group="Server",
    metavar="NAME",
    help="As the controllers': name of the server's one cluster [default: root, or the logical "
    "cluster that the server URL ends with].",
)
@flag(
    "--upstream-server-url",
    group="Server",
    metavar="URL",
    help="Server URL for the syncer, as its Pod reaches it [default: the kubeconfig's].",
)
@flag(
    "--kcp-namespace",
    group="Server",
    default="kcpctl-system",
    metavar="NAME",
    help="Namespace of the syncer's identity in the workspace; the --credentials-namespace of the "
    "controllers, which remove it.",
)
@flag(
    "--syncer-auth",
    group="Server",
    type=click.Choice([AUTH_TOKEN, AUTH_CERTIFICATE]),
    default=AUTH_TOKEN,
    help="How the syncer logs in: with the token in its Secret, or with a client certificate that "
    "it asks for by that token. Controllers with the same flag approve that.",
)
@flag(
    "--token-duration",
    group="Server",
    type=DURATION,
    help="Life of the syncer's token; the server may grant less [default: a year, as nobody renews "
    "it; 24h for a SyncTarget that the controller deploys, and renews].",
)
@flag(
    "--syncer-image",
    group="Syncer",
    metavar="IMAGE",
    help="Image of the syncer, unless spec.deployment.image names one.",
)
@flag(
    "--create",
    group="SyncTarget",
    is_flag=True,
    help="Create the SyncTarget, in External mode, if there is none. The flags of this group say "
    "what its spec is; of one that exists they must not differ.",
)
@flag(
    "--apiexports",
    group="SyncTarget",
    default=_EXPORT,
    metavar="PATH:NAME,...",
    help="What a created SyncTarget supports.",
)
@flag(
    "--namespace",
    group="SyncTarget",
    metavar="NAME",
    help="Namespace of the syncer on its cluster [default: made of name and uid].",
)
@flag(
    "--replicas",
    group="SyncTarget",
    type=click.IntRange(0, 1),
    help="Number of syncer Pods [default: 1].",
)
@flag(
    "--qps",
    group="SyncTarget",
    type=click.IntRange(min=1),
    help="Most requests a second of the syncer to each server [default: 20].",
)
@flag(
    "--burst",
    group="SyncTarget",
    type=click.IntRange(min=1),
    help="Requests that may exceed --qps for a moment [default: 30].",
)
@flag(
    "-o",
    "--output",
    group="Output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    help="Format of what is printed.",
)
@flag(
    "--output-file",
    group="Output",
    type=FILE,
    help="Write it to a file that only you can read, instead of standard output.",
)
@flag(
    "--dry-run",
    group="Output",
    is_flag=True,
    help="Create nothing and make no token: the Secret is left out.",
)
@flag(
    "--apply",
    "apply_it",
    group="Output",
    is_flag=True,
    help="Apply it to the cluster of --to-kubeconfig instead of printing it.",
)
@flag("--to-kubeconfig", group="Output", type=FILE, help="Kubeconfig of the syncer's cluster.")
@logging_flags
def sync(name: str, **flags: Any) -> None:
    """Print what runs the syncer of a SyncTarget, to be applied to its cluster.

    For example: kcpctl workload sync east --create --syncer-image IMAGE | kubectl apply -f -

    It is what the controller would deploy. The syncer's identity is made in the workspace of the
    kubeconfig, and the Secret holds a token of it; nothing else is secret.
    """
    _check(flags)
    config = load_config(flags["kubeconfig"], flags["context"])
    with _server(config, flags["cluster_name"]) as client:
        target = _target(client, name, flags)
        inputs = _inputs(client, config, target, flags)
        if not flags["dry_run"]:
            inputs = _with_identity(client, target, inputs, flags)
        if flags["apply_it"]:
            _apply(flags["to_kubeconfig"], inputs)
            return
    text = as_text(printable_objects(inputs), flags["output"])
    if flags["output_file"] is not None:
        write_private(flags["output_file"], text.encode())
    else:
        click.echo(text, nl=False)


def _check(flags: Mapping[str, Any]) -> None:
    if flags["apply_it"] != (flags["to_kubeconfig"] is not None):
        raise UsageError("--apply and --to-kubeconfig need each other: give both or neither")
    if flags["apply_it"] and (flags["dry_run"] or flags["output_file"]):
        raise UsageError("--apply prints nothing: leave out --dry-run and --output-file")


@contextmanager
def _server(config: ClientConfig, cluster_name: str | None) -> Iterator[Client]:
    """Yield a client whose cluster is called as the controllers call it."""
    with IOLoop() as loop:
        client = Client(AsyncClient.plain(config, cluster_name=cluster_name), loop)
        try:
            if cluster_name is None and config.cluster and (found := client.logical_cluster_name()):
                client.close()
                client = Client(AsyncClient.plain(config, cluster_name=found), loop)
            yield client
        finally:
            client.close()


def _wanted(flags: Mapping[str, Any]) -> dict[str, Unstructured]:
    """Return the parts of the spec that flags were given for."""
    parts = {
        "deployment": {"namespace": flags["namespace"], "replicas": flags["replicas"]},
        "syncer": {"qps": flags["qps"], "burst": flags["burst"]},
    }
    given = {
        part: {field: value for field, value in fields.items() if value is not None}
        for part, fields in parts.items()
    }
    return {part: fields for part, fields in given.items() if fields}


def _target(client: Client, name: str, flags: Mapping[str, Any]) -> SyncTarget:
    """Return the SyncTarget, created if that was asked for."""
    targets = client.resource(SYNCTARGETS)
    wanted = _wanted(flags)
    try:
        found = targets.get(name)
    except NotFound as error:
        if not flags["create"]:
            raise KcpctlError(
                f"there is no SyncTarget {name!r} at {client.url}; --create makes it"
            ) from error
        if flags["dry_run"]:
            raise UsageError(
                f"there is no SyncTarget {name!r} at {client.url}, and --dry-run creates none; "
                "its objects are named by its uid"
            ) from error
        _require_image(flags["syncer_image"])
        found = targets.create(_new_target(name, wanted, flags), field_manager=FIELD_MANAGER)
    for part, fields in wanted.items():
        for field, value in fields.items():
            has = (found["spec"].get(part) or {}).get(field)
            if has != value:
                raise UsageError(
                    f"spec.{part}.{field} of SyncTarget {name!r} is {has!r}, not {value!r}: leave "
                    f"out --{field}, or change the SyncTarget"
                )
    return decode(found, SyncTarget)


def _new_target(
    name: str, wanted: Mapping[str, Unstructured], flags: Mapping[str, Any]
) -> Unstructured:
    try:
        exports = [APIExportReference.parse(text) for text in flags["apiexports"].split(",")]
    except ValueError as error:
        raise UsageError(f"--apiexports: {error}") from None
    return {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": {"name": name},
        "spec": {
            "supportedAPIExports": msgspec.to_builtins(exports),
            "cells": {"location": name},
            **wanted,
            "deployment": {"mode": EXTERNAL, **wanted.get("deployment", {})},
        },
    }


def _inputs(
    client: Client, config: ClientConfig, target: SyncTarget, flags: Mapping[str, Any]
) -> SyncerInputs:
    """Return what the controller would render from, refusing what it would refuse."""
    image = flags["syncer_image"] or ""
    if invalid := validate(target, default_image=image):
        raise KcpctlError(f"SyncTarget {target.metadata.name!r} is not valid: {invalid.message}")
    if target.metadata.deletion_timestamp is not None:
        raise KcpctlError(f"SyncTarget {target.metadata.name!r} is being deleted")
    options = SyncTargetOptions(
        syncer_image=image,
        upstream_server_url=flags["upstream_server_url"] or config.server,
        upstream_ca_data=config.ca,
        upstream_insecure=config.insecure,
        upstream_server_name=config.server_name,
        syncer_auth=flags["syncer_auth"],
    )
    inputs = syncer_inputs(target, client.cluster_name, options, client)
    _require_image(inputs.image)
    return inputs


def _require_image(image: str | None) -> None:
    if not image:
        raise UsageError("no image is known for the syncer: give --syncer-image")


def _with_identity(
    client: Client, target: SyncTarget, inputs: SyncerInputs, flags: Mapping[str, Any]
) -> SyncerInputs:
    """Make the identity and a token of it, and tell for how long that holds."""
    managed = deployment_mode(target.spec) == MANAGED
    seconds = flags["token_duration"] or (_MANAGED_SECONDS if managed else _EXTERNAL_SECONDS)
    namespace = flags["kcp_namespace"]
    try:
        make_identity(client, target, inputs, namespace)
        inputs, life = with_token(
            client, inputs, namespace, seconds=int(seconds), clock=SYSTEM_CLOCK
        )
    except Forbidden as error:
        raise KcpctlError(
            f"the syncer's identity cannot be made at {client.url}: {error.message}; use an "
            f"account that may create service accounts and their tokens in {namespace!r}, cluster "
            "roles and their bindings"
        ) from error
    if not managed:
        until = format_time(SYSTEM_CLOCK.time() + life)
        click.echo(f"The syncer's token ends at {until}: repeat this before", err=True)
    if inputs.certificate:
        click.echo(
            "The syncer will ask for a client certificate. Controllers with --syncer-auth "
            f"certificate approve that; else do it: kubectl certificate approve {inputs.id}",
            err=True,
        )
    return inputs


def _apply(kubeconfig: Path, inputs: SyncerInputs) -> None:
    config = load_config(kubeconfig)
    with _server(config, None) as client:
        try:
            install(client, inputs)
        except ApiError as error:
            raise KcpctlError(f"the syncer cannot be deployed at {client.url}: {error}") from error
        click.echo(f"deployment/{inputs.id} applied in namespace {inputs.namespace}")
