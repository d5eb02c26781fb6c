"""CEL rules of custom resources (``x-kubernetes-validations``), by Google's CEL library.

The library is loaded when the first schema with a rule is met. What it does not know are the
functions that Kubernetes adds to CEL (``url()``, ``quantity()``, ``isSorted()``, ...); a rule that
uses one does not compile and is skipped, with one warning. Without the library no rule is
evaluated, with one warning too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import lru_cache
from typing import Any, Final, Protocol

from kcpctl.embedded.schema.builtin import Schema
from kcpctl.embedded.schema.structural import child_schema
from kcpctl.embedded.status import Cause
from kcpctl.runtime.logging import get_logger

__all__ = ["ROOT", "compile_error", "has_rules", "validate"]

_log = get_logger(__name__)
ROOT: Final = "<nil>"
"""How the real server names the root of an object."""
_RULES: Final = "x-kubernetes-validations"


class _Program(Protocol):
    def eval(self, *, data: dict[str, Any]) -> Any: ...


def has_rules(schema: Schema) -> bool:
    """Whether a schema has a rule anywhere. Cached by identity."""
    return _has_rules(_ById(schema))


class _ById:
    """Makes a dict a cache key; the cache keeps it alive, so the identity stays unique."""

    __slots__ = ("schema",)

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.schema is self.schema


@lru_cache(maxsize=4096)
def _has_rules(key: _ById) -> bool:
    schema = key.schema
    # Types that contain themselves are built in and have no rules.
    if "x-kcpctl-type" in schema:
        return False
    if schema.get(_RULES):
        return True
    children = [
        *schema.get("properties", {}).values(),
        schema.get("additionalProperties"),
        schema.get("items"),
    ]
    return any(isinstance(child, dict) and has_rules(child) for child in children)


def validate(obj: Any, schema: Schema, old: Any = None) -> Iterator[Cause]:
    """Yield what the rules say about ``obj``; rules with ``oldSelf`` run only on updates."""
    if has_rules(schema):
        yield from _walk(obj, schema, old, "")


def _walk(value: Any, schema: Schema, old: Any, path: str) -> Iterator[Cause]:
    if value is None or not has_rules(schema):
        return
    if rules := schema.get(_RULES):
        data = _Data(value, old, schema, is_root=not path)
        for rule in rules:
            cause = _evaluate(rule, data, value, path)
            if cause is not None:
                yield cause
    if isinstance(value, dict):
        for key, item in value.items():
            child = child_schema(schema, key)
            if child is not None:
                before = old.get(key) if isinstance(old, dict) else None
                yield from _walk(item, child, before, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _walk(item, items, _counterpart(item, old, schema), f"{path}[{index}]")


def _counterpart(item: Any, old: Any, schema: Schema) -> Any:
    """Return the element of the old list that an element replaces; lists by index have none."""
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map":
        return None
    keys = schema.get("x-kubernetes-list-map-keys", ())
    wanted = [item.get(key) for key in keys]
    return next((other for other in old if [other.get(key) for key in keys] == wanted), None)


class _Data:
    """What the rules of one value see: ``self``, and ``oldSelf`` for those that name it.

    Fields that a rule does not name are left out for it: copying them is what rules cost most. Of
    an object's own metadata they see the name alone, as in the real server.
    """

    def __init__(self, value: Any, old: Any, schema: Schema, *, is_root: bool) -> None:
        self._values = {"self": value, "oldSelf": old}
        self._schema = schema
        self._is_root = is_root

    @property
    def has_old(self) -> bool:
        return self._values["oldSelf"] is not None

    def named_in(self, expression: str) -> dict[str, Any]:
        """Return what a rule can name."""
        return {name: self._get(name, fields) for name, fields in _names(expression).items()}

    def _get(self, name: str, fields: Set[str] | None) -> Any:
        value = self._values[name]
        if isinstance(value, dict) and fields is not None:
            value = {key: item for key, item in value.items() if _escaped(key) in fields}
        if self._is_root and isinstance(value, dict) and "metadata" in value:
            meta = value["metadata"]
            seen = {key: meta[key] for key in ("name", "generateName") if key in meta}
            value = {**value, "metadata": seen}
        return _typed(value, self._schema)


# A field of it, unless that is a call such as self.all(...); anything else is all of it.
_NAMED: Final = re.compile(r"\b(self|oldSelf)\b(?:\s*\.\s*(\w+)\b(?!\s*\())?")


@lru_cache(maxsize=4096)
def _names(expression: str) -> dict[str, Set[str] | None]:
    """Return which of self and oldSelf a rule names, and which fields of them; None for all."""
    found: dict[str, set[str]] = {"self": set()}
    for name, field in _NAMED.findall(expression):
        found.setdefault(name, set()).add(field)
    return {name: None if "" in fields else fields for name, fields in found.items()}


def _evaluate(rule: dict[str, Any], data: _Data, value: Any, path: str) -> Cause | None:
    expression = rule["rule"]
    if "oldSelf" in expression and not data.has_old and not rule.get("optionalOldSelf"):
        return None
    program = _program(expression)
    if program is None:
        return None
    outcome, error = _run(program, data.named_in(expression))
    if outcome is True:
        return None
    where = _field_path(path, rule.get("fieldPath", ""))
    message = _message(rule, data)
    if error:
        text = f'Invalid value: "{_kind(value)}": {error} evaluating rule: {message}'
        return Cause("FieldValueInvalid", text, where)
    return _refusal(rule, value, where, message)


def _kind(value: Any) -> str:
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "value"


def _refusal(rule: dict[str, Any], value: Any, where: str, message: str) -> Cause:
    reason = rule.get("reason") or "FieldValueInvalid"
    if reason == "FieldValueForbidden":
        return Cause.forbidden(where, message)
    if reason == "FieldValueRequired":
        return Cause.required(where, message)
    if reason == "FieldValueDuplicate":
        return Cause.duplicate(where, value)
    if isinstance(value, (dict, list)):
        return Cause("FieldValueInvalid", f"Invalid value: {message}", where)
    return Cause.invalid(where, value, message)


def _message(rule: dict[str, Any], data: _Data) -> str:
    if expression := rule.get("messageExpression"):
        program = _program(expression)
        if program is not None:
            text, _ = _run(program, data.named_in(expression))
            if isinstance(text, str) and text.strip():
                return text
    return str(rule.get("message") or f"failed rule: {rule['rule']}")


def _field_path(path: str, relative: str) -> str:
    return (f"{path}{relative}" if path else relative.lstrip(".")) or ROOT


def _typed(value: Any, schema: Schema) -> Any:
    """Make whole numbers of ``number`` fields doubles, as CEL compares only equal types."""
    if isinstance(value, dict):
        return {
            _escaped(key): _typed(item, child_schema(schema, key) or {})
            for key, item in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items")
        return [_typed(item, items if isinstance(items, dict) else {}) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


_RESERVED: Final = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    }
)


def _escaped(name: str) -> str:
    """Return a field's name as rules spell it."""
    if name in _RESERVED:
        return f"__{name}__"
    if name.isidentifier():
        return name
    escapes = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
    for text, escape in escapes.items():
        name = name.replace(text, escape)
    return name


def _run(program: _Program, data: dict[str, Any]) -> tuple[Any, str]:
    """Return the value, or an error text."""
    result = program.eval(data=data)
    kind = str(getattr(result.type(), "name", result.type)())
    if kind == "ERROR":
        return None, _error_text(str(result.value()))
    return result.value(), ""


def _error_text(text: str) -> str:
    if "Key not found in map" in text:
        return f"no such key: {text.rpartition(': ')[2].strip(chr(34))}"
    return text.partition(": ")[2] or text


@lru_cache(maxsize=1)
def _environment() -> Any:
    try:
        from cel_expr_python import cel  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        _log.warning("CEL rules are not evaluated: the package cel-expr-python is not installed")
        return None
    return cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})


@lru_cache(maxsize=4096)
def _program(expression: str) -> _Program | None:
    environment = _environment()
    if environment is None:
        return None
    try:
        program: _Program = environment.compile(expression)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        _log.warning("A CEL rule is not evaluated", rule=expression, reason=reason)
        return None
    return program


def compile_error(expression: str) -> str:
    """Return why an expression does not parse, "" when it does (or cannot be checked)."""
    environment = _environment()
    if environment is None:
        return ""
    try:
        environment.compile(expression)
    except RuntimeError as error:
        text = str(error).removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]")
        return text if "Syntax error" in text else ""
    return ""
