"""Defaults of pods and pod templates. The functions change the (private) dict they are given."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["default_pod", "default_pod_spec", "default_template", "fill"]

Json = dict[str, Any]

_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
_MODE: Final = 0o644


def fill(target: Json, **defaults: Any) -> None:
    """Set what is missing."""
    for key, value in defaults.items():
        target.setdefault(key, value)


def default_template(owner: Json) -> None:
    """Default the pod template of a workload's spec."""
    template = owner.get("template")
    if isinstance(template, dict):
        default_pod_spec(template.setdefault("spec", {}))


def default_pod(pod: Json) -> None:
    """Default a Pod: its spec, and requests by limits."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    fill(spec, enableServiceLinks=True)
    for container in _containers(spec):
        limits = container.get("resources", {}).get("limits")
        if limits:
            requests = container["resources"].setdefault("requests", {})
            for name, amount in limits.items():
                requests.setdefault(name, amount)


def _containers(spec: Json) -> list[Json]:
    return [c for name in _CONTAINER_LISTS for c in spec.get(name) or () if isinstance(c, dict)]


def default_pod_spec(spec: Json) -> None:
    """Default a pod spec, of a pod or of a template."""
    fill(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name
    for container in _containers(spec):
        _default_container(container, host_network=spec.get("hostNetwork") is True)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _default_container(container: Json, *, host_network: bool) -> None:
    image = container.get("image", "").partition("@")
    tag = image[0].rpartition("/")[2].partition(":")[2]
    latest = not image[1] and tag in {"", "latest"}
    fill(
        container,
        imagePullPolicy="Always" if latest else "IfNotPresent",
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources={},
    )
    for port in container.get("ports") or ():
        fill(port, protocol="TCP")
        if host_network and "containerPort" in port:
            fill(port, hostPort=port["containerPort"])
    for variable in container.get("env") or ():
        _default_field_ref(variable.get("valueFrom") or {})
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            _default_probe(container[probe])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_http(hook)


def _default_field_ref(source: Json) -> None:
    if "fieldRef" in source:
        fill(source["fieldRef"], apiVersion="v1")
    if "resourceFieldRef" in source:
        fill(source["resourceFieldRef"], divisor="0")


def _default_probe(probe: Json) -> None:
    fill(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _default_http(probe)
    if "grpc" in probe:
        fill(probe["grpc"], service="")


def _default_http(handler: Json) -> None:
    if "httpGet" in handler:
        fill(handler["httpGet"], path="/", scheme="HTTP")


def _default_volume(volume: Json) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if source in volume:
            fill(volume[source], defaultMode=_MODE)
    for item in volume.get("downwardAPI", {}).get("items") or ():
        _default_field_ref(item)
    for source in volume.get("projected", {}).get("sources") or ():
        if "serviceAccountToken" in source:
            fill(source["serviceAccountToken"], expirationSeconds=3600)
        for item in source.get("downwardAPI", {}).get("items") or ():
            _default_field_ref(item)
    if "hostPath" in volume:
        fill(volume["hostPath"], type="")
