"""The committer's server-side form: KCP-33."""

from __future__ import annotations

from typing import Any

import pytest

from kcpctl.apis.meta import Unstructured
from kcpctl.controller import commit_applied

GUARD = {"uid": "u1", "resourceVersion": "7"}


class Applies:
    def __init__(self) -> None:
        self.sent: list[tuple[Unstructured, dict[str, Any]]] = []

    def apply(
        self,
        obj: Unstructured,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        namespace: str | None = None,
    ) -> str:
        more = {"manager": field_manager, "force": force}
        self.sent.append((obj, {**more, "subresource": subresource, "namespace": namespace}))
        return "the answer"


def thing(*, metadata: dict[str, Any] | None = None, **fields: Any) -> Unstructured:
    meta = {"name": "web", "namespace": "default", **GUARD, **(metadata or {})}
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": meta, **fields}


def test_status_and_spec_in_one_pass_is_a_programming_error() -> None:
    """KCP-33: the same rule as for patches."""
    with pytest.raises(RuntimeError, match="status and spec changed in one pass"):
        commit_applied(Applies(), thing(), thing(spec={"a": 1}, status={"b": 2}), field_manager="m")


def test_nothing_changed_sends_nothing() -> None:
    """KCP-33."""
    client = Applies()
    assert (
        commit_applied(client, thing(spec={"a": 1}), thing(spec={"a": 1}), field_manager="m")
        is None
    )
    assert client.sent == []


def test_a_changed_spec_is_applied_whole_and_guarded() -> None:
    """KCP-33: what did not change is sent too, or it would no longer be owned."""
    client = Applies()
    old = thing(spec={"a": 1, "b": 2}, status={"x": 1}, metadata={"labels": {"l": "1"}})
    new = thing(
        spec={"a": 1, "b": 3},
        status={"x": 1},
        metadata={"labels": {"l": "1"}, "managedFields": [{}], "generation": 4, "uid": "u1"},
    )
    assert commit_applied(client, old, new, field_manager="m", force=True) == "the answer"
    meta = {"name": "web", "namespace": "default", "labels": {"l": "1"}, **GUARD}
    expected = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": meta,
        "spec": {"a": 1, "b": 3},
    }
    more = {"manager": "m", "force": True, "subresource": "", "namespace": "default"}
    assert client.sent == [(expected, more)]


def test_a_changed_status_is_applied_alone_to_the_subresource() -> None:
    """KCP-33."""
    client = Applies()
    both: dict[str, Any] = {"spec": {"a": 1}, "metadata": {"labels": {"l": "1"}}}
    commit_applied(client, thing(**both), thing(**both, status={"ready": True}), field_manager="m")
    expected = thing(status={"ready": True})
    more = {"manager": "m", "force": False, "subresource": "status", "namespace": "default"}
    assert client.sent == [(expected, more)]


def test_a_status_that_was_removed_is_no_longer_owned() -> None:
    """KCP-33: it is left out, which gives the fields up; null would be a value."""
    client = Applies()
    commit_applied(client, thing(status={"ready": True}), thing(), field_manager="m")
    assert client.sent[0][0] == thing()
