from __future__ import annotations

from collections import Counter

from kcpctl.embedded.kinds import BUILT_IN, WORKSPACE_KINDS, ResourceInfo, built_in_infos
from kcpctl.embedded.kindset import KindSet


def test_no_resource_is_listed_twice() -> None:
    names = Counter(
        (info.group, info.version, info.plural) for info in built_in_infos(workspaces=True)
    )
    assert max(names.values()) == 1


def test_a_plain_server_has_no_workspaces() -> None:
    plain = built_in_infos(workspaces=False)
    assert not set(plain) & set(WORKSPACE_KINDS)
    assert set(built_in_infos(workspaces=True)) == {*BUILT_IN, *WORKSPACE_KINDS}


def test_reviews_can_only_be_created() -> None:
    virtual = {info.plural for info in BUILT_IN if info.virtual}
    assert "tokenreviews" in virtual
    assert "pods" not in virtual


def test_namespaces_have_no_deletecollection() -> None:
    namespaces = next(info for info in BUILT_IN if info.plural == "namespaces")
    assert "deletecollection" not in namespaces.verbs


def test_events_of_both_groups_are_one_resource_in_the_store() -> None:
    assert {info.storage_key for info in BUILT_IN if info.plural == "events"} == {"events"}


def test_names_are_qualified_by_group() -> None:
    info = ResourceInfo("apps", "v1", "deployments", "Deployment")
    assert (info.api_version, info.group_resource) == ("apps/v1", "deployments.apps")
    core = ResourceInfo("", "v1", "pods", "Pod")
    assert (core.api_version, core.group_resource) == ("v1", "pods")


def test_the_storage_version_is_preferred() -> None:
    kinds = KindSet(workspaces=False)
    info = kinds.storage_info("root", "events")
    assert info is not None
    assert info.group == ""
    assert kinds.storage_info("root", "nosuch") is None


def test_lists_of_kinds_are_made_once() -> None:
    kinds = KindSet(workspaces=False)
    assert kinds.infos("root") is kinds.infos("root")
