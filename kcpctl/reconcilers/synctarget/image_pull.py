"""Whether a syncer does not start because its image cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if all(one.get("image") != image for one in pod.get("spec", {}).get("containers") or ()):
        return False
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(
        ((one.get("state") or {}).get("waiting") or {}).get("reason") in _REASONS
        for one in statuses
    )
