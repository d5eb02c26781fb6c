"""Informers and the committer against every API server at hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CONFIG_MAPS, CRDS, Resource
from kcpctl.client import Client
from kcpctl.controller import commit, commit_applied
from kcpctl.errors import Conflict
from kcpctl.informers import (
    AggregateInformer,
    CachedObject,
    DiscoveringInformers,
    HandlerFuncs,
    InformerFactory,
)
from kcpctl.testing import eventually

GIZMOS = Resource("example.com", "v1", "gizmos", "Gizmo")
DEFINITION: Unstructured = {
    "metadata": {"name": GIZMOS.group_resource},
    "spec": {
        "group": GIZMOS.group,
        "scope": "Namespaced",
        "names": {"plural": "gizmos", "singular": "gizmo", "kind": "Gizmo"},
        "versions": [
            {
                "name": name,
                "served": True,
                "storage": name == "v1",
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
            for name in ("v1alpha1", "v1")
        ],
    },
}


@pytest.fixture
def factory(client: Client) -> Iterator[InformerFactory]:
    made = InformerFactory(client.aio, client.loop)
    yield made
    made.close()


def test_an_informer_comes_and_goes_with_its_definition(
    client: Client, factory: InformerFactory, namespace: str
) -> None:
    """KCP-30, KCP-31: in the preferred version, with the deletes of what was there."""
    discovering = DiscoveringInformers(factory, client.loop)
    discovering.start()
    client.resource(CRDS).create(DEFINITION)
    informer = eventually(lambda: discovering.informers.get(GIZMOS))
    assert informer is not None
    there: set[str] = set()

    def gone(obj: CachedObject) -> None:
        there.discard(obj.key)

    informer.add_handler(HandlerFuncs(on_add=lambda obj: there.add(obj.key), on_delete=gone))
    gizmo = {"metadata": {"name": "same", "namespace": namespace}}
    eventually(lambda: client.resource(GIZMOS).create(gizmo))
    eventually(lambda: there == {f"root|{namespace}/same"})
    client.resource(CRDS).delete(GIZMOS.group_resource)
    eventually(lambda: GIZMOS not in discovering.informers)
    assert there == set()
    assert factory.waiting_for == []
    discovering.close()


def test_a_state_that_is_asked_for_is_read_anew(
    client: Client, factory: InformerFactory, namespace: str
) -> None:
    """KCP-16, KCP-17: what was removed here and is there all the same comes back."""
    informer = factory.informer(CONFIG_MAPS, namespace=namespace)
    client.resource(CONFIG_MAPS).create({"metadata": {"name": "same", "namespace": namespace}})
    factory.start()
    key = f"root|{namespace}/same"
    eventually(lambda: informer.lister.cached(key))
    informer.remove("root")
    eventually(lambda: informer.lister.cached(key) is None)
    informer.relist()
    eventually(lambda: informer.lister.cached(key))


def test_two_views_of_one_server_are_one_aggregate(client: Client, namespace: str) -> None:
    """KCP-23, KCP-24: objects move to the member that is left, and go with the last."""
    told: list[str] = []
    aggregate = AggregateInformer(CONFIG_MAPS, dict, client.loop)
    aggregate.add_handler(
        HandlerFuncs(
            on_update=lambda old, new: told.append("update"),
            on_delete=lambda obj: told.append(f"delete {obj.meta.name}"),
        )
    )
    client.resource(CONFIG_MAPS).create({"metadata": {"name": "same", "namespace": namespace}})
    aggregate.set_members({"one": client.aio, "two": client.aio})
    eventually(lambda: aggregate.synced)
    objects = len(aggregate.lister)
    aggregate.set_members({"two": client.aio})
    assert (len(aggregate.lister), told) == (objects, [])
    aggregate.set_members({})
    assert len(aggregate.lister) == 0
    assert "delete same" in told
    aggregate.close()


@pytest.mark.parametrize("applied", [False, True])
def test_a_commit_is_guarded(client: Client, namespace: str, applied: bool) -> None:
    """KCP-32, KCP-33: by the version that was read, and by the uid of what was deleted since."""
    maps = client.resource(CONFIG_MAPS)
    mine: Unstructured = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "same", "namespace": namespace},
        "data": {"a": "1", "b": "2"},
    }
    before = maps.apply(mine, field_manager="m")

    def write(old: Unstructured, value: str) -> Unstructured | None:
        new = copy.deepcopy(old)
        new["data"]["a"] = value
        if applied:
            return commit_applied(maps, old, new, field_manager="m")
        return commit(maps, old, new, field_manager="m")

    after = write(before, "5")
    assert after is not None
    assert after["data"] == {"a": "5", "b": "2"}
    with pytest.raises(Conflict):
        write(before, "6")
    maps.delete("same", namespace=namespace)
    maps.apply(mine, field_manager="m")
    with pytest.raises(Conflict):
        write(after, "7")
    if applied:
        # What the controller no longer has is removed, as it was its own.
        last = maps.get("same", namespace=namespace)
        without = {**last, "data": {"a": "1"}}
        assert commit_applied(maps, last, without, field_manager="m") is not None
        assert maps.get("same", namespace=namespace)["data"] == {"a": "1"}
