"""Event handlers by themselves: filters and names."""

from __future__ import annotations

import functools
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.controller.mapping import own_key
from kcpctl.controller.source import EnqueueHandler
from kcpctl.informers import CachedObject, EventHandler, HandlerFuncs
from kcpctl.informers.handlers import Filtered, name_of
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.testing.listerwatcher import raw_object
from kcpctl.workqueue import RateLimitingQueue

_DECODER = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)


def cached(name: str, version: int, *, app: str = "web") -> CachedObject:
    return _DECODER.decode(raw_object(name, version, metadata={"labels": {"app": app}}))


class Recorder(EventHandler):
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.known: set[str] = set()

    def on_add(self, obj: CachedObject, *, is_initial: bool) -> None:
        assert obj.key not in self.known
        self.known.add(obj.key)
        self.calls.append(f"add {obj.resource_version}" + " initial" * is_initial)

    def on_update(self, old: CachedObject, new: CachedObject) -> None:
        assert new.key in self.known
        self.calls.append(f"update {old.resource_version}->{new.resource_version}")

    def on_delete(self, obj: CachedObject, *, final_state_unknown: bool) -> None:
        self.known.remove(obj.key)
        self.calls.append(f"delete {obj.resource_version}" + " unknown" * final_state_unknown)


def is_web(obj: CachedObject) -> bool:
    return obj.meta.labels["app"] == "web"


# Filters


def test_a_filter_passes_on_what_a_change_means_for_those_that_match() -> None:
    """INF-17: begins to match, keeps matching, ceases to, and matches not at all."""
    heard = Recorder()
    handler = Filtered(heard, is_web)
    states = [cached("a", 1, app="db"), cached("a", 2), cached("a", 3), cached("a", 4, app="db")]
    handler.on_add(states[0], is_initial=True)
    for old, new in itertools.pairwise(states):
        handler.on_update(old, new)
    handler.on_update(states[3], cached("a", 5, app="db"))
    handler.on_delete(cached("a", 6, app="db"), final_state_unknown=False)
    assert heard.calls == ["add 2", "update 2->3", "delete 3"]


def test_a_filter_passes_on_initial_adds_and_deletes_that_were_missed() -> None:
    """INF-07, INF-19."""
    heard = Recorder()
    handler = Filtered(heard, is_web)
    handler.on_add(cached("a", 1), is_initial=True)
    handler.on_delete(cached("a", 2), final_state_unknown=True)
    assert heard.calls == ["add 1 initial", "delete 2 unknown"]


def test_a_delete_is_heard_even_if_the_last_state_no_longer_matches() -> None:
    """INF-17 mended: who knows an object hears that it went."""
    heard = Recorder()
    handler = Filtered(heard, is_web)
    handler.on_add(cached("a", 1), is_initial=False)
    handler.on_delete(cached("a", 2, app="db"), final_state_unknown=False)
    handler.on_delete(cached("b", 3), final_state_unknown=False)
    assert heard.calls == ["add 1", "delete 2"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["web", "db", None]))))
def test_whatever_changes_a_filtered_handler_knows_exactly_those_that_match(
    steps: list[tuple[str, str | None]],
) -> None:
    """INF-17: None is a delete, whose last state matches."""
    heard = Recorder()
    handler = Filtered(heard, is_web)
    there: dict[str, CachedObject] = {}
    for version, (name, app) in enumerate(steps):
        old = there.pop(name, None)
        new = cached(name, version, app=app or "web")
        if app is None:
            handler.on_delete(new, final_state_unknown=False)
            continue
        there[name] = new
        if old is None:
            handler.on_add(new, is_initial=False)
        else:
            handler.on_update(old, new)
        assert heard.known == {obj.key for obj in there.values() if is_web(obj)}


# Names


def a_function(obj: CachedObject) -> None:
    """Something to be called."""


class Called:
    def __call__(self, obj: CachedObject) -> None:
        """Something else to be called."""


def test_a_handler_goes_by_the_name_of_its_type() -> None:
    """INF-34."""
    assert name_of(Recorder()) == "Recorder"


def test_a_handler_of_functions_goes_by_theirs() -> None:
    """INF-34."""
    partly = functools.partial(a_function)
    assert name_of(HandlerFuncs(on_add=a_function, on_delete=partly)) == "a_function,a_function"
    assert name_of(HandlerFuncs(on_add=Called())) == "Called"
    assert name_of(HandlerFuncs()) == "HandlerFuncs"


def test_a_handler_may_bring_a_name() -> None:
    """INF-34: that of a controller is its queue's."""
    queue: RateLimitingQueue[str] = RateLimitingQueue("synctarget")
    assert name_of(EnqueueHandler(queue, map_to=own_key, predicates=())) == "synctarget"
    queue.shut_down()


def test_a_function_that_is_missing_is_not_called() -> None:
    """INF-18: handlers of some of the three."""
    handler = HandlerFuncs()
    handler.on_add(cached("a", 1), is_initial=True)
    handler.on_update(cached("a", 1), cached("a", 2))
    handler.on_delete(cached("a", 2), final_state_unknown=True)


async def a_coroutine(obj: CachedObject) -> None:
    """Something to be awaited."""


def test_a_coroutine_function_that_nobody_would_await_is_refused() -> None:
    with pytest.raises(TypeError, match="a_coroutine: a handler that is async is an AsyncEventH"):
        HandlerFuncs(on_add=a_coroutine)
