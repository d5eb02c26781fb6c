from __future__ import annotations

from typing import Any

import pytest

from kcpctl.syncer.fingerprint import digest, fingerprint

DESIRED = {"metadata": {"labels": {"a": "1"}, "annotations": {"n": "1"}}, "spec": {"x": 1}}


def live(**changes: Any) -> dict[str, Any]:
    metadata = {"labels": {"a": "1"}, "annotations": {"n": "1"}, "resourceVersion": "1"}
    obj = {"metadata": metadata, "spec": {"x": 1, "defaulted": True}, "status": {"r": 1}}
    return {**obj, **changes}


@pytest.mark.parametrize(
    "other",
    [
        live(status={"r": 2}),
        live(metadata={**live()["metadata"], "resourceVersion": "2", "generation": 4}),
        live(metadata={**live()["metadata"], "labels": {"a": "1", "theirs": "x"}}),
        live(metadata={**live()["metadata"], "annotations": {"n": "1", "theirs": "x"}}),
    ],
)
def test_what_an_apply_does_not_own_is_no_drift(other: dict[str, Any]) -> None:
    assert fingerprint(other, DESIRED) == fingerprint(live(), DESIRED)


@pytest.mark.parametrize(
    "other",
    [
        live(spec={"x": 2, "defaulted": True}),
        live(spec={"x": 1}),
        live(data={"k": "v"}),
        live(metadata={**live()["metadata"], "labels": {}}),
        live(metadata={**live()["metadata"], "annotations": {"n": "2"}}),
    ],
)
def test_drift_of_content_or_of_our_marks_shows(other: dict[str, Any]) -> None:
    assert fingerprint(other, DESIRED) != fingerprint(live(), DESIRED)


def test_the_order_of_keys_does_not_matter() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
