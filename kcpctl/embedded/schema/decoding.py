"""From bytes to objects: JSON and YAML as Go's decoders read them, with their complaints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from kcpctl.embedded.schema.yaml_limits import check_yaml

__all__ = ["Decoded", "decode", "strict_error"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded body, and the texts of its duplicate keys (the last value wins)."""

    value: Any
    duplicates: tuple[str, ...] = ()


class _Object(dict[str, Any]):
    """An object that had a key twice, until it is replaced by a plain dict."""

    duplicates: tuple[str, ...] = ()


def decode(body: bytes, *, yaml: bool = False) -> Decoded:
    """Decode JSON or YAML 1.1; raises ValueError with the sentence of Go's decoder."""
    return _decode_yaml(body) if yaml else _decode_json(body)


def strict_error(problems: Sequence[str]) -> str:
    """Return ``strict decoding error: `` and the problems (unknown and duplicate fields)."""
    return f"strict decoding error: {', '.join(problems)}"


def _decode_json(body: bytes) -> Decoded:
    seen: list[_Object] = []

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        names = [name for name, _ in pairs]
        marked = _Object(value)
        marked.duplicates = tuple(name for name in value if names.count(name) > 1)
        seen.append(marked)
        return marked

    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=make, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(_go_message(error)) from None
    except UnicodeDecodeError:
        raise ValueError("invalid character '�' looking for beginning of value") from None
    except RecursionError:
        raise ValueError("exceeded max depth") from None
    if not seen:
        return Decoded(value)
    found = tuple(f'duplicate field "{path}"' for path in _duplicates(value, ""))
    return Decoded(_plain(value), found)


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _duplicates(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Object):
        yield from (f"{path}.{name}" if path else name for name in value.duplicates)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _duplicates(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _duplicates(item, f"{path}[{index}]")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


_KEY_PLACE: Final = "looking for beginning of object key string"
_PLACES: Final = {
    "Expecting property name enclosed in double quotes": _KEY_PLACE,
    "Illegal trailing comma before end of object": _KEY_PLACE,
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting value": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


def _go_message(error: json.JSONDecodeError) -> str:
    """Say what Go's encoding/json says at the same place."""
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    message = error.msg.split(": ")[0]
    place = _PLACES.get(message, "looking for beginning of value")
    if message == "Expecting ',' delimiter":
        before = error.doc[: error.pos]
        inside_list = before.count("[") - before.count("]") > 0
        closest_is_list = before.rfind("[") > before.rfind("{")
        place = (
            "after array element"
            if inside_list and closest_is_list
            else ("after object key:value pair")
        )
    return f"invalid character '{error.doc[error.pos]}' {place}"


_GO_BOOLS: Final = re.compile(
    r"^(?:y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"
)


@cache
def _loader() -> Any:
    """Return a safe loader that resolves scalars as Go's YAML does: no dates, ``y`` is true."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in rules if not tag.endswith((":timestamp", ":bool"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _GO_BOOLS, list("yYnNtTfFoO"))
    Loader.add_constructor("tag:yaml.org,2002:bool", _construct_bool)
    Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
    return Loader


def _construct_bool(loader: Any, node: Any) -> bool:
    return str(loader.construct_scalar(node)).lower() in {"y", "yes", "true", "on"}


def _construct_mapping(loader: Any, node: Any) -> Iterator[dict[str, Any]]:
    result: dict[str, Any] = {}
    yield result
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = _key(loader.construct_object(key_node, deep=True))
        if key in result:
            line = key_node.start_mark.line + 1
            loader.duplicates.append(f'line {line}: key "{key}" already set in map')
        result[key] = loader.construct_object(value_node, deep=True)


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _decode_yaml(body: bytes) -> Decoded:
    import yaml

    loader = _loader()(body)
    loader.duplicates = []
    try:
        check_yaml(body)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem).replace("allowed here", "allowed in this context")
        line = error.problem_mark.line if error.problem_mark else 0
        raise ValueError(
            f"yaml: line {line + 1}: {problem}" if line else f"yaml: {problem}"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"yaml: {error}") from None
    finally:
        loader.dispose()
    if not loader.duplicates:
        return Decoded(value)
    lines = "\n  ".join(loader.duplicates)
    return Decoded(value, (f"yaml: unmarshal errors:\n  {lines}",))
