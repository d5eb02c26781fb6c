"""Informers against the embedded control plane, which is restarted empty under them."""

from __future__ import annotations

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers import CachedObject, HandlerFuncs, InformerFactory
from kcpctl.runtime import Metrics
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
        factory.wait_for_sync(60)
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


def test_states_are_streamed_and_may_be_metadata_alone() -> None:
    """WL-01, WL-15, pitfall 3; and a removed cluster leaves nothing behind (KCP-17 fixed)."""
    with ControlPlane() as plane:
        for client in (plane.client.cluster("root"), plane.workspace()):
            client.resource(CONFIG_MAPS).create(
                {"metadata": {"name": "same", "namespace": "default"}, "data": {"a": "1"}}
            )
        metrics = Metrics()
        factory = InformerFactory(plane.all_clusters.aio, plane.loop, metrics=metrics)
        whole = factory.informer(CONFIG_MAPS)
        partial = factory.informer(CONFIG_MAPS, metadata_only=True)
        assert whole is not partial
        factory.start()
        factory.wait_for_sync(60)
        labels = {"name": "", "resource": "configmaps", "scope": ""}
        assert metrics.registry.get_sample_value("informer_streams_state", labels) == 1
        same = [key for key in whole.lister.keys() if key.endswith("|default/same")]  # noqa: SIM118
        assert len(same) == 2
        assert whole.lister.get("root|default/same")["data"] == {"a": "1"}
        assert partial.lister.keys() == whole.lister.keys()
        assert "data" not in partial.lister.get("root|default/same")
        factory.remove("root")
        eventually(lambda: whole.lister.cached("root|default/same") is None)
        eventually(lambda: partial.lister.cached("root|default/same") is None)
        assert len(whole.lister) >= 1
        factory.close()


def test_a_buffered_handler_may_ask_the_server_and_hears_resyncs() -> None:
    """INF-02, INF-38: it blocks on requests that the I/O thread has to make meanwhile."""
    seen: list[str] = []
    with ControlPlane() as plane:
        maps = plane.workspace().resource(CONFIG_MAPS)

        def ask(obj: CachedObject) -> None:
            if obj.meta.name == "a":
                seen.append(maps.get("a", namespace="default")["data"]["x"])

        def resynced(old: CachedObject, new: CachedObject) -> None:
            if new.meta.name == "a" and old.resource_version == new.resource_version:
                ask(new)

        maps.create({"metadata": {"name": "a", "namespace": "default"}, "data": {"x": "1"}})
        factory = InformerFactory(plane.all_clusters.aio, plane.loop)
        registration = factory.informer(CONFIG_MAPS).add_handler(
            HandlerFuncs(on_add=ask, on_update=resynced), buffered=True, resync_seconds=1
        )
        factory.start()
        registration.wait_for_sync(60)
        assert seen[0] == "1"
        eventually(lambda: len(seen) >= 2)
        factory.close()
        registration.remove()
