"""Read-your-writes: CS of the behaviours page."""

from __future__ import annotations

import logging
import random
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS, SECRETS, Resource
from kcpctl.client import Write
from kcpctl.controller.pending import PendingWrites, is_behind
from kcpctl.runtime import start_thread

KEY = "root|default/web"


class FakeCache:
    spans_clusters = False

    def __init__(self, resource: Resource = CONFIG_MAPS, version: str = "10") -> None:
        self.resource = resource
        self.resource_version = version

    def cache_of(self, write: Write) -> Self | None:
        return self if write.resource == self.resource else None


def write(version: str, name: str = "a", **changes: Any) -> Write:
    fields: dict[str, Any] = {"resource": CONFIG_MAPS, "uid": "u1", **changes}
    return Write(
        server="https://s",
        url="https://s",
        namespace="default",
        name=name,
        resource_version=version,
        labels={},
        **fields,
    )


def pending(*caches: FakeCache) -> PendingWrites:
    made = PendingWrites("test")
    for cache in caches:
        made.watch(cache)
    return made


def test_a_key_waits_for_the_largest_version_that_it_wrote() -> None:
    """CS-01, CS-02: equal counts as seen."""
    cache = FakeCache()
    writes = pending(cache)
    writes.record(KEY, [write("11"), write("13", "b"), write("12", "c")])
    for version in ("10", "11", "12"):
        cache.resource_version = version
        assert not writes.is_ready(KEY, 0)
    cache.resource_version = "13"
    assert writes.is_ready(KEY, 0)


def test_all_caches_must_have_seen_it() -> None:
    """CS-03."""
    maps, secrets = FakeCache(), FakeCache(SECRETS, "5")
    writes = pending(maps, secrets)
    writes.record(KEY, [write("11"), write("12", resource=SECRETS)])
    maps.resource_version = "11"
    assert not writes.is_ready(KEY, 0)
    secrets.resource_version = "12"
    assert writes.is_ready(KEY, 0)


@pytest.mark.parametrize(
    ("cached", "written"), [("", "11"), ("x", "11"), ("0", "11"), ("10", "y11"), ("10", "011")]
)
def test_in_doubt_a_key_is_ready(cached: str, written: str) -> None:
    """CS-04, CS-07: a version that is empty or no well-formed number holds nothing."""
    writes = pending(FakeCache(version=cached))
    writes.record(KEY, [write(written)])
    assert writes.is_ready(KEY, 0)


def test_without_a_cache_of_the_resource_a_key_is_ready() -> None:
    """CS-04, CS-11."""
    writes = pending(FakeCache())
    writes.record(KEY, [write("11", resource=SECRETS)])
    assert writes.is_ready(KEY, 0)
    assert writes.is_ready("root|default/other", 0)
    assert writes.by_key == {}


def test_nothing_is_kept_of_a_key_that_is_ready() -> None:
    """CS-05."""
    cache = FakeCache()
    writes = pending(cache)
    writes.record(KEY, [write("11")])
    cache.resource_version = "11"
    assert writes.is_ready(KEY, 0)
    assert writes.by_key == {}
    cache.resource_version = "10"
    assert writes.is_ready(KEY, 0)


def test_a_write_that_changed_nothing_holds_nothing() -> None:
    writes = pending(FakeCache())
    writes.record(KEY, [write("10"), write("7", "b")])
    assert writes.by_key == {}


def test_a_successor_of_the_same_name_replaces_what_was_written() -> None:
    """CS-06."""
    writes = pending(FakeCache())
    writes.record(KEY, [write("50", uid="u1"), write("9", uid="u2")])
    assert writes.is_ready(KEY, 0)


@given(st.integers(1), st.integers(1))
def test_versions_are_compared_as_numbers_of_any_length(one: int, other: int) -> None:
    """CS-07."""
    assert is_behind(str(one), str(other)) == (one < other)


def test_numbers_longer_than_python_parses_are_compared_too() -> None:
    """CS-07."""
    assert is_behind("9" * 5000, "1" + "0" * 5000)
    assert not is_behind("1" + "0" * 5000, "9" * 5000)


def test_a_server_that_went_back_in_time_holds_nobody() -> None:
    """A restored server's versions start lower: the ones before mean nothing any more (CS-06)."""
    cache = FakeCache(version="1000")
    writes = pending(cache)
    writes.record(KEY, [write("1001")])
    assert not writes.is_ready(KEY, 0)
    cache.resource_version = "400"
    assert writes.is_ready(KEY, 0)


def test_a_key_is_held_for_30_seconds_at_most(caplog: pytest.LogCaptureFixture) -> None:
    """CS-09 mended: then it goes on, with one warning."""
    writes = pending(FakeCache())
    writes.record(KEY, [write("11")])
    assert not writes.is_ready(KEY, 100)
    assert not writes.is_ready(KEY, 129.9)
    assert caplog.records == []
    assert writes.is_ready(KEY, 130)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    fields = caplog.records[0].__dict__["fields"]
    assert (fields["key"], fields["written"], fields["cached"]) == (KEY, "11", "10")
    assert writes.is_ready(KEY, 131)
    assert writes.by_key == {}


def test_keys_that_never_run_again_are_swept() -> None:
    cache = FakeCache()
    writes = pending(cache)
    for number in range(1000):
        cache.resource_version = str(number + 10)
        writes.record(f"root|default/{number}", [write(str(number + 11))])
    assert len(writes.by_key) <= 64


def test_a_cluster_that_is_removed_leaves_nothing() -> None:
    writes = pending(FakeCache())
    for key in ("one|a", "one|b", "two|a"):
        writes.record(key, [write("11")])
    writes.remove_clusters({"one"})
    writes.remove_clusters({"one"})
    assert list(writes.by_key) == ["two|a"]


def test_it_stands_workers_and_removals_at_the_same_time() -> None:
    cache = FakeCache()
    writes = pending(cache)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        try:
            for turn in range(500):
                key = f"c{rng.randrange(3)}|{number}-{rng.randrange(40)}"
                if writes.is_ready(key, turn):
                    writes.record(key, [write("11")])
                if not turn % 10:
                    writes.remove_clusters({f"c{rng.randrange(3)}"})
        except BaseException as error:  # noqa: BLE001 - the test asks for it
            errors.append(error)

    threads = [start_thread(lambda n=n: work(n), name=f"test-{n}") for n in range(4)]  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert errors == []
    cache.resource_version = "11"
    assert all(writes.is_ready(key, 1000) for key in list(writes.by_key))
    assert writes.by_key == {}


def test_an_informer_that_ended_holds_nobody() -> None:
    """CS-04: it has no version any more."""
    cache = FakeCache()
    writes = pending(cache)
    writes.record(KEY, [write("11")])
    assert not writes.is_ready(KEY, 0)
    cache.resource_version = ""
    assert writes.is_ready(KEY, 0)
