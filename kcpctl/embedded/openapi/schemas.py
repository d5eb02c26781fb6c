"""OpenAPI v3 schemas of built-in types and CRDs, with descriptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.openapi.names import closure, definition_name
from kcpctl.embedded.schema.builtin import PRESENT, TYPE_NAME, Schema, kinds, type_schema
from kcpctl.embedded.schema.models import Field, Model, read_model

__all__ = ["built_in_type", "component_name", "components"]

Json = dict[str, Any]
_REF: Final = "#/components/schemas/"
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_FIELDS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
_SPECIAL: Final[dict[str, Json]] = {
    _INT_OR_STRING: {
        "description": "A whole number, or a string such as a percentage or a port's name.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    _QUANTITY: {
        "description": "A number with a suffix: 500m, 1.5Gi, 12e6.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
    _FIELDS: {"description": "A set of fields, as a tree of their names.", "type": "object"},
}
_EXTENSIONS: Final = (
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
)


def built_in_type(info: ResourceInfo) -> str | None:
    """Return the built-in type of a resource's objects."""
    return kinds().get(f"{info.group}/{info.version}/{info.kind}")


def component_name(info: ResourceInfo) -> str:
    """Return the name of a resource's schema."""
    name = built_in_type(info)
    if name is not None and info.crd is None:
        return definition_name(name)
    domain = ".".join(reversed(info.group.split(".")))
    return f"{domain}.{info.version}.{info.kind}"


def gvk(info: ResourceInfo) -> Json:
    """Return group, version and kind as extensions carry them."""
    return {"group": info.group, "version": info.version, "kind": info.kind}


def components(infos: Iterable[ResourceInfo]) -> dict[str, Json]:
    """Return the schemas of resources and of all types they refer to."""
    infos = list(infos)
    roots = [name for info in infos if info.crd is None and (name := built_in_type(info))]
    names = closure("V1ObjectMeta", *roots)
    models = {name: _model(name) for name in names}
    result = dict(_SPECIAL) | {definition_name(name): _type(models, name) for name in names}
    for info in infos:
        name = component_name(info)
        if name not in result:
            result[name] = _custom(info)
        entries = result[name].setdefault("x-kubernetes-group-version-kind", [])
        if gvk(info) not in entries:
            entries.append(gvk(info))
    return dict(sorted(result.items()))


def _model(name: str) -> Model:
    """Return the documented model; an empty one when the installed package has none."""
    try:
        return read_model(name)
    except (FileNotFoundError, ModuleNotFoundError, StopIteration):
        return Model(name)


def _type(models: dict[str, Model], name: str) -> Json:
    model, node = models[name], type_schema(name)
    properties = {}
    for field, child in node["properties"].items():
        schema = _property(field, child)
        # The package has no words about fields that are structs: those about the struct do.
        words = _words(model.fields, field)
        words = words or (models[child[TYPE_NAME]].description if TYPE_NAME in child else "")
        if words:
            schema["description"] = words
        if field in node.get(PRESENT, ()):
            schema["default"] = {}
        properties[field] = schema
    result: Json = {"description": model.description} if model.description else {}
    result |= {"type": "object", "properties": properties}
    for key in ("required", "x-kubernetes-map-type"):
        if key in node:
            result[key] = node[key]
    return result


def _ref(name: str) -> Json:
    return {"allOf": [{"$ref": f"{_REF}{name}"}]}


def _item(field: str, node: Schema) -> Json:
    schema = _property(field, node)
    return schema["allOf"][0] if schema.keys() == {"allOf"} else schema


def _property(field: str, node: Schema) -> Json:
    if TYPE_NAME in node:
        return _ref(definition_name(node[TYPE_NAME]))
    if node.get("x-kubernetes-int-or-string"):
        return _ref(_INT_OR_STRING)
    if node.get("format") == "quantity":
        return _ref(_QUANTITY)
    if "type" not in node:
        return _ref(_FIELDS) if field == "fieldsV1" else {"type": "object"}
    result: Json = {"type": node["type"]}
    if "format" in node:
        result["format"] = node["format"].replace("micro-time", "date-time")
    if "enum" in node:
        result["enum"] = node["enum"]
    if "items" in node:
        result["items"] = _item(field, node["items"])
    if "additionalProperties" in node:
        result["additionalProperties"] = _item(field, node["additionalProperties"])
    return result | {key: node[key] for key in _EXTENSIONS if key in node}


def _custom(info: ResourceInfo) -> Json:
    given = (info.crd.schema if info.crd else None) or {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    # The words for the three fields of every object are those of the built-in kinds.
    common = _model("V1ConfigMap").fields
    about_metadata = _model("V1ObjectMeta").description
    properties = dict(given.get("properties") or {})
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string", "description": _words(common, name)}
    metadata = _ref(definition_name("V1ObjectMeta"))
    properties["metadata"] = {**metadata, "description": about_metadata}
    return {**given, "properties": dict(sorted(properties.items()))}


def _words(fields: dict[str, Field], name: str) -> str:
    return fields[name].description if name in fields else ""
