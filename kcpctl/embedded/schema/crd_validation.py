"""What the real server refuses in a CustomResourceDefinition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from kcpctl.embedded.schema.cel import compile_error
from kcpctl.embedded.status import Cause

__all__ = ["dns_1035_error", "validate_crd", "validate_names", "validate_schema"]

Json = dict[str, Any]
_DNS_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_DNS_1035_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    f"regex used for validation is '{_DNS_1035}')"
)
_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_APPROVAL: Final = "api-approved.kubernetes.io"
_APPROVAL_TEXT: Final = (
    f'protected groups must have approval annotation "{_APPROVAL}", '
    "see https://github.com/kubernetes/enhancements/pull/1111"
)


def validate_crd(crd: Json, old: Json | None = None) -> list[Cause]:
    """Return what is wrong with a (defaulted) CustomResourceDefinition."""
    spec = crd["spec"]
    causes = [*_names(crd, creating=old is None), *_spec(spec), *_versions(spec)]
    if old is None:
        causes += _approval(crd)
    else:
        causes += _update(crd, old)
    stored = (crd.get("status") or {}).get("storedVersions")
    if not stored:
        text = "must have at least one stored version"
        causes.append(Cause.invalid("status.storedVersions", stored, text))
    return causes


def dns_1035_error(text: str) -> str:
    """Return why ``text`` is no DNS-1035 label, "" when it is."""
    if len(text) > 63:
        return "must be no more than 63 characters"
    return "" if re.fullmatch(_DNS_1035, text) else _DNS_1035_TEXT


def _names(crd: Json, *, creating: bool) -> Iterator[Cause]:
    spec = crd["spec"]
    names, group = spec["names"], spec.get("group", "")
    wanted = f"{names.get('plural', '')}.{group}"
    if creating and crd["metadata"].get("name") != wanted:
        text = 'must be spec.names.plural+"."+spec.group'
        yield Cause.invalid("metadata.name", crd["metadata"].get("name", ""), text)
    if not group:
        yield Cause.required("spec.group")
    elif "." not in group:
        yield Cause.invalid("spec.group", group, "should be a domain with at least one dot")
    yield from validate_names(names)


def validate_names(names: Json) -> Iterator[Cause]:
    """Yield what is wrong with ``spec.names``."""
    for field in ("plural", "singular", "kind", "listKind"):
        name = names.get(field, "")
        if not name:
            yield Cause.required(f"spec.names.{field}")
        elif error := dns_1035_error(name.lower() if field in {"kind", "listKind"} else name):
            yield Cause.invalid(f"spec.names.{field}", name, error)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        yield Cause.invalid("spec.names.listKind", names["listKind"], text)
    for field in ("shortNames", "categories"):
        for index, name in enumerate(names.get(field) or ()):
            if error := dns_1035_error(name):
                yield Cause.invalid(f"spec.names.{field}[{index}]", name, error)


def _approval(crd: Json) -> Iterator[Cause]:
    group = crd["spec"].get("group", "")
    protected = group.endswith((".k8s.io", ".kubernetes.io")) or group in {
        "k8s.io",
        "kubernetes.io",
    }
    if protected and not (crd["metadata"].get("annotations") or {}).get(_APPROVAL):
        yield Cause.required(f"metadata.annotations[{_APPROVAL}]", _APPROVAL_TEXT)


def _spec(spec: Json) -> Iterator[Cause]:
    scopes = ("Cluster", "Namespaced")
    if not spec.get("scope"):
        yield Cause.required("spec.scope")
    elif spec["scope"] not in scopes:
        yield Cause.not_supported("spec.scope", spec["scope"], scopes)
    if spec.get("preserveUnknownFields"):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
        text += "spec.versions[*].schema instead"
        yield Cause.invalid("spec.preserveUnknownFields", True, text)
    strategy = spec.get("conversion", {}).get("strategy", "None")
    if strategy == "Webhook":
        webhook = spec["conversion"].get("webhook") or {}
        if not webhook.get("conversionReviewVersions"):
            yield Cause.required("spec.conversion.conversionReviewVersions")
        if not webhook.get("clientConfig"):
            text = "required when strategy is set to Webhook"
            yield Cause.required("spec.conversion.webhookClientConfig", text)
    elif strategy != "None":
        yield Cause.not_supported("spec.conversion.strategy", strategy, ("None", "Webhook"))


def _versions(spec: Json) -> Iterator[Cause]:
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield Cause.invalid("spec.versions", [_go_version(v) for v in versions], text)
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name", "")
        if error := dns_1035_error(name):
            yield Cause.invalid(f"{path}.name", name, error)
        elif name in seen:
            yield Cause.duplicate(f"{path}.name", name)
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield Cause.required(f"{path}.schema.openAPIV3Schema")
            continue
        # With one version the real server speaks of its internal, version-less form.
        where = "spec.validation" if len(versions) == 1 else f"{path}.schema"
        yield from validate_schema(schema, f"{where}.openAPIV3Schema")


def _go_version(version: Json) -> Json:
    pairs = {"Name": "name", "Served": "served", "Storage": "storage"}
    shown: Json = {go: version.get(key, False) for go, key in pairs.items()}
    shown |= {"Deprecated": version.get("deprecated", False), "DeprecationWarning": None}
    names = ("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields")
    return shown | dict.fromkeys(names)


def validate_schema(schema: Json, path: str) -> Iterator[Cause]:
    """Yield what is wrong with the schema of a version."""
    if not schema.get("type"):
        yield Cause.required(f"{path}.type", "must not be empty at the root")
    elif schema["type"] != "object":
        yield Cause.invalid(f"{path}.type", schema["type"], "must be object at the root")
    metadata = (schema.get("properties") or {}).get("metadata") or {}
    if set(metadata.get("properties") or ()) - {"name", "generateName"}:
        text = "must not specify anything other than name and generateName, but metadata is "
        text += "implicitly specified"
        yield Cause.forbidden(f"{path}.properties[metadata]", text)
        return
    yield from _node(schema, path, root=True)


def _node(
    schema: Json, path: str, *, root: bool = False, what: str = "object fields"
) -> Iterator[Cause]:
    kind = schema.get("type")
    free = schema.get("x-kubernetes-int-or-string") or schema.get(
        "x-kubernetes-preserve-unknown-fields"
    )
    if kind and kind not in _TYPES:
        yield Cause.not_supported(f"{path}.type", kind, _TYPES)
    elif not kind and not free and not root:
        yield Cause.required(f"{path}.type", f"must not be empty for specified {what}")
    if kind == "array" and not isinstance(schema.get("items"), dict):
        yield Cause.required(f"{path}.items", "must be specified")
    yield from _list_type(schema, path)
    yield from _default(schema, path)
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        yield from _rule(rule, f"{path}.x-kubernetes-validations[{index}]")
    if schema.get("properties") and schema.get("additionalProperties"):
        text = "additionalProperties and properties are mutual exclusive"
        yield Cause.forbidden(f"{path}.additionalProperties", text)
    for name, child in (schema.get("properties") or {}).items():
        if not (root and name == "metadata"):
            yield from _node(child, f"{path}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        yield from _node(schema["items"], f"{path}.items", what="array items")
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield from _node(extra, f"{path}.additionalProperties")


def _list_type(schema: Json, path: str) -> Iterator[Cause]:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    choices = ("atomic", "set", "map")
    if list_type is not None and list_type not in choices:
        yield Cause.not_supported(f"{path}.x-kubernetes-list-type", list_type, choices)
    if list_type == "map" and not keys:
        text = "must not be empty if x-kubernetes-list-type is map"
        yield Cause.required(f"{path}.x-kubernetes-list-map-keys", text)
    items = schema.get("items") or {}
    for key in keys or () if list_type == "map" else ():
        if key not in (items.get("properties") or {}):
            where = f"{path}.x-kubernetes-list-map-keys"
            text = "entries must all be names of item properties"
            yield Cause.invalid(where, keys, text)


def _default(schema: Json, path: str) -> Iterator[Cause]:
    from kcpctl.embedded.schema.validation import validate

    if "default" not in schema:
        return
    rest = {key: value for key, value in schema.items() if key != "x-kubernetes-validations"}
    for cause in validate(schema["default"], rest):
        where = f"{path}.default"
        yield Cause(
            "FieldValueInvalid",
            cause.message,
            f"{where}.{cause.field}" if cause.field else where,
        )


def _rule(rule: Json, path: str) -> Iterator[Cause]:
    expression = rule.get("rule", "")
    if not expression.strip():
        yield Cause.required(f"{path}.rule", "rule is not specified")
    elif error := compile_error(expression):
        shown = {
            "Rule": expression,
            "Message": rule.get("message", ""),
            "MessageExpression": rule.get("messageExpression", ""),
            "Reason": rule.get("reason"),
            "FieldPath": rule.get("fieldPath", ""),
            "OptionalOldSelf": rule.get("optionalOldSelf"),
        }
        yield Cause.invalid(f"{path}.rule", shown, f"compilation failed: {error}")


def _update(crd: Json, old: Json) -> Iterator[Cause]:
    spec, before = crd["spec"], old.get("spec", {})
    for field in ("group", "scope"):
        if spec.get(field) != before.get(field):
            yield Cause.invalid(f"spec.{field}", spec.get(field), "field is immutable")
    for field in ("plural", "kind"):
        name = spec["names"].get(field)
        if name != before.get("names", {}).get(field):
            yield Cause.invalid(f"spec.names.{field}", name, "field is immutable")
    if spec.get("versions") == before.get("versions"):
        return  # a status write may list any version
    served = {version.get("name") for version in spec.get("versions") or ()}
    for index, name in enumerate((crd.get("status") or {}).get("storedVersions") or ()):
        if name not in served:
            text = (
                f"missing from spec.versions; {name} was previously a storage version, and must "
                "remain in spec.versions until a storage migration ensures no data remains "
                f"persisted in {name} and removes {name} from status.storedVersions"
            )
            yield Cause.invalid(f"status.storedVersions[{index}]", name, text)
