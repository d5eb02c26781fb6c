"""Label and field selectors: parsing and matching."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import bad_request

__all__ = ["FieldSelector", "LabelSelector", "parse_field_selector", "parse_label_selector"]

Json = dict[str, Any]
_Test = Callable[[Mapping[str, str]], bool]
LabelSelector = Callable[[Mapping[str, str]], bool]
FieldSelector = Callable[[Json], bool]

_TOKEN: Final = re.compile(r"\s*(==|!=|=|!|,|\(|\)|>|<|[^\s,=!()<>]+)")
_OPERATORS: Final = "in, notin, =, ==, !=, gt, lt"
_NAME: Final = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$")


class _Parser:
    """A recursive-descent parser of label selectors."""

    def __init__(self, text: str) -> None:
        self._tokens = [match.group(1) for match in _TOKEN.finditer(text)]
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def requirements(self) -> list[_Test]:
        tests: list[_Test] = []
        while self.peek():
            tests.append(self.requirement())
            separator = self.next()
            if separator == "":
                break
            if separator != ",":
                raise _parse_error(f"found '{separator}', expected: ',' or 'end of string'")
            if not self.peek():
                raise _parse_error("found '', expected: identifier after ','")
        return tests

    def requirement(self) -> _Test:
        if self.peek() == "!":
            self.next()
            key = self.key()
            return lambda labels: key not in labels
        key = self.key()
        operator = self.peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self.next()
        return self.comparison(key, operator)

    def key(self) -> str:
        key = self.next()
        if not key or key in ",()=!<>==!=":
            raise _parse_error(f"found '{key}', expected: !, identifier, or 'end of string'")
        prefix, slash, name = key.rpartition("/")
        if not _NAME.match(name) or len(name) > 63 or (slash and not prefix):
            raise bad_request(
                f'unable to parse requirement: <nil>: Invalid value: "{key}": name part must '
                "consist of alphanumeric characters, '-', '_' or '.', and must start and end "
                "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
                "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            )
        return key

    def comparison(self, key: str, operator: str) -> _Test:
        if operator in ("=", "=="):
            value = self.value(key)
            return lambda labels: labels.get(key) == value
        if operator == "!=":
            value = self.value(key)
            return lambda labels: labels.get(key) != value
        if operator == "in":
            values = self.values(key)
            return lambda labels: labels.get(key) in values
        if operator == "notin":
            values = self.values(key)
            return lambda labels: labels.get(key) not in values
        if operator in (">", "<", "gt", "lt"):
            return self.number(key, greater=operator in (">", "gt"))
        raise _parse_error(f"found '{operator}', expected: {_OPERATORS}")

    def number(self, key: str, *, greater: bool) -> _Test:
        text = self.next()
        try:
            limit = int(text)
        except ValueError:
            message = "for 'Gt', 'Lt' operators, the value must be an integer"
            raise _parse_error(f'values[0][{key}]: Invalid value: "{text}": {message}') from None

        def test(labels: Mapping[str, str]) -> bool:
            try:
                number = int(labels.get(key, ""))
            except ValueError:
                return False
            return number > limit if greater else number < limit

        return test

    def value(self, key: str) -> str:
        if self.peek() in ("", ","):
            return ""
        return self.checked(key, self.next())

    def values(self, key: str) -> set[str]:
        if self.next() != "(":
            raise _parse_error(f"found '{self._tokens[self._at - 1]}' expected: '('")
        values: set[str] = set()
        while (token := self.next()) != ")":
            if token == "":
                raise _parse_error("found '', expected: ',' or ')'")
            if token != ",":
                values.add(self.checked(key, token))
            elif self.peek() in (",", ")"):
                values.add("")
        return values or {""}

    def checked(self, key: str, value: str) -> str:
        if value and (not _NAME.match(value) or len(value) > 63):
            raise bad_request(
                f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": a '
                "valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )
        return value


def _parse_error(message: str) -> Exception:
    return bad_request(f"unable to parse requirement: {message}")


def parse_label_selector(text: str) -> LabelSelector | None:
    """Return a test of an object's labels, None for the empty selector; raises 400."""
    tests = _Parser(text).requirements()
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(test(labels) for test in tests)


_META: Final = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
}


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.split("."))


def _fields(*paths: str, **aliases: str) -> dict[str, tuple[str, ...]]:
    table = {path: _path(path) for path in paths}
    return table | {key: _path(path) for key, path in aliases.items()}


_EVENT_FIELDS: Final = _fields(
    *(
        f"involvedObject.{name}"
        for name in (
            "kind",
            "namespace",
            "name",
            "uid",
            "apiVersion",
            "resourceVersion",
            "fieldPath",
        )
    ),
    "reason",
    "reportingComponent",
    "type",
    source="source.component",
)

# What the real server offers for built-in kinds, beyond metadata.name and metadata.namespace.
_BUILT_IN_FIELDS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "pods": _fields(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "namespaces": _fields("status.phase", name="metadata.name"),
    "nodes": _fields("spec.unschedulable"),
    "secrets": _fields("type"),
    "services": _fields("spec.clusterIP", "spec.type"),
    "events": _EVENT_FIELDS,
    "replicationcontrollers": _fields("status.replicas"),
    "jobs.batch": {"status.successful": ("status", "succeeded")},
    "certificatesigningrequests.certificates.k8s.io": _fields("spec.signerName"),
}
_EVENTS_GROUP_FIELDS: Final = {
    **{
        key.replace("involvedObject", "regarding"): path
        for key, path in _EVENT_FIELDS.items()
        if key.startswith("involvedObject")
    },
    "reason": ("reason",),
    "reportingController": ("reportingComponent",),
    "type": ("type",),
}
# Values of unset fields that are numbers or booleans in the real types.
_EMPTY: Final = {
    "spec.hostNetwork": "false",
    "spec.unschedulable": "false",
    "status.replicas": "0",
    "status.successful": "0",
}


def _field_table(info: ResourceInfo) -> dict[str, tuple[str, ...]]:
    if info.crd is not None:
        return {path.lstrip("."): _path(path.lstrip(".")) for path in info.crd.selectable_fields}
    if info.group == "events.k8s.io":
        return _EVENTS_GROUP_FIELDS
    return _BUILT_IN_FIELDS.get(info.storage_key, {})


def _unsupported(info: ResourceInfo, field: str) -> Exception:
    if info.crd is not None:
        return bad_request(f"field label not supported: {field}")
    if info.storage_key == "jobs.batch":
        return bad_request(f'field label "{field}" not supported for Job')
    if info.storage_key in _BUILT_IN_FIELDS:
        return bad_request(f"field label not supported: {field}")
    return bad_request(
        f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )


def _lookup(path: tuple[str, ...], empty: str) -> Callable[[Json], str]:
    def value(obj: Json) -> str:
        found: Any = obj
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if found is None:
            return empty
        if isinstance(found, bool):
            return "true" if found else "false"
        return str(found)

    return value


def _split(text: str) -> list[str]:
    """Split at commas that no backslash protects."""
    return [part for part in re.split(r"(?<!\\),", text) if part]


def parse_field_selector(text: str, info: ResourceInfo) -> FieldSelector | None:
    """Return a test of an object, None for the empty selector; raises 400."""
    tests: list[FieldSelector] = []
    table = _META | _field_table(info)
    for part in _split(text):
        match = re.match(r"^(.*?)(!=|==|=)(.*)$", part)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, raw = match.groups()
        if field not in table:
            raise _unsupported(info, field)
        wanted = re.sub(r"\\(.)", r"\1", raw)
        tests.append(_test(_lookup(table[field], _EMPTY.get(field, "")), operator != "!=", wanted))
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)


def _test(value: Callable[[Json], str], equal: bool, wanted: str) -> FieldSelector:
    return lambda obj: (value(obj) == wanted) is equal
