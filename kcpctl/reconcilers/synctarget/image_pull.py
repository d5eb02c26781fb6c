"""Whether a syncer does not start because its image cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kcpctl.apis.convert import decode
from kcpctl.apis.resource import PODS
from kcpctl.client import Client
from kcpctl.errors import ApiError
from kcpctl.runtime import get_logger

__all__ = ["image_pull_problem", "is_waiting_for_image"]

_log = get_logger(__name__)

# What a kubelet says while it tries, and where it does not even try. It goes from one to the other
# and back, so neither the reason nor its words are passed on: the status would change with them.
_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})


def image_pull_problem(downstream: Client, namespace: str, name: str, image: str) -> str:
    """Return why the Deployment ``name`` is stuck, if its Pods miss their image; "" otherwise.

    One list of the Deployment's own Pods. When they cannot be read, nothing is known: "".
    """
    selector = f"app={name}"
    try:
        pods = downstream.resource(PODS).list(namespace=namespace, label_selector=selector).items
    except ApiError as error:
        _log.debug("The syncer's Pods cannot be read", name=name, error=error)
        return ""
    if not any(is_waiting_for_image(pod, image) for pod in pods):
        return ""
    return (
        f"The syncer's image {image} cannot be pulled: correct spec.deployment.image or "
        "spec.deployment.imagePullSecrets; on the cluster, "
        f"kubectl describe pods -n {namespace} -l {selector} says more"
    )


def is_waiting_for_image(pod: Mapping[str, Any], image: str) -> bool:
    """Whether a Pod of that image waits for it; one of a former image does not count."""
    try:
        found = decode(pod, _Pod)
    except msgspec.ValidationError:
        return False
    if found.metadata.deletion_timestamp:
        return False
    if all(one.image != image for one in found.spec.containers):
        return False
    return any(one.state.waiting.reason in _REASONS for one in found.status.container_statuses)


class _Metadata(msgspec.Struct, rename="camel"):
    deletion_timestamp: str = ""


class _Container(msgspec.Struct, rename="camel"):
    image: str = ""


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []


class _Waiting(msgspec.Struct, rename="camel"):
    reason: str = ""


class _State(msgspec.Struct, rename="camel"):
    waiting: _Waiting = msgspec.field(default_factory=_Waiting)


class _ContainerStatus(msgspec.Struct, rename="camel"):
    state: _State = msgspec.field(default_factory=_State)


class _Status(msgspec.Struct, rename="camel"):
    container_statuses: list[_ContainerStatus] = []


class _Pod(msgspec.Struct, rename="camel"):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)
