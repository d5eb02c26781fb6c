"""Who hears of what."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.informers.audience import Audience, Delivery
from kcpctl.informers.deliveries import Deliveries
from kcpctl.informers.handlers import HandlerFuncs
from kcpctl.informers.metrics import InformerMetrics
from kcpctl.informers.objects import ObjectDecoder
from kcpctl.testing import FakeClock
from kcpctl.testing.listerwatcher import raw_object

_DECODER = ObjectDecoder(CONFIG_MAPS, cluster="", multi_cluster=True)
_OBJECTS = {name: _DECODER.decode(raw_object("a", 1, cluster=name)) for name in ("one", "two")}


def delivery(cluster: str) -> Delivery:
    deliveries = Deliveries(
        "things",
        clock=FakeClock(),
        metrics=InformerMetrics(None, "", "things", ""),
        ailment=lambda: None,
    )
    return deliveries.register(
        HandlerFuncs(), cluster=cluster, matches=None, buffered=False, resync_seconds=0
    )


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "one", "two"]))))
def test_an_object_is_heard_of_by_those_of_its_cluster_and_of_all(
    steps: list[tuple[bool, str]],
) -> None:
    """KCP-12, INF-14: against a list of those that are there."""
    audience, there = Audience(), list[Delivery]()
    for comes, cluster in steps:
        before, heard_before = audience, list(audience)
        gone = next((one for one in there if one.cluster == cluster), None)
        if comes or gone is None:
            new = delivery(cluster)
            there.append(new)
            audience = audience.plus(new)
        else:
            there.remove(gone)
            audience = audience.minus(gone)
        assert list(before) == heard_before
        assert Counter(audience) == Counter(there) == Counter(Audience(there))
        for name, obj in _OBJECTS.items():
            wanted = [one for one in there if one.cluster in {"", name}]
            # Those of all clusters first, each group in the order of their coming.
            wanted.sort(key=lambda one: bool(one.cluster))
            assert list(audience.of(obj)) == list(Audience(there).of(obj)) == wanted


def test_a_cluster_without_handlers_leaves_nothing_behind() -> None:
    one = delivery("one")
    assert vars(Audience().plus(one).minus(one)) == vars(Audience())
