"""What the real server refuses in pod specs, of pods and of templates."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kcpctl.embedded.schema.quantities import amount as value_of
from kcpctl.embedded.status import Cause
from kcpctl.embedded.validation import dns_label

__all__ = ["port_error", "validate_pod_spec", "validate_pod_update"]

Json = dict[str, Any]
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES: Final = ("FallbackToLogsOnError", "File")


def validate_pod_spec(spec: Json, path: str) -> Iterator[Cause]:
    """Yield what is wrong with a defaulted pod spec."""
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    yield from _volumes(spec.get("volumes") or (), f"{path}.volumes")
    names: set[str] = set()
    if not spec.get("containers"):
        yield Cause.required(f"{path}.containers")
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or ()):
            where = f"{path}.{field}[{index}]"
            yield from _container(container, where, volumes)
            name = container.get("name", "")
            if name in names and name:
                yield Cause.duplicate(f"{where}.name", name)
            names.add(name)
    yield from _one_of(spec, "restartPolicy", _RESTART_POLICIES, path)
    yield from _one_of(spec, "dnsPolicy", _DNS_POLICIES, path)
    grace = spec.get("terminationGracePeriodSeconds", 0)
    if grace < 0:
        yield _negative(f"{path}.terminationGracePeriodSeconds", grace)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        text = "must be between 1 and 2147483647, inclusive"
        yield Cause.invalid(f"{path}.activeDeadlineSeconds", deadline, text)


def port_error(number: int) -> str:
    """Return why ``number`` is no port, "" when it is."""
    return "" if 1 <= number <= 65535 else "must be between 1 and 65535, inclusive"


def _negative(path: str, value: int) -> Cause:
    return Cause.invalid(path, value, "must be greater than or equal to 0")


def _one_of(owner: Json, field: str, choices: Sequence[str], path: str) -> Iterator[Cause]:
    value = owner.get(field)
    if value is not None and value not in choices:
        yield Cause.not_supported(f"{path}.{field}", value, choices)


def _volumes(volumes: Sequence[Json], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name, where = volume.get("name", ""), f"{path}[{index}]"
        if not name:
            yield Cause.required(f"{where}.name")
        elif problems := dns_label(name):
            yield from (Cause.invalid(f"{where}.name", name, text) for text in problems)
        elif name in seen:
            yield Cause.duplicate(f"{where}.name", name)
        seen.add(name)
        for source in sorted(volume.keys() - {"name"})[1:]:
            text = "may not specify more than 1 volume type"
            yield Cause.forbidden(f"{where}.{source}", text)
        for source, key in (("secret", "secretName"), ("configMap", "name")):
            if source in volume and not volume[source].get(key):
                yield Cause.required(f"{where}.{source}.{key}")


def _container(container: Json, path: str, volumes: set[Any]) -> Iterator[Cause]:
    name = container.get("name", "")
    if not name:
        yield Cause.required(f"{path}.name")
    elif problems := dns_label(name):
        yield from (Cause.invalid(f"{path}.name", name, text) for text in problems)
    image = container.get("image", "")
    if not image:
        yield Cause.required(f"{path}.image")
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        yield Cause.invalid(f"{path}.image", image, text)
    yield from _one_of(container, "imagePullPolicy", _PULL_POLICIES, path)
    yield from _one_of(container, "terminationMessagePolicy", _MESSAGE_POLICIES, path)
    yield from _ports(container.get("ports") or (), f"{path}.ports")
    yield from _environment(container.get("env") or (), f"{path}.env")
    yield from _mounts(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes)
    yield from _resources(container.get("resources") or {}, f"{path}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            yield from _probe(container[probe], f"{path}.{probe}", probe)


def _ports(ports: Sequence[Json], path: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        name = port.get("name")
        if name and name in names:
            yield Cause.duplicate(f"{where}.name", name)
        if name:
            names.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            yield Cause.required(f"{where}.containerPort")
        elif error := port_error(number):
            yield Cause.invalid(f"{where}.containerPort", number, error)
        host = port.get("hostPort", 0)
        if host and (error := port_error(host)):
            yield Cause.invalid(f"{where}.hostPort", host, error)
        yield from _one_of(port, "protocol", _PROTOCOLS, where)


def _environment(variables: Sequence[Json], path: str) -> Iterator[Cause]:
    for index, variable in enumerate(variables):
        if not variable.get("name"):
            yield Cause.required(f"{path}[{index}].name")
        source = variable.get("valueFrom")
        if source is None:
            continue
        where = f"{path}[{index}].valueFrom"
        if not source:
            text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            text += "`secretKeyRef`, or `fileKeyRef`"
            yield Cause.invalid(where, "", text)
        elif variable.get("value"):
            text = "may not be specified when `value` is not empty"
            yield Cause.invalid(where, "", text)


def _mounts(mounts: Sequence[Json], path: str, volumes: set[Any]) -> Iterator[Cause]:
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        where = f"{path}[{index}]"
        name, target = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield Cause.required(f"{where}.name")
        if name not in volumes:
            yield Cause("FieldValueNotFound", f'Not found: "{name}"', f"{where}.name")
        if not target:
            yield Cause.required(f"{where}.mountPath")
        elif target in paths:
            yield Cause.invalid(f"{where}.mountPath", target, "must be unique")
        paths.add(target)


def _resources(resources: Json, path: str) -> Iterator[Cause]:
    limits = resources.get("limits") or {}
    for field in ("limits", "requests"):
        for name, amount in (resources.get(field) or {}).items():
            if value_of(amount) < 0:
                text = "must be greater than or equal to 0"
                yield Cause.invalid(f"{path}.{field}[{name}]", amount, text)
    for name, amount in (resources.get("requests") or {}).items():
        if name in limits and value_of(amount) > value_of(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            yield Cause.invalid(f"{path}.requests", amount, text)


def _probe(probe: Json, path: str, kind: str) -> Iterator[Cause]:
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if name in probe]
    if not handlers:
        yield Cause.required(path, "must specify a handler type")
    for name in handlers[1:]:
        yield Cause.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if probe.get(field, 0) < 0:
            yield _negative(f"{path}.{field}", probe[field])
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield Cause.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


_UPDATE_TEXT: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def validate_pod_update(spec: Json, old: Json) -> Iterator[Cause]:
    """Yield what an update of a Pod changes that cannot be changed."""
    if len(spec.get("containers") or ()) != len(old.get("containers") or ()):
        yield Cause.forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if _comparable(spec) != _comparable(old):
        yield Cause.forbidden("spec", _UPDATE_TEXT)
    kept = old.get("tolerations") or []
    if any(toleration not in (spec.get("tolerations") or []) for toleration in kept):
        yield Cause.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        )


def _comparable(spec: Json) -> Json:
    copied = copy.deepcopy(spec)
    copied.pop("activeDeadlineSeconds", None)
    copied.pop("tolerations", None)
    # The ephemeralcontainers subresource and the scheduler's binding go other ways.
    copied.pop("ephemeralContainers", None)
    for field in ("containers", "initContainers"):
        for container in copied.get(field) or ():
            container.pop("image", None)
    return copied
