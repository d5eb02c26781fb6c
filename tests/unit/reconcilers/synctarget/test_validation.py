"""V1 to V4 in their order, on the object as stored (decision 1)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kcpctl.apis.workload import SyncTarget
from kcpctl.reconcilers.synctarget.validation import validate

CELLS = {"location": "east"}
IN = {"key": "a", "operator": "In"}


def message(name: str = "east", *, image: str = "image", **spec: Any) -> str:
    target = msgspec.convert({"metadata": {"name": name}, "spec": spec}, SyncTarget)
    problem = validate(target, default_image=image)
    if problem is None:
        return ""
    assert (problem.reason, problem.severity) == ("ValidationFailed", "Error")
    return problem.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "V1: cluster reference missing"),
        ({"cells": CELLS}, "V1: "),
        ({"cluster": "", "cells": CELLS}, "V1: "),
        ({"capacity": {"cpu": "-1"}}, "V1: "),
        ({"cluster": "c"}, "V2: spec.cells"),
        ({"clusterRef": {"name": "c"}}, "V2: "),
        ({"connection": {"server": "https://c"}}, "V2: "),
        ({"cluster": "c", "capacity": {"cpu": "-1"}}, "V2: "),
        (
            {"cluster": "c", "cells": CELLS, "capacity": {"memory": "1Gi", "cpu": "-4"}},
            "V3: spec.capacity[cpu] must not be negative, but is -4",
        ),
        ({"kcpCluster": "root:x", "capacity": {"pods": -1}}, "V3: spec.capacity[pods]"),
        ({"kcpCluster": "x", "capacity": {"cpu": "4x"}}, "V3: spec.capacity[cpu]: '4x' is not"),
        ({"kcpCluster": "x", "resourceQuotas": {"memory": "-1Gi"}}, "spec.resourceQuotas.memory"),
        (
            {"kcpCluster": "x", "resourceQuotas": {"custom": {"gpu": "-1"}}},
            "spec.resourceQuotas.custom[gpu]",
        ),
        ({"kcpCluster": "x", "deployment": {"mode": "Managed"}}, "no physical cluster is named"),
        (
            {"cluster": "c", "clusterRef": {"name": "c"}, "cells": CELLS},
            "two forms of the same",
        ),
        ({"cluster": "c", "cells": {"a b": "x"}}, "spec.cells[a b] must be a label"),
        ({"cluster": "c", "cells": {"A/b": "x"}}, "spec.cells[A/b] must be a label"),
        ({"cluster": "c", "cells": {"a": "x y"}}, "spec.cells[a] must be a label: 'x y'"),
        ({"kcpCluster": "x", "evictionGracePeriod": "soon"}, "spec.evictionGracePeriod: 'soon'"),
        (
            {"kcpCluster": "x", "syncer": {"burst": 5}},
            "spec.syncer.burst is 5, but must not be below qps, 20 by default",
        ),
        ({"kcpCluster": "x", "syncer": {"qps": 9, "burst": 5}}, "must not be below qps, 9"),
        ({"cluster": "c", "cells": {"a": "x" * 64}}, "spec.cells[a] must be a label"),
        (
            {"kcpCluster": "x", "selector": {"matchExpressions": [IN]}},
            "spec.selector.matchExpressions[0].values must not be empty",
        ),
        (
            {"kcpCluster": "x", "selector": {"namespaceSelector": {"matchLabels": {"a b": ""}}}},
            "spec.selector.namespaceSelector.matchLabels[a b]",
        ),
    ],
)
def test_the_first_rule_that_is_broken_is_named(spec: dict[str, Any], words: str) -> None:
    assert words in message(**spec)


@pytest.mark.parametrize("name", ["ab", "a" * 64, "a.b", "-ab", "Abc"])
def test_names_that_a_server_without_the_rule_let_in(name: str) -> None:
    assert "DNS-1123 label" in message(name, kcpCluster="x")


def test_v4_managed_needs_an_image_from_somewhere() -> None:
    managed: dict[str, Any] = {"cluster": "c", "cells": CELLS}
    assert message(image="", **managed).startswith("V4: ")
    assert message(image="", **managed, deployment={"image": "own"}) == ""
    assert message(image="", **managed, deployment={"mode": "External"}) == ""
    assert message(image="default", **managed) == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"supportedAPIExports": [{"export": "kubernetes"}]},
        {"kcpCluster": "root:test"},
        {"kcpCluster": "x", "syncer": {"qps": 100}},
        {"kcpCluster": "x", "syncer": {"qps": 5, "burst": 5}, "evictionGracePeriod": "0h"},
        {"cluster": "c", "cells": CELLS},
        {"cluster": "c", "cells": {"example.com/Zone_1": "", "b": "a.B-c_1"}},
        {"cluster": "c", "cells": CELLS, "capacity": {"cpu": 4, "memory": "0"}},
        {"kcpCluster": "x", "resourceQuotas": {"cpu": "1", "custom": {"gpu": "2"}}},
    ],
)
def test_the_minimal_objects_of_each_plan_are_valid(spec: dict[str, Any]) -> None:
    assert message(**spec) == ""


def test_what_a_spec_does_not_set_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass over each SyncTarget validates; most set next to nothing."""

    def fail(*_: object) -> None:
        raise AssertionError("parsed for nothing")

    module = "kcpctl.reconcilers.synctarget.validation"
    for name in ("parse_time", "parse_duration", "Admission.of", "msgspec.to_builtins"):
        monkeypatch.setattr(f"{module}.{name}", fail)
    monkeypatch.setattr("kcpctl.apis.quantity.parse", fail)
    assert message(cluster="c", cells=CELLS, capacity={"cpu": "64", "memory": "256Gi"}) == ""
