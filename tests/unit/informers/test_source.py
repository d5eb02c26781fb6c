"""What a client's source asks for, and what it does not believe."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient
from kcpctl.errors import TransportError
from kcpctl.informers.source import StreamingClientSource
from kcpctl.testing.transport import FakeTransport


def source_of(*answers: object, **options: Any) -> tuple[StreamingClientSource, FakeTransport]:
    transport = FakeTransport(*answers)
    client = AsyncClient(transport, cluster_name="root", multi_cluster=False)
    return StreamingClientSource(client, options.pop("resource", CONFIG_MAPS), **options), transport


def listed(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"resourceVersion": "7"}, "items": list(items)}


BARE = {"metadata": {"name": "a"}}


async def test_only_later_pages_are_sent_again_by_the_client() -> None:
    """RF-28: the reflector waits by itself, with its own back-off."""
    source, transport = source_of(listed("ConfigMapList"))
    await source.list(resource_version="0", limit=500)
    await source.list(resource_version=None, limit=500, continue_="t")
    assert [call.retry for call in transport.calls] == [False, True]
    source, transport = source_of()
    for start in (source.watch, source.stream):
        assert [one async for one in start(resource_version="7", timeout_seconds=300)] == []
    assert [call.retry for call in transport.calls] == [False, False]


async def test_a_whole_list_may_take_as_long_as_a_streamed_state() -> None:
    source, transport = source_of(listed("ConfigMapList"))
    await source.list(resource_version="10", limit=0)
    await source.list(resource_version="0", limit=500)
    assert [call.timeout_seconds for call in transport.calls] == [300, None]


async def test_a_state_is_streamed_without_a_limit_and_not_at_an_exact_version() -> None:
    """WL-01, WL-14."""
    source, transport = source_of()
    _ = [batch async for batch in source.stream(resource_version="7", timeout_seconds=300)]
    assert transport.call.query == {
        "watch": "1",
        "timeoutSeconds": "300",
        "resourceVersion": "7",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
    }


async def test_a_state_at_one_version_is_listed_whole() -> None:
    """WL-13."""
    source, transport = source_of(listed("ConfigMapList"))
    await source.list_exactly("7")
    assert transport.call.query == {"resourceVersion": "7", "resourceVersionMatch": "Exact"}


@pytest.mark.parametrize("items", [[BARE], [5], [{"kind": 5}]])
@pytest.mark.parametrize("kind", ["SecretList", "List"])
async def test_bare_items_of_another_kind_are_not_taken_for_ours(
    items: list[Any], kind: str
) -> None:
    """RF-21, RF-36: a list of them is no state."""
    source, _ = source_of(listed(kind, *items))
    with pytest.raises(TransportError, match="asked for configmaps, and the answer is a list of"):
        await source.list(resource_version="0", limit=500)


async def test_whole_objects_are_not_taken_for_their_metadata() -> None:
    source, _ = source_of(listed("ConfigMapList", BARE), metadata_only=True)
    with pytest.raises(TransportError, match="a list of ConfigMap"):
        await source.list(resource_version="0", limit=500)


async def test_a_table_is_no_list() -> None:
    """RF-21."""
    source, _ = source_of({"kind": "Table", "metadata": {"resourceVersion": "7"}, "rows": []})
    with pytest.raises(TransportError, match="not a list"):
        await source.list(resource_version="0", limit=500)


async def test_lists_of_custom_resources_may_have_any_kind() -> None:
    """Their items say what they are, and are looked at one by one."""
    item = {"kind": SYNCTARGETS.kind, **BARE}
    source, _ = source_of(listed("ManyTargetList", item), resource=SYNCTARGETS)
    assert len((await source.list(resource_version="0", limit=500)).items) == 1
