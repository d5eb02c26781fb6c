"""What every object's metadata has to obey."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import Cause

__all__ = [
    "NameRule",
    "config_key",
    "dns_label",
    "dns_subdomain",
    "label_key",
    "label_value",
    "path_segment",
    "validate_metadata",
    "validate_metadata_update",
]

Json = dict[str, Any]
NameRule = Callable[[str], list[str]]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY: Final = "[-._a-zA-Z0-9]+"

_LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    f"for validation is '{_LABEL}')"
)
_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    f"for validation is '{_SUBDOMAIN}')"
)
_QUALIFIED_TEXT: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    f"validation is '{_QUALIFIED}')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    f"or '12345', regex used for validation is '({_QUALIFIED})?')"
)
_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    f"'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{_KEY}')"
)
_LABEL_KEY_TEXT: Final = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
    f"'123-abc', regex used for validation is '{_QUALIFIED}') with an optional DNS "
    "subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_ANNOTATIONS_MAX_BYTES: Final = 256 * 1024
_STANDARD_FINALIZERS: Final = frozenset({"orphan", "foregroundDeletion", "kubernetes"})


def _check(
    text: str, pattern: str, limit: int, message: str, unit: str = "characters"
) -> list[str]:
    problems = [f"must be no more than {limit} {unit}"] if len(text) > limit else []
    if not re.fullmatch(pattern, text):
        problems.append(message)
    return problems


def dns_label(name: str) -> list[str]:
    """Return what is wrong with a name that has to be a DNS label."""
    return _check(name, _LABEL, 63, _LABEL_TEXT)


def dns_subdomain(name: str) -> list[str]:
    """Return what is wrong with a name that has to be a DNS subdomain."""
    return _check(name, _SUBDOMAIN, 253, _SUBDOMAIN_TEXT)


def path_segment(name: str) -> list[str]:
    """Return what is wrong with a name that only has to fit into a path (RBAC objects)."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{mark}'" for mark in ("/", "%") if mark in name]


def config_key(key: str) -> list[str]:
    """Return what is wrong with a key of ConfigMap or Secret data."""
    if key in (".", "..") or key.startswith(".."):
        return [
            "must not start with '..'"
            if key.startswith("..") and key != ".."
            else f"must not be '{key}'"
        ]
    return _check(key, _KEY, 253, _KEY_TEXT)


def label_key(key: str) -> list[str]:
    """Return what is wrong with the key of a label or annotation."""
    prefix, slash, name = key.rpartition("/")
    problems: list[str] = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif "/" in prefix:
        return [_LABEL_KEY_TEXT]
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not re.fullmatch(_QUALIFIED, name):
        problems.append(f"name part {_QUALIFIED_TEXT}")
    return problems


def label_value(value: str) -> list[str]:
    """Return what is wrong with the value of a label."""
    return _check(value, f"({_QUALIFIED})?", 63, _VALUE_TEXT, "bytes")


def _invalid(path: str, value: object, problems: Iterable[str]) -> list[Cause]:
    return [Cause.invalid(path, value, problem) for problem in problems]


def _labels(meta: Json) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in (meta.get("labels") or {}).items():
        causes += _invalid("metadata.labels", key, label_key(key))
        causes += _invalid("metadata.labels", value, label_value(value))
    return causes


def _annotations(meta: Json) -> list[Cause]:
    causes: list[Cause] = []
    size = 0
    for key, value in (meta.get("annotations") or {}).items():
        causes += _invalid("metadata.annotations", key, label_key(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_MAX_BYTES:
        causes.append(Cause.too_long("metadata.annotations", _ANNOTATIONS_MAX_BYTES))
    return causes


def _finalizers(meta: Json, *, is_custom: bool) -> list[Cause]:
    finalizers: list[str] = meta.get("finalizers") or []
    causes: list[Cause] = []
    for index, finalizer in enumerate(finalizers):
        problems = label_key(finalizer)
        causes += _invalid("metadata.finalizers", finalizer, problems)
        unqualified = "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
        if not problems and unqualified and not is_custom:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(Cause.invalid(f"metadata.finalizers[{index}]", finalizer, detail))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(Cause.invalid("metadata.finalizers", finalizers, detail))
    return causes


def _owners(meta: Json) -> list[Cause]:
    path = "metadata.ownerReferences"
    owners: list[Json] = meta.get("ownerReferences") or []
    causes: list[Cause] = []
    for owner in owners:
        if not owner.get("apiVersion"):
            causes.append(Cause.invalid(f"{path}.apiVersion", "", "version must not be empty"))
        causes += [
            Cause.invalid(f"{path}.{field}", "", "must not be empty")
            for field in ("kind", "name", "uid")
            if not owner.get(field)
        ]
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            detail = "/v1, Kind=Event is disallowed from being an owner"
            causes.append(Cause.invalid(path, owner, detail))
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = (f"{owner.get('kind')}/{owner.get('name')}" for owner in controllers[:2])
        detail = (
            'Only one reference can have Controller set to true. Found "true" in references '
            f"for {first} and {second}"
        )
        causes.append(Cause.invalid(path, owners, detail))
    return causes


def validate_metadata(info: ResourceInfo, meta: Json, name_rule: NameRule) -> list[Cause]:
    """Return what is wrong with an object's metadata."""
    name, generate_name = meta.get("name", ""), meta.get("generateName", "")
    causes: list[Cause] = []
    if not name:
        causes.append(Cause.required("metadata.name", "name or generateName is required"))
    else:
        causes += _invalid("metadata.name", name, name_rule(name))
    if generate_name:
        probe = re.sub(r"[-.]$", "a", generate_name)
        causes += _invalid("metadata.generateName", generate_name, name_rule(probe))
    return (
        causes
        + _labels(meta)
        + _annotations(meta)
        + _finalizers(meta, is_custom=info.crd is not None)
        + _owners(meta)
    )


_GO_LIST = "[]string{%s}"


def validate_metadata_update(meta: Json, old: Json) -> list[Cause]:
    """Return what an update may not do to metadata."""
    causes: list[Cause] = []
    if meta.get("uid") != old.get("uid"):
        causes.append(Cause.invalid("metadata.uid", meta.get("uid"), "field is immutable"))
    causes += [
        Cause.invalid(f"metadata.{field}", meta[field], "field is immutable")
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds")
        if meta.get(field) is not None and meta[field] != old.get(field)
    ]
    if old.get("deletionTimestamp"):
        known = set(old.get("finalizers") or ())
        added = [one for one in meta.get("finalizers") or () if one not in known]
        if added:
            names = ", ".join(f'"{one}"' for one in added)
            detail = (
                "no new finalizers can be added if the object is being deleted, found new "
                f"finalizers {_GO_LIST % names}"
            )
            # Twice, as the real server finds it twice; the message has it once.
            causes += [Cause.forbidden("metadata.finalizers", detail)] * 2
    return causes
