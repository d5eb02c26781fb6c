from __future__ import annotations

from dataclasses import replace

import msgspec

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import RawPage
from kcpctl.clusters.meter import Cap, Meter, Size
from kcpctl.informers import CachedObject
from kcpctl.informers.objects import ObjectDecoder

DECODER = ObjectDecoder(CONFIG_MAPS, cluster="root", multi_cluster=False)


def obj(data: str = "") -> CachedObject:
    body = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": data}}
    return DECODER.decode(msgspec.json.encode(body))


def page(*items: str, continue_: str = "") -> RawPage:
    return RawPage([msgspec.Raw(item.encode()) for item in items], "1", continue_)


def test_what_comes_changes_and_goes_adds_up_to_nothing() -> None:
    meter = Meter(lambda: None)
    small, large = obj(), obj("x" * 1000)
    meter.on_add(small, is_initial=True)
    assert meter.size == Size(1, len(small.raw))
    meter.on_update(small, large)
    assert meter.size == Size(1, len(large.raw))
    meter.on_delete(large, final_state_unknown=False)
    assert meter.size == Size(0, 0)


def test_the_pages_of_a_list_under_way_count_in_the_place_of_what_they_will_replace() -> None:
    sizes: list[Size] = []
    meter = Meter(lambda: sizes.append(replace(meter.size)))
    meter.on_add(obj(), is_initial=True)
    meter.on_page(page("12", "345", continue_="more"), is_first=True)
    meter.on_page(page("6"), is_first=False)
    meter.on_page(page("7", continue_="more"), is_first=True)  # another one
    assert [size.objects for size in sizes] == [1, 2, 3, 1]
    assert sizes[2] == Size(3, 6)


def test_a_cap_is_of_everything_together() -> None:
    cap = Cap(objects=3, bytes=100)
    assert cap.allows(Size(1, 50), Size(2, 50))
    assert not cap.allows(Size(2, 1), Size(2, 1))
    assert not cap.allows(Size(1, 100), Size(1, 1))
