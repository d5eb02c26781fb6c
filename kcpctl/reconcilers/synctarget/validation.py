"""The rules that the schema cannot or shall not check (synctarget.md 1.1.1).

They look at the object as stored, before any defaulting (decision 1), in the order V1, V2, V3, V4;
the first failure is the one that is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from kcpctl.apis import quantity
from kcpctl.apis.admission import Admission
from kcpctl.apis.common import DNS_LABEL, LABEL_KEY, LABEL_VALUE
from kcpctl.apis.duration import parse_duration
from kcpctl.apis.synctarget_deployment import DEFAULT_QPS
from kcpctl.apis.workload import (
    MANAGED,
    SyncTarget,
    SyncTargetSpec,
    deployment_mode,
    names_a_cluster,
)
from kcpctl.reconcilers.problem import VALIDATION_FAILED, Problem
from kcpctl.runtime import parse_time

__all__ = ["image_of", "validate"]

_NAME = re.compile(DNS_LABEL)
_LABEL_KEY = re.compile(LABEL_KEY)
_LABEL_VALUE = re.compile(LABEL_VALUE)


def validate(target: SyncTarget, *, default_image: str) -> Problem | None:
    """Return the first rule that the SyncTarget breaks, or None."""
    for rule in _RULES:
        if message := rule(target, default_image):
            return Problem(VALIDATION_FAILED, message)
    return None


def image_of(spec: SyncTargetSpec, default_image: str) -> str:
    """Return the syncer's image: the SyncTarget's own, else the controller's default, else ""."""
    return (spec.deployment.image if spec.deployment else "") or default_image


def _v1_some_end(target: SyncTarget, _default_image: str) -> str:
    spec = target.spec
    if names_a_cluster(spec) or spec.kcp_cluster or spec.supported_api_exports:
        return ""
    return (
        "V1: cluster reference missing: set one of spec.cluster, spec.clusterRef, "
        "spec.connection, spec.kcpCluster and spec.supportedAPIExports"
    )


def _v2_cells(target: SyncTarget, _default_image: str) -> str:
    if not names_a_cluster(target.spec) or target.spec.cells:
        return ""
    return (
        "V2: spec.cells must have at least one entry when a physical cluster is named, "
        f"for example location: {target.metadata.name}"
    )


def _quantities(spec: SyncTargetSpec) -> Iterator[tuple[str, str | int]]:
    for name, value in sorted(spec.capacity.items()):
        yield f"spec.capacity[{name}]", value
    quotas = spec.resource_quotas
    if quotas is None:
        return
    for name in ("cpu", "memory", "storage", "pods"):
        if (figure := getattr(quotas, name)) is not None:
            yield f"spec.resourceQuotas.{name}", figure
    for name, value in sorted(quotas.custom.items()):
        yield f"spec.resourceQuotas.custom[{name}]", value


def _v3_quantities(target: SyncTarget, _default_image: str) -> str:
    for field, value in _quantities(target.spec):
        if why := quantity.problem(value):
            return f"V3: {field}{why}"
    return ""


def _v4_image(target: SyncTarget, default_image: str) -> str:
    spec = target.spec
    if deployment_mode(spec) != MANAGED or image_of(spec, default_image):
        return ""
    return (
        "V4: no image is known for the syncer: set spec.deployment.image or start the controller "
        "with --syncer-image, or set spec.deployment.mode to External"
    )


def _managed_names_a_cluster(target: SyncTarget, _default_image: str) -> str:
    """A mode stated explicitly can ask for a syncer without saying where."""
    if deployment_mode(target.spec) != MANAGED or names_a_cluster(target.spec):
        return ""
    return (
        "spec.deployment.mode is Managed, but no physical cluster is named: set one of "
        "spec.cluster, spec.clusterRef and spec.connection"
    )


def _one_reference(target: SyncTarget, _default_image: str) -> str:
    """The schema's rule, for servers without it."""
    if target.spec.cluster and target.spec.cluster_ref is not None:
        return "spec.cluster and spec.clusterRef are two forms of the same; set one of them"
    return ""


def _cells(target: SyncTarget, _default_image: str) -> str:
    """What the schema says of values it cannot say of keys; the former is for servers without."""
    for key, value in target.spec.cells.items():
        if not _LABEL_KEY.fullmatch(key) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            return f"spec.cells[{key}] must be a label: {value!r} or its key cannot be one"
    return ""


def _evict_after(target: SyncTarget, _default_image: str) -> str:
    return _unreadable("spec.evictAfter", target.spec.evict_after, parse_time)


def _admission(target: SyncTarget, _default_image: str) -> str:
    """What the schema says of rules it cannot say of labels; the former is for servers without."""
    if target.spec.selector is None:
        return ""
    try:
        Admission.of({"selector": msgspec.to_builtins(target.spec.selector)})
    except ValueError as error:
        return str(error)
    return ""


def _grace(target: SyncTarget, _default_image: str) -> str:
    return _unreadable(
        "spec.evictionGracePeriod", target.spec.eviction_grace_period, parse_duration
    )


def _unreadable(field: str, text: str | None, parse: Callable[[str], object]) -> str:
    """The schema's rule, for servers without it."""
    if not text:
        return ""
    try:
        parse(text)
    except ValueError as error:
        return f"{field}: {error}"
    return ""


def _burst(target: SyncTarget, _default_image: str) -> str:
    """The schema's rule, for servers without it."""
    syncer = target.spec.syncer
    if syncer is None or syncer.burst is None:
        return ""
    qps = DEFAULT_QPS if syncer.qps is None else syncer.qps
    if syncer.burst >= qps:
        return ""
    default = " by default" if syncer.qps is None else ""
    return f"spec.syncer.burst is {syncer.burst}, but must not be below qps, {qps}{default}"


def _name(target: SyncTarget, _default_image: str) -> str:
    """The schema's rule, for servers without it."""
    name = target.metadata.name
    if 3 <= len(name) <= 63 and _NAME.match(name):
        return ""
    return f"the name {name!r} must be a DNS-1123 label of 3 to 63 characters"


_RULES: Final[tuple[Callable[[SyncTarget, str], str], ...]] = (
    _v1_some_end,
    _v2_cells,
    _v3_quantities,
    _v4_image,
    _managed_names_a_cluster,
    _one_reference,
    _cells,
    _evict_after,
    _admission,
    _grace,
    _burst,
    _name,
)
