"""Selectors and templates in cells."""

from __future__ import annotations

from typing import Any

__all__ = ["containers", "images", "labels", "selector"]

Json = dict[str, Any]


def labels(pairs: Json | None) -> str:
    """Return ``a=b,c=d``, ``<none>`` when there are none."""
    if not pairs:
        return "<none>"
    return ",".join(f"{key}={pairs[key]}" for key in sorted(pairs))


def selector(value: Json | None) -> str:
    """Return a LabelSelector as one line."""
    if not value:
        return "<none>"
    parts = [f"{k}={v}" for k, v in sorted((value.get("matchLabels") or {}).items())]
    for rule in value.get("matchExpressions") or ():
        key, values = rule.get("key", ""), ",".join(rule.get("values") or ())
        operator = rule.get("operator", "")
        if operator == "In":
            parts.append(f"{key} in ({values})")
        elif operator == "NotIn":
            parts.append(f"{key} notin ({values})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts) or "<none>"


def _containers(spec: Json) -> list[Json]:
    template = spec.get("template") or {}
    return list((template.get("spec") or {}).get("containers") or ())


def containers(spec: Json) -> str:
    """Return the names of a template's containers."""
    return ",".join(container.get("name", "") for container in _containers(spec))


def images(spec: Json) -> str:
    """Return the images of a template's containers."""
    return ",".join(container.get("image", "") for container in _containers(spec))
