from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kcpctl.embedded.conversion import from_storage, to_storage
from kcpctl.embedded.kinds import BUILT_IN, CrdVersion, ResourceInfo

KINDS = {info.group_resource: info for info in BUILT_IN}
EVENTS = KINDS["events.events.k8s.io"]
text = st.text(max_size=5)


@given(note=text, reason=text, count=st.integers(0, 9), controller=st.text(min_size=1, max_size=5))
def test_events_survive_the_way_to_the_store_and_back(
    note: str, reason: str, count: int, controller: str
) -> None:
    event: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "note": note,
        "reason": reason,
        "regarding": {"name": "x"},
        "deprecatedCount": count,
        "deprecatedSource": {},
        "deprecatedFirstTimestamp": None,
        "deprecatedLastTimestamp": None,
        "eventTime": None,
        "reportingController": controller,
    }
    convert = from_storage(EVENTS)
    assert convert is not None
    stored = to_storage(EVENTS, event)
    assert stored["apiVersion"] == "v1"
    assert stored["message"] == note
    assert convert(stored) == event


def test_kinds_with_one_version_are_not_touched() -> None:
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {}}
    assert from_storage(KINDS["pods"]) is None
    assert to_storage(KINDS["pods"], obj) is obj


def test_custom_resources_are_stored_in_their_storage_version() -> None:
    crd = CrdVersion("xs.g", None)
    info = ResourceInfo("g", "v2", "xs", "X", crd=crd, storage_key="xs.g", storage_version="g/v1")
    stored = to_storage(info, {"apiVersion": "g/v2", "kind": "X"})
    assert stored["apiVersion"] == "g/v1"
    convert = from_storage(info)
    assert convert is not None
    assert convert(stored)["apiVersion"] == "g/v2"
