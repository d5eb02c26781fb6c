"""What a provider and a tenant apply on a kcp."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kcpctl.apis import export
from kcpctl.apis.crds import all_crds
from kcpctl.apis.export import (
    CLAIMS,
    binding,
    endpoint_slice,
    provider_objects,
    resource_schemas,
)
from kcpctl.apis.meta import Unstructured

ROOT = Path(__file__).resolve().parents[3]
CLAIMABLE_WITHOUT_IDENTITY = {
    *("namespaces", "configmaps", "secrets", "serviceaccounts", "events"),
    *("clusterroles", "clusterrolebindings", "logicalclusters", "subjectaccessreviews"),
}


def by_kind(objects: list[Unstructured], kind: str) -> list[Unstructured]:
    return [obj for obj in objects if obj["kind"] == kind]


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def rules(name: str) -> dict[str, Any]:
    """Return the verbs by resource of a ClusterRole of the provider's workspace."""
    roles = by_kind(provider_objects("e"), "ClusterRole")
    [role] = [one for one in roles if one["metadata"]["name"] == name]
    return {one: rule for rule in role["rules"] for one in rule.get("resources", ["/"])}


def test_a_schema_has_what_the_crd_has_and_the_schema_bare() -> None:
    for schema, crd in zip(resource_schemas(), all_crds(), strict=True):
        [version], [original] = schema["spec"]["versions"], crd["spec"]["versions"]
        assert version == {**original, "schema": original["schema"]["openAPIV3Schema"]}
        assert {name: schema["spec"][name] for name in ("group", "names", "scope")} == {
            name: crd["spec"][name] for name in ("group", "names", "scope")
        }


def test_a_schemas_name_is_one_that_kcp_takes() -> None:
    for schema in resource_schemas():
        tail = f".{schema['spec']['names']['plural']}.{schema['spec']['group']}"
        name = schema["metadata"]["name"]
        assert name.endswith(tail)
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name.removesuffix(tail))


def test_another_content_is_another_name_and_the_same_content_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crds = copy.deepcopy(all_crds())
    crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] += " More."
    crds[1]["spec"] = dict(reversed(crds[1]["spec"].items()))
    before = [one["metadata"]["name"] for one in resource_schemas()]

    monkeypatch.setattr(export, "all_crds", lambda: crds)

    after = [one["metadata"]["name"] for one in resource_schemas()]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_the_export_points_to_the_schemas_that_come_before_it() -> None:
    objects = provider_objects("mine")
    [offered] = by_kind(objects, "APIExport")
    before = objects[: objects.index(offered)]
    assert [one["schema"] for one in offered["spec"]["resources"]] == [
        schema["metadata"]["name"] for schema in by_kind(before, "APIResourceSchema")
    ]


def test_the_slice_names_the_path_or_kcp_would_give_it_no_url() -> None:
    endpoints = endpoint_slice("root:p", "mine")
    assert endpoints["spec"]["export"] == {"path": "root:p", "name": "mine"}


def test_a_tenant_accepts_exactly_what_the_export_claims() -> None:
    """Verbs count only where both sides spell them alike."""
    [offered] = by_kind(provider_objects(), "APIExport")
    accepted = binding("root:p")["spec"]
    assert accepted["reference"]["export"] == {"path": "root:p", "name": "kcpctl"}
    assert [
        {name: claim[name] for name in ("group", "resource", "identityHash", "verbs")}
        for claim in accepted["permissionClaims"]
        if claim["state"] == "Accepted" and claim["selector"] == {"matchAll": True}
    ] == offered["spec"]["permissionClaims"]


def test_no_claim_is_a_wildcard_or_needs_an_identity() -> None:
    assert {claim.resource for claim in CLAIMS} == CLAIMABLE_WITHOUT_IDENTITY
    assert all(claim.verbs and "*" not in claim.verbs for claim in CLAIMS)


def test_the_controllers_hold_each_verb_of_the_claims_on_the_content_of_the_export() -> None:
    content = rules("kcpctl-controllers")["apiexports/content"]
    assert {verb for claim in CLAIMS for verb in claim.verbs} <= set(content["verbs"])
    assert content["resourceNames"] == ["e"]


def test_the_bind_role_allows_binding_this_export_and_nothing_else() -> None:
    [(resource, rule)] = rules("e-bind").items()
    assert (resource, rule["verbs"], rule["resourceNames"]) == ("apiexports", ["bind"], ["e"])


def test_the_files_in_config_have_all_of_it() -> None:
    files = [path for path in (ROOT / "config/kcp").glob("*.yaml") if path.stem != "kustomization"]
    there = [obj for path in files for obj in yaml.safe_load_all(path.read_text())]

    def order(obj: Unstructured) -> tuple[str, str]:
        return obj["kind"], obj["metadata"]["name"]

    assert sorted(there, key=order) == sorted(provider_objects(), key=order)
    assert read("config/kcp-tenant/apibinding.yaml") == binding("root:kcpctl")
    assert read("config/kcp/slice/apiexportendpointslice.yaml") == endpoint_slice("root:kcpctl")
