from __future__ import annotations

import base64
from typing import Any

import pytest

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry

Json = dict[str, Any]
_VERSIONS = {"apiexports": "v1alpha2", "apibindings": "v1alpha2"}


class World:
    """A provider and a tenant on a registry, and short words for what they do."""

    def __init__(self, registry: Registry) -> None:
        registry.serve_at("https://host:1")
        self.registry = registry
        self.provider = self.workspace("provider")
        self.tenant = self.workspace("tenant")

    def workspace(self, name: str) -> str:
        """Make a workspace below the root; returns its logical cluster."""
        info = self.registry.info("root", "tenancy.kcp.io", "v1alpha1", "workspaces")
        self.registry.create(info, "root", "", {"metadata": {"name": name}})
        cluster: str = self.registry.get(info, "root", "", name)["spec"]["cluster"]
        return cluster

    def kind(self, cluster: str, plural: str) -> ResourceInfo:
        """Return a kind of apis.kcp.io."""
        version = _VERSIONS.get(plural, "v1alpha1")
        return self.registry.info(cluster, "apis.kcp.io", version, plural)

    def get(self, cluster: str, plural: str, name: str) -> Json:
        return self.registry.get(self.kind(cluster, plural), cluster, "", name)

    def find(self, cluster: str, plural: str, name: str) -> Json | None:
        return self.registry.find(self.kind(cluster, plural), cluster, "", name)

    def create(self, cluster: str, plural: str, name: str, spec: Json, **meta: Any) -> Json:
        body = {"metadata": {"name": name, **meta}, "spec": spec}
        return self.registry.create(self.kind(cluster, plural), cluster, "", body)

    def patch(self, cluster: str, plural: str, name: str, body: Json) -> Json:
        return self.registry.patch(self.kind(cluster, plural), cluster, "", name, body)

    def delete(self, cluster: str, plural: str, name: str) -> None:
        self.registry.delete(self.kind(cluster, plural), cluster, "", name)

    # -- what most tests need -------------------------------------------------------------

    def schema(self, name: str = "v1.widgets.example.com", **fields: Any) -> Json:
        """Make the APIResourceSchema of a kind: ``fields`` are properties of its spec."""
        spec = schema_spec(name, fields or {"size": {"type": "integer"}})
        return self.create(self.provider, "apiresourceschemas", name, spec)

    def export(self, *schemas: str, name: str = "widgets", **spec: Any) -> Json:
        """Make an APIExport; returns it with its identity."""
        resources = []
        for schema in schemas or ("v1.widgets.example.com",):
            _, plural, group = schema.split(".", 2)
            resources.append({"name": plural, "group": group, "schema": schema})
        self.create(self.provider, "apiexports", name, {"resources": resources, **spec})
        return self.get(self.provider, "apiexports", name)

    def bind(
        self,
        name: str = "widgets",
        *,
        export: str = "widgets",
        cluster: str = "",
        claims: list[Json] | None = None,
        path: str = "root:provider",
    ) -> Json:
        """Make an APIBinding; returns it in its last state."""
        cluster = cluster or self.tenant
        spec: Json = {"reference": {"export": {"path": path, "name": export}}}
        if claims:
            spec["permissionClaims"] = claims
        self.create(cluster, "apibindings", name, spec)
        return self.get(cluster, "apibindings", name)

    def bound(self) -> Json:
        """Do all of it; returns the binding."""
        self.schema()
        self.export()
        return self.bind()

    def widgets(self, cluster: str = "") -> ResourceInfo:
        return self.registry.info(cluster or self.tenant, "example.com", "v1", "widgets")

    def widget(self, name: str, cluster: str = "", **meta: Any) -> Json:
        """Make an object of the bound kind."""
        cluster = cluster or self.tenant
        body = {"metadata": {"name": name, **meta}, "spec": {"size": 1}}
        return self.registry.create(self.widgets(cluster), cluster, "default", body)

    def secret(self, name: str, key: bytes) -> None:
        """Make a secret that can be an export's identity, in the provider's default namespace."""
        info = self.registry.info(self.provider, "", "v1", "secrets")
        data = {"key": base64.b64encode(key).decode()}
        body = {"metadata": {"name": name}, "data": data}
        self.registry.create(info, self.provider, "default", body)

    def condition(self, obj: Json, kind: str) -> tuple[str, str, str]:
        """Return a condition's status, reason and message."""
        found = next(one for one in obj["status"]["conditions"] if one["type"] == kind)
        return found["status"], found.get("reason", ""), found.get("message", "")


def schema_spec(name: str, fields: Json) -> Json:
    """Return the spec of an APIResourceSchema by its name, PREFIX.PLURAL.GROUP."""
    _, plural, group = name.split(".", 2)
    kind = plural.removesuffix("s").capitalize()
    spec: Json = {"type": "object", "properties": fields}
    root = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": root,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    }
    names = {
        "plural": plural,
        "singular": kind.lower(),
        "kind": kind,
        "listKind": f"{kind}List",
    }
    return {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}


@pytest.fixture
def world(workspaces: Registry) -> World:
    return World(workspaces)
