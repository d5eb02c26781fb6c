"""A logical cluster that goes, over real sockets: nothing of it is left, the others go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import Client
from kcpctl.controller import Controller, Request
from kcpctl.errors import TransportTimeout
from kcpctl.informers import HandlerFuncs
from kcpctl.manager import Manager
from kcpctl.testing import ControlPlane, eventually


class Site:
    """A controller of every cluster's ConfigMaps, that fails for those named ``failing``."""

    def __init__(self, plane: ControlPlane) -> None:
        self.manager = Manager(plane.all_clusters)
        self.maps = self.manager.informers.informer(CONFIG_MAPS, namespace="default")
        self.deleted: list[str] = []
        self.maps.add_handler(HandlerFuncs(on_delete=lambda obj: self.deleted.append(obj.key)))
        self.runs: list[str] = []
        self.controller = Controller("maps", self, workers=3).watches(self.maps)
        self.manager.add(self.controller)

    def reconcile(self, request: Request) -> None:
        self.runs.append(request.key)
        if request.name == "failing":
            raise TransportTimeout("later")

    def of(self, cluster: str) -> set[str]:
        """Every key of a cluster that is in store or queue."""
        found = self.controller.queue.snapshot()
        keys = {*self.maps.lister.keys(), *found.queued, *found.waiting, *found.processing}
        return {key for key in keys if key.startswith(f"{cluster}|")}


def create(workspace: Client, name: str) -> str:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    workspace.resource(CONFIG_MAPS).create(body, namespace="default")
    return f"{workspace.cluster_name}|default/{name}"


@pytest.fixture
def site(control_plane: ControlPlane) -> Iterator[Site]:
    made = Site(control_plane)
    with made.manager:
        yield made


def test_a_cluster_is_removed_from_store_and_queue_and_may_come_back(
    site: Site, control_plane: ControlPlane
) -> None:
    """MCR-02, MCR-04, KCP-17: with its deletes delivered when the call returns."""
    gone, stays = control_plane.workspace(), control_plane.workspace()
    failing = create(gone, "failing")
    kept = create(stays, "failing")
    site.manager.start()
    queue = site.controller.queue
    eventually(lambda: queue.num_requeues(failing) > 2 and queue.num_requeues(kept) > 2)
    site.manager.remove(gone.cluster_name)
    site.manager.remove(gone.cluster_name)
    assert site.of(gone.cluster_name) == set()
    assert queue.num_requeues(failing) == 0
    assert site.deleted.count(failing) == 1
    assert kept in site.of(stays.cluster_name)
    assert queue.num_requeues(kept) > 0
    again = create(gone, "again")
    eventually(lambda: again in site.runs)
    assert site.maps.lister.cached(failing) is None


def test_a_controller_of_all_clusters_leaves_a_worker_to_the_others(site: Site) -> None:
    """However slow the reconciles of one cluster are."""
    assert site.controller._fair._max_per_cluster == 2
