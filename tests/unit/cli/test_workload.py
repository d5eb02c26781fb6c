from __future__ import annotations

import pytest

from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, Resource
from kcpctl.cli.workload import parse_object
from kcpctl.errors import UsageError


@pytest.mark.parametrize(
    ("text", "resource", "name"),
    [
        ("deploy/web-east", DEPLOYMENTS, "web-east"),
        ("Deployment/web", DEPLOYMENTS, "web"),
        ("deployments.apps/web", DEPLOYMENTS, "web"),
        ("cm/settings", CONFIG_MAPS, "settings"),
        ("ns/team", NAMESPACES, "team"),
    ],
)
def test_an_object_is_named_as_kubectl_names_it(text: str, resource: Resource, name: str) -> None:
    assert parse_object(text) == (resource, name)


@pytest.mark.parametrize("text", ["web", "deploy/", "/web", "pod/web", ""])
def test_what_names_no_object_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="write KIND/NAME"):
        parse_object(text)
