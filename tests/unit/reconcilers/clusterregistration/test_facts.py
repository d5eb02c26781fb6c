"""What is found on a cluster, which may be anybody's and answer anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kcpctl.client import AsyncClient, Client
from kcpctl.errors import TransportError
from kcpctl.reconcilers.clusterregistration.facts import discover
from kcpctl.runtime import IOLoop
from kcpctl.testing.transport import FakeTransport

NODES = {"kind": "NodeList", "metadata": {}, "items": []}


def look(api: bytes, io_loop: IOLoop) -> Any:
    transport = FakeTransport(api, {"kind": "APIGroupList", "groups": []}, NODES)
    return discover(Client(AsyncClient(transport, cluster_name="root"), io_loop))


@pytest.mark.parametrize(
    "api",
    [
        *(b"", b"null", b"[]", b"5", b'"x"', b"<html>", b'{"items": "x"}', b'{"items": [{}, 5]}'),
        *(b'{"kind": "APIVersions", "versions": [1]}', b'{"kind": "APIGroupList", "groups": [{}]}'),
        b'{"items": ' + b"[" * 100_000,
    ],
)
def test_an_answer_of_another_shape_is_a_broken_cluster(api: bytes, io_loop: IOLoop) -> None:
    with pytest.raises(TransportError, match="the answer to /api"):
        look(api, io_loop)


def test_only_names_that_can_be_shown_are_kept_and_not_without_end(io_loop: IOLoop) -> None:
    names = [f"v{number}" for number in range(3000)] + ["v" * 254, "v\u001b[31m", ""]
    api = json.dumps({"kind": "APIVersions", "versions": names}).encode()
    found = look(api, io_loop).api_versions
    assert len(found) == 2000
    assert set(found) <= set(names[:3000])
