"""Reads the models of the ``kubernetes`` package from their source, without importing them.

Importing the package costs 0.5 s and 50 MB; parsing the files that a question is about costs a
millisecond each. Both generations of models are understood: classes with ``openapi_types`` and
``attribute_map``, descriptions in property docstrings (before version 36) or in pydantic fields.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

__all__ = ["Field", "Model", "package_version", "read_model"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its JSON name, its type as the package writes it (``List[V1Pod]``)."""

    name: str
    type: str
    required: bool = False
    int_or_string: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One model class."""

    name: str
    description: str = ""
    fields: dict[str, Field] = field(default_factory=dict)


def package_version() -> str:
    """Return the version of the installed ``kubernetes`` package."""
    from importlib.metadata import version

    return version("kubernetes")


@cache
def _folder() -> Path:
    spec = importlib.util.find_spec("kubernetes")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package 'kubernetes' is not installed")
    return Path(spec.origin).parent / "client" / "models"


def _file_name(model: str) -> str:
    text = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", model)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower() + ".py"


def read_model(name: str) -> Model:
    """Return the model class ``name``; raises FileNotFoundError when there is none."""
    tree = ast.parse((_folder() / _file_name(name)).read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    types = _table(node, "openapi_types")
    names = _table(node, "attribute_map")
    annotations, with_default = _annotations(node)
    docs = _documentation(node)
    old_required = _checked_setters(node)
    fields = {}
    for attribute, type_name in types.items():
        annotation = annotations.get(attribute, "")
        required = bool(annotation) and attribute not in with_default
        fields[names[attribute]] = Field(
            name=names[attribute],
            type=type_name,
            required=required or attribute in old_required,
            int_or_string="StrictInt" in annotation and "StrictStr" in annotation,
            description=docs.get(attribute, ""),
        )
    doc = ast.get_docstring(node) or ""
    return Model(name, "" if doc.startswith("NOTE:") else doc.split("\n\nAttributes:")[0], fields)


def _table(node: ast.ClassDef, name: str) -> dict[str, str]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
        if named and statement.value is not None:
            return dict(ast.literal_eval(statement.value))
    return {}


def _annotations(node: ast.ClassDef) -> tuple[dict[str, str], set[str]]:
    """Return the annotations of pydantic's fields, and which fields have a default."""
    annotations: dict[str, str] = {}
    with_default: set[str] = set()
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        annotations[name] = ast.unparse(statement.annotation)
        value = statement.value
        if isinstance(value, ast.Call):
            if any(keyword.arg == "default" for keyword in value.keywords) or value.args:
                with_default.add(name)
        elif value is not None:
            with_default.add(name)
    return annotations, with_default


def _documentation(node: ast.ClassDef) -> dict[str, str]:
    docs: dict[str, str] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Call):
            for keyword in statement.value.keywords:
                if keyword.arg == "description" and isinstance(statement.target, ast.Name):
                    docs[statement.target.id] = str(ast.literal_eval(keyword.value))
        elif isinstance(statement, ast.FunctionDef) and statement.decorator_list:
            parts = (ast.get_docstring(statement) or "").split("  # noqa: E501")
            if len(parts) > 2:
                docs.setdefault(statement.name, parts[1].strip())
    return docs


def _checked_setters(node: ast.ClassDef) -> set[str]:
    """The required attributes of models before pydantic: their setters refuse None."""
    return {
        statement.name
        for statement in node.body
        if isinstance(statement, ast.FunctionDef)
        and any("setter" in ast.unparse(decorator) for decorator in statement.decorator_list)
        and "must not be `None`" in ast.unparse(statement)
    }
