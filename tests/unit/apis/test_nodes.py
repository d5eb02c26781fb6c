"""Adding Nodes up, whatever a cluster says they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.nodes import NodeTotals, much_the_same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(["metadata", "spec", "status", "capacity", "conditions"]),
    st.dictionaries(st.sampled_from(["capacity", "allocatable", "conditions", "cpu"]), JSON) | JSON,
)
READY = [{"type": "Ready", "status": "True"}]


def node(cpu: Any) -> dict[str, Any]:
    figures = {"cpu": cpu}
    return {"status": {"capacity": figures, "allocatable": figures, "conditions": READY}}


@given(st.lists(FIELDS, max_size=3))
def test_whatever_a_cluster_calls_a_node_is_counted(nodes: list[dict[str, Any]]) -> None:
    assert NodeTotals.of(nodes).count == len(nodes)


@pytest.mark.parametrize("cpu", ["1E900000", "1e-9999999", "9" * 5000, "abc", [1], None])
def test_a_figure_that_is_none_or_beyond_all_range_is_left_out(cpu: Any) -> None:
    totals = NodeTotals.of([node(cpu), node("2")])
    assert totals.capacity == totals.allocatable == {"cpu": "2"}


def test_figures_that_cannot_be_read_are_compared_as_text() -> None:
    assert much_the_same({"cpu": "1E900000"}, {"cpu": "1E900000"})
    assert not much_the_same({"cpu": "1E900000"}, {"cpu": "2"})
