"""``kcpctl workload``: what a person does with workloads and SyncTargets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from kcpctl.apis.admission import Admission
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.naming import KEY_LABEL, STATE_LABEL_PREFIX, STATE_SYNC, sync_target_key
from kcpctl.apis.resource import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    SECRETS,
    SERVICES,
    Resource,
)
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.cli.connect import connected, logging_flags, server_flags
from kcpctl.cli.options import GroupedCommand, flag
from kcpctl.cli.workload_sync import sync
from kcpctl.client import Client
from kcpctl.errors import Forbidden, KcpctlError, NotFound, UsageError
from kcpctl.logicalcluster import ROOT, cluster_of

__all__ = ["command", "parse_object"]

F = TypeVar("F", bound=Callable[..., Any])

_KINDS: Final[dict[str, Resource]] = {
    word: resource
    for resource, words in (
        (DEPLOYMENTS, ("deploy", "deployment", "deployments", "deployments.apps")),
        (CONFIG_MAPS, ("cm", "configmap", "configmaps")),
        (SECRETS, ("secret", "secrets")),
        (SERVICES, ("svc", "service", "services")),
        (NAMESPACES, ("ns", "namespace", "namespaces")),
    )
    for word in words
}


def parse_object(text: str) -> tuple[Resource, str]:
    """Return the resource and name of ``deploy/web``; raises UsageError."""
    kind, slash, name = text.partition("/")
    resource = _KINDS.get(kind.lower())
    if not slash or not name or resource is None:
        kinds = ", ".join(sorted({r.plural for r in _KINDS.values()}))
        raise UsageError(f"{text!r} names no object: write KIND/NAME, with a kind of {kinds}")
    return resource, name


@click.group("workload")
def command() -> None:
    """Assign workloads to SyncTargets, and connect their clusters."""


command.add_command(sync)


def _target_flags(function: F) -> F:
    for decorate in (
        logging_flags,
        flag(
            "-n",
            "--namespace",
            group="Object",
            metavar="NAME",
            help="Namespace of the object [default: the context's].",
        ),
        flag("--target", group="Object", required=True, metavar="NAME", help="The SyncTarget."),
        server_flags,
        click.argument("obj", metavar="KIND/NAME"),
    ):
        function = decorate(function)
    return function


@command.command("assign", cls=GroupedCommand)
@_target_flags
def assign(obj: str, target: str, **connection: Any) -> None:
    """Assign an object to a SyncTarget: its syncer carries it to the target's cluster.

    For example: kcpctl workload assign deploy/web --target east

    A namespace stands for everything in it that the syncer carries.
    """
    _label(obj, target, STATE_SYNC, **connection)


@command.command("unassign", cls=GroupedCommand)
@_target_flags
def unassign(obj: str, target: str, **connection: Any) -> None:
    """Take an object back: it is removed from the target's cluster."""
    _label(obj, target, None, **connection)


def _label(
    obj: str,
    target: str,
    state: str | None,
    *,
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
) -> None:
    resource, name = parse_object(obj)
    with connected(kubeconfig, context) as (client, default_namespace):
        try:
            found = client.resource(SYNCTARGETS).get(target)
        except NotFound as error:
            raise KcpctlError(
                f"there is no SyncTarget {target!r} at {client.url}; "
                "`kubectl get synctargets` lists them"
            ) from error
        meta = found["metadata"]
        cluster = cluster_of(meta.get("annotations"), ROOT)
        if state is not None:
            _warn_if_unschedulable(found)
        label = meta.get("labels", {}).get(KEY_LABEL) or sync_target_key(cluster, target)
        where = None
        if resource.namespaced:
            where = namespace or default_namespace
        labelled = client.resource(resource).patch(
            name,
            {"metadata": {"labels": {STATE_LABEL_PREFIX + label: state}}},
            namespace=where,
            field_manager="kcpctl",
        )
        if state is not None:
            _warn_if_refused(found, resource, labelled, client)
    done = "assigned to" if state else "no longer assigned to"
    click.echo(f"{resource.kind.lower()}/{name} {done} {target}")


def _warn_if_refused(
    target: Unstructured, resource: Resource, obj: Unstructured, client: Client
) -> None:
    """The target's owner may have said that such objects are not wanted."""
    name, meta = target["metadata"]["name"], obj["metadata"]
    try:
        admission = Admission.of(target.get("spec") or {})
    except ValueError as error:
        click.echo(f"warning: {name} takes nothing until it is mended: {error}", err=True)
        return
    labels = meta.get("labels") or {}
    if resource == NAMESPACES:
        why = admission.namespace_refusal(labels)
    else:
        around: Mapping[str, str] = {}
        if admission.namespace_selector:
            try:
                found = client.resource(NAMESPACES).get(meta["namespace"])
            except Forbidden:
                return  # who may not read it cannot be told
            around = found["metadata"].get("labels") or {}
        why = admission.refusal(resource, labels, around)
    if why:
        what = f"{resource.kind.lower()}/{meta['name']}"
        click.echo(f"warning: {name} does not take {what}: its {why} excludes it", err=True)


def _warn_if_unschedulable(target: Unstructured) -> None:
    """Who assigns by hand may do so; but what is evicted is asked to leave at once."""
    for condition in target.get("status", {}).get("conditions", ()):
        if condition["type"] == "Schedulable" and condition["status"] == "False":
            name, reason = target["metadata"]["name"], condition.get("reason", "")
            message = f"warning: {name} is {reason}: {condition.get('message', '')}"
            click.echo(message, err=True)
