"""Who is engaged, where, and what is forgotten, whatever the order in which it is told."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.controller import Controller, Request, Result
from kcpctl.manager.fleet.membership import Membership


class Story:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.tokens: dict[str, object] = {}
        self.membership = Membership(self)

    def engaged(self, cluster: str) -> None:
        self.told.append(f"engaged {cluster}")

    def left(self, cluster: str, token: object) -> None:
        self.told.append(f"left {cluster}")
        self.tokens[cluster] = token


def serving(*urls: str) -> Story:
    story = Story()
    for url in urls:
        story.membership.list_endpoint(url)
        story.membership.sync_endpoint(url)
    return story


def test_a_ready_binding_does_not_engage_before_its_endpoint_has_shown_everything() -> None:
    story = Story()
    story.membership.list_endpoint("a")
    story.membership.show("a", "one", "b", ready=True)
    assert not story.membership.is_engaged("one")
    story.membership.sync_endpoint("a")
    assert story.membership.is_engaged("one")
    assert story.told == ["engaged one"]


def test_a_binding_that_is_not_ready_parks_and_does_not_leave() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.show("a", "one", "b", ready=False)
    assert not story.membership.is_engaged("one")
    assert story.membership.find("one") == "a"
    assert "left one" not in story.told


def test_one_ready_binding_of_several_is_enough() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.show("a", "one", "c", ready=False)
    assert story.membership.is_engaged("one")
    story.membership.hide("a", "one", "b")
    assert not story.membership.is_engaged("one")
    assert "left one" not in story.told


def test_a_cluster_whose_last_binding_goes_leaves_once_and_keeps_its_route() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.hide("a", "one", "b")
    story.membership.hide("a", "one", "b")
    assert story.told == ["engaged one", "left one"]
    assert not story.membership.is_engaged("one")
    assert story.membership.find("one") == "a"
    assert story.membership.forget("one", story.tokens["one"])
    assert story.membership.find("one") is None


def test_a_cluster_that_is_back_is_not_forgotten_for_its_first_departure() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.hide("a", "one", "b")
    first = story.tokens["one"]
    story.membership.show("a", "one", "b", ready=True)
    story.membership.hide("a", "one", "b")
    assert not story.membership.forget("one", first)
    assert story.membership.forget("one", story.tokens["one"])


def test_an_endpoint_that_is_listed_no_more_parks_its_clusters_until_it_is_back() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.list_endpoint("a", listed=False)
    assert not story.membership.is_engaged("one")
    story.membership.list_endpoint("a")
    assert story.membership.is_engaged("one")
    assert story.told == ["engaged one", "left one", "engaged one"]


def test_a_cluster_that_moves_is_served_by_the_new_endpoint_once_that_shows_everything() -> None:
    story = serving("a")
    story.membership.show("a", "one", "b", ready=True)
    story.membership.list_endpoint("b")
    story.membership.show("b", "one", "b", ready=True)
    assert story.membership.find("one") == "a"
    story.membership.sync_endpoint("b")
    assert story.membership.find("one") == "b"
    story.membership.hide("a", "one", "b")
    story.membership.drop_endpoint("a")
    assert story.membership.is_engaged("one")
    assert story.told == ["engaged one"] * 2  # once at each endpoint


URLS = st.sampled_from(["a", "b"])
CLUSTERS = st.sampled_from(["one", "two"])
STEPS = st.one_of(
    st.tuples(st.just("list"), URLS, st.booleans()),
    st.tuples(st.just("sync"), URLS),
    st.tuples(st.just("drop"), URLS),
    st.tuples(st.just("show"), URLS, CLUSTERS, st.booleans()),
    st.tuples(st.just("hide"), URLS, CLUSTERS),
    st.tuples(st.just("forget"), CLUSTERS),
    st.tuples(st.just("event"), CLUSTERS),
    st.tuples(st.just("work")),
)


class Machine(Story):
    """A fleet without I/O and a controller whose worker this thread plays.

    Other steps may come in the middle of a worker's look at the gate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.controller = Controller("test", self, workers=1)
        self.controller.admit_only(self.admits)
        self.worker = self.controller._new_worker()
        self.urls: dict[str, dict[str, bool]] = {}
        self.shown: dict[tuple[str, str], bool] = {}
        self.listed: dict[str, bool] = {}
        self.pending: set[str] = set()
        self.parked_runs: list[str] = []
        self.disturbed = False
        self.between: list[Callable[[], None]] = []

    def admits(self, cluster: str) -> bool:
        found = self.membership.is_engaged(cluster)
        if self.between:
            self.disturbed = True
            self.between.pop()()
        return found

    def reconcile(self, request: Request) -> Result | None:
        self.pending.discard(request.key)
        if not self.disturbed and not self.is_serving(request.cluster):
            self.parked_runs.append(request.key)
        return None

    def engaged(self, cluster: str) -> None:
        self.controller.resume(cluster)

    def happen(self, step: tuple[object, ...]) -> None:
        name, *rest = step
        getattr(self, f"_{name}")(*rest)

    def _list(self, url: str, listed: bool) -> None:
        if listed or url in self.listed:
            self.listed[url] = listed
            self.urls.setdefault(url, {"synced": False})
            self.membership.list_endpoint(url, listed=listed)

    def _sync(self, url: str) -> None:
        if url in self.listed:
            self.urls[url]["synced"] = True
            self.membership.sync_endpoint(url)

    def _drop(self, url: str) -> None:
        if self.listed.get(url) is False:
            del self.listed[url], self.urls[url]
            self.shown = {key: ready for key, ready in self.shown.items() if key[0] != url}
            self.membership.drop_endpoint(url)

    def _show(self, url: str, cluster: str, ready: bool) -> None:
        if url in self.listed:
            self.shown[url, cluster] = ready
            self.membership.show(url, cluster, "b", ready=ready)

    def _hide(self, url: str, cluster: str) -> None:
        self.shown.pop((url, cluster), None)
        self.membership.hide(url, cluster, "b")

    def _forget(self, cluster: str) -> None:
        if self.membership.forget(cluster, self.tokens.get(cluster, object())):
            self.pending.discard(f"{cluster}|x")
            self.controller.remove(cluster)

    def _event(self, cluster: str) -> None:
        self.pending.add(f"{cluster}|x")
        self.controller.enqueue(f"{cluster}|x")

    def _work(self) -> None:
        try:
            key = self.controller.queue.get(0)
        except TimeoutError:
            return
        contextvars.Context().run(self.worker._process, key)
        self.controller.queue.done(key)

    def is_serving(self, cluster: str) -> bool:
        """What the model says: independent of the membership."""
        return any(
            ready and self.listed[url] and self.urls[url]["synced"]
            for (url, name), ready in self.shown.items()
            if name == cluster
        )


@given(st.lists(st.tuples(STEPS, st.none() | STEPS), max_size=40))
def test_after_all_has_settled_just_what_is_engaged_was_reconciled(
    steps: list[tuple[tuple[object, ...], tuple[object, ...] | None]],
) -> None:
    """No key is lost and none runs that is parked, also when that changes under a worker's eyes."""
    machine = Machine()
    for step, meanwhile in steps:
        if step[0] == "work" and meanwhile is not None and meanwhile[0] != "work":
            machine.between = [lambda meanwhile=meanwhile: machine.happen(meanwhile)]  # type: ignore[misc]
        machine.disturbed = False
        machine.happen(step)
        machine.between = []
        for cluster in ("one", "two"):
            assert machine.membership.is_engaged(cluster) == machine.is_serving(cluster)
    machine.disturbed = False
    for _ in range(5):
        machine.happen(("work",))
    assert machine.parked_runs == []
    assert len(machine.controller.queue) == 0
    for cluster in ("one", "two"):
        waits = f"{cluster}|x" in machine.pending
        assert not (waits and machine.is_serving(cluster)), "a key was lost"
    # What waited runs when its time comes.
    for url in ("a", "b"):
        machine.happen(("list", url, True))
        machine.happen(("sync", url))
        for cluster in ("one", "two"):
            machine.happen(("show", url, cluster, True))
    for _ in range(5):
        machine.happen(("work",))
    assert machine.pending == set()
