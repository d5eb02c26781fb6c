"""RBAC policy rules: what one allows, and what a set of them does not cover. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kcpctl.embedded.user import Attributes

__all__ = ["Rule", "allows", "describe", "uncovered"]

Rule = Mapping[str, Any]
"""A PolicyRule as it is written in a Role."""


def _has(values: Sequence[str] | None, wanted: str) -> bool:
    return values is not None and ("*" in values or wanted in values)


def _resource_matches(resources: Iterable[str], resource: str, subresource: str) -> bool:
    full = f"{resource}/{subresource}" if subresource else resource
    return any(
        entry in ("*", full) or (bool(subresource) and entry == f"*/{subresource}")
        for entry in resources
    )


def _path_matches(patterns: Iterable[str], path: str) -> bool:
    return any(
        pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))
        for pattern in patterns
    )


def allows(rule: Rule, attributes: Attributes) -> bool:
    """Whether ``rule`` allows the request."""
    if not _has(rule.get("verbs"), attributes.verb):
        return False
    if not attributes.is_resource:
        return _path_matches(rule.get("nonResourceURLs") or (), attributes.path)
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), attributes.group)
        and _resource_matches(
            rule.get("resources") or (), attributes.resource, attributes.subresource
        )
        and (not names or attributes.name in names)
    )


def _atoms(rule: Rule) -> Iterator[dict[str, str]]:
    """Split a rule into the smallest rules that together say the same."""
    for verb in rule.get("verbs") or ():
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or ("",):
                    yield {"verb": verb, "group": group, "resource": resource, "name": name}
        for url in rule.get("nonResourceURLs") or ():
            yield {"verb": verb, "url": url}


def _covers(rule: Rule, atom: Mapping[str, str]) -> bool:
    if not _has(rule.get("verbs"), atom["verb"]):
        return False
    if "url" in atom:
        return _path_matches(rule.get("nonResourceURLs") or (), atom["url"])
    resource, _, subresource = atom["resource"].partition("/")
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), atom["group"])
        and _resource_matches(rule.get("resources") or (), resource, subresource)
        and (not names or atom["name"] in names)
    )


def uncovered(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[str]:
    """Return descriptions of what ``wanted`` grants and ``held`` does not; [] if it covers all."""
    verbs: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for rule in wanted:
        for atom in _atoms(rule):
            if not any(_covers(mine, atom) for mine in held):
                rest = tuple((key, value) for key, value in atom.items() if key != "verb")
                verbs.setdefault(rest, []).append(atom["verb"])
    return sorted(_describe_atom(dict(rest), granted) for rest, granted in verbs.items())


def _describe_atom(atom: Mapping[str, str], verbs: Sequence[str]) -> str:
    rule: dict[str, Any] = {"verbs": verbs}
    if "url" in atom:
        rule["nonResourceURLs"] = [atom["url"]]
    else:
        rule["apiGroups"], rule["resources"] = [atom["group"]], [atom["resource"]]
        if atom["name"]:
            rule["resourceNames"] = [atom["name"]]
    return describe(rule)


def describe(rule: Rule) -> str:
    """Return a rule as the real server prints it in escalation errors."""
    labels = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs",
        "verbs": "Verbs",
    }
    parts = [
        f"{label}:[{' '.join(json.dumps(value) for value in rule[field])}]"
        for field, label in labels.items()
        if rule.get(field)
    ]
    return "{" + ", ".join(parts) + "}"
