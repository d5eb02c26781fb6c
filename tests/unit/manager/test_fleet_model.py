"""A fleet against a kcp in memory, whatever happens to that in whatever order."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kcpctl.controller import Request
from kcpctl.errors import ConnectionRefused
from kcpctl.runtime import IOLoop
from tests.unit.manager.test_fleet import Rig

SHARDS = ("a", "b")
SHARD = st.sampled_from(SHARDS)
CLUSTER = st.sampled_from(("one", "two"))
STEPS = st.one_of(
    # What goes wrong most easily is tried most often.
    st.tuples(st.just("bind"), st.just("a"), CLUSTER, st.booleans()),
    st.tuples(st.just("change"), st.just("a"), CLUSTER),
    st.tuples(st.just("bind"), SHARD, CLUSTER, st.booleans()),
    st.tuples(st.just("unbind"), SHARD, CLUSTER),
    st.tuples(st.just("change"), SHARD, CLUSTER),
    st.tuples(st.just("publish"), st.sets(SHARD)),
    st.tuples(st.just("down"), SHARD),
    st.tuples(st.just("up"), SHARD),
    st.tuples(st.just("time"), st.sampled_from((1, 29, 31, 60))),
)


class World(Rig):
    """Knows which objects have changed since they were last reconciled."""

    def __init__(self, io_loop: IOLoop) -> None:
        super().__init__(io_loop)
        self.changed: set[str] = set()
        self.strays: list[str] = []
        # Engaged at some time since the last step.
        self.lately: set[str] = set()

    def reconcile(self, request: Request) -> None:
        super().reconcile(request)
        self.changed.discard(request.key)
        if request.cluster not in self.lately and not self.fleet.is_engaged(request.cluster):
            self.strays.append(request.key)

    def happen(self, step: tuple[object, ...]) -> None:
        name, *rest = step
        self.lately = {one for one in ("one", "two") if self.fleet.is_engaged(one)}
        if name == "time":
            assert isinstance(rest[0], int)
            self.settle(seconds=rest[0])
        else:
            self.settle(lambda: getattr(self, f"_{name}")(*rest))

    def _bind(self, shard: str, cluster: str, ready: bool) -> None:
        self.kcp.shard(shard).bind(cluster, ready=ready, path=f"root:{cluster}")

    def _unbind(self, shard: str, cluster: str) -> None:
        if (cluster, "b") in self.kcp.shard(shard).objects["apibindings"]:
            self.kcp.shard(shard).unbind(cluster)

    def _change(self, shard: str, cluster: str) -> None:
        self.changed.add(f"{cluster}|{shard}")
        self.kcp.shard(shard).put("configmaps", cluster, shard)

    def _publish(self, shards: set[str]) -> None:
        self.kcp.publish(*sorted(shards))

    def _down(self, shard: str) -> None:
        self.kcp.shard(shard).down = ConnectionRefused("nobody there")

    def _up(self, shard: str) -> None:
        self.kcp.shard(shard).down = None

    def bound(self, shard: str) -> set[str]:
        """Return the clusters that a shard shows a binding of."""
        return {cluster for cluster, _ in self.kcp.shard(shard).objects["apibindings"]}


@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(STEPS, min_size=4, max_size=20))
def test_in_the_end_what_is_bound_is_engaged_and_all_of_it_was_reconciled(
    steps: list[tuple[object, ...]],
) -> None:
    with IOLoop() as io_loop:
        world = World(io_loop)
        for name in SHARDS:
            world.kcp.shard(name)
        try:
            for cluster in ("one", "two"):
                world.kcp.shard("a").bind(cluster, path=f"root:{cluster}")
            world.start("a")
            for step in steps:
                world.happen(step)
                assert world.strays == []
            for name in SHARDS:
                world.happen(("up", name))
            world.happen(("publish", set(SHARDS)))
            for name in SHARDS:
                for cluster in world.bound(name):
                    world.happen(("bind", name, cluster, True))
            for _ in range(8):
                world.happen(("time", 60))
            ready = {name: world.bound(name) for name in SHARDS}
            for cluster in ("one", "two"):
                shards = [name for name in SHARDS if cluster in ready[name]]
                assert world.fleet.is_engaged(cluster) == bool(shards)
                if shards:
                    server = world.fleet.client.cluster(cluster).server
                    assert server in {world.kcp.url(name) for name in shards}
                    # A shard without any ready binding is not looked at.
                    looked_at = {f"{cluster}|{name}" for name in SHARDS if ready[name]}
                    assert not world.changed & looked_at
            assert world.strays == []
        finally:
            world.close()
