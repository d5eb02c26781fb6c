"""Custom resources that come and go at run time, in two logical clusters of an embedded server."""

from __future__ import annotations

from typing import Any

from kcpctl.apis.meta import Unstructured
from kcpctl.apis.resource import CRDS, Resource
from kcpctl.client import Client
from kcpctl.controller import Controller, Request, ResourceControllers
from kcpctl.informers import (
    CachedObject,
    DiscoveringInformers,
    HandlerFuncs,
    SharedInformer,
)
from kcpctl.manager import Manager
from kcpctl.testing import ControlPlane, eventually

WIDGETS = Resource("example.com", "v1", "widgets", "Widget")


def definition() -> Unstructured:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": WIDGETS.group_resource},
        "spec": {
            "group": WIDGETS.group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


class Watching:
    """Adds a handler to each informer of widgets, and notes what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.added: set[str] = set()

    def on_start(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        if resource == WIDGETS:
            self.told.append("start")
            informer.add_handler(HandlerFuncs(on_add=self._add, on_delete=self._delete))

    def on_stop(self, resource: Resource, informer: SharedInformer[Any]) -> None:
        if resource == WIDGETS:
            self.told.append("stop")

    def _add(self, obj: CachedObject) -> None:
        self.added.add(obj.key)

    def _delete(self, obj: CachedObject) -> None:
        self.added.discard(obj.key)


class Noting:
    def __init__(self, reconciled: set[str]) -> None:
        self._reconciled = reconciled

    def reconcile(self, request: Request) -> None:
        self._reconciled.add(request.key)


def install(client: Client) -> None:
    client.resource(CRDS).create(definition())
    widget = {"metadata": {"name": "same", "namespace": "default"}}
    eventually(lambda: client.resource(WIDGETS).create(widget))


def test_an_informer_comes_and_goes_with_its_definition() -> None:
    """KCP-30, KCP-31: installed in two clusters, gone when the second has dropped it."""
    with ControlPlane() as plane:
        one, two = plane.client, plane.workspace()
        manager = Manager(plane.all_clusters)
        discovering = DiscoveringInformers(manager.informers, plane.loop)
        discovering.subscribe(watching := Watching())
        reconciled: set[str] = set()
        controllers = ResourceControllers(
            "resources",
            discovering,
            lambda resource, informer: Controller(
                resource.plural, Noting(reconciled), workers=1
            ).watches(informer),
        )
        manager.add_factory(discovering)
        manager.add(controllers)
        assert manager.start()
        for client in (one, two):
            install(client)
        both = {f"{client.cluster_name}|default/same" for client in (one, two)}
        eventually(lambda: watching.added == reconciled == both)
        informer = discovering.informers[WIDGETS]
        one.resource(CRDS).delete(WIDGETS.group_resource)
        eventually(lambda: len(watching.added) == 1)
        assert discovering.informers[WIDGETS] is informer
        two.resource(CRDS).delete(WIDGETS.group_resource)
        eventually(lambda: watching.told == ["start", "stop"])
        assert WIDGETS not in discovering.informers
        assert watching.added == set()
        eventually(lambda: WIDGETS not in controllers.controllers)
        assert manager.stop()
        assert not controllers.running
