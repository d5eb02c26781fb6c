"""Informers against the embedded control plane, which is restarted empty under them."""

from __future__ import annotations

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers import CachedObject, HandlerFuncs, InformerFactory
from kcpctl.testing import ControlPlane, eventually


def test_a_server_that_comes_back_empty_is_listed_again_and_deletions_are_told() -> None:
    """KCP-10, KCP-19, pitfall 7: one wildcard informer, two logical clusters, a new server."""
    deleted: list[CachedObject] = []
    with ControlPlane() as plane:
        everything = plane.all_clusters
        clients = [plane.client.cluster("root"), plane.workspace()]
        for client in clients:
            maps = client.resource(CONFIG_MAPS)
            maps.create({"metadata": {"name": "same", "namespace": "default"}, "data": {"a": "1"}})
        factory = InformerFactory(everything.aio, plane.loop)
        informer = factory.informer(CONFIG_MAPS)
        informer.add_handler(HandlerFuncs(on_delete=deleted.append))
        factory.start()
        factory.wait_for_sync(10)
        same = [key for key in list(informer.lister.keys()) if key.endswith("|default/same")]
        assert len(same) == 2
        assert "root|default/same" in same
        plane.restart()
        eventually(lambda: {obj.key for obj in deleted} >= set(same))
        assert informer.lister.cached("root|default/same") is None
        # The watch goes on where the new server is.
        clients[0].resource(CONFIG_MAPS).create(
            {"metadata": {"name": "new", "namespace": "default"}}
        )
        eventually(lambda: informer.lister.cached("root|default/new"))
        factory.close()
