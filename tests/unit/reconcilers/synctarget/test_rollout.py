"""What a Deployment says, and SyncerDeployed from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcpctl.apis.conditions import Condition
from kcpctl.reconcilers.synctarget.rollout import Rollout, deployed_condition

CONNECTED = Condition(type="ClusterConnected", status="True", reason="Connected")
AWAY = Condition(type="ClusterConnected", status="False", reason="ConnectionFailed")


def deployment(*, generation: int = 2, replicas: int | None = 1, **status: Any) -> dict[str, Any]:
    spec = {} if replicas is None else {"replicas": replicas}
    return {"metadata": {"uid": "u", "generation": generation}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        (deployment(observedGeneration=2, availableReplicas=1), "True Deployed"),
        (deployment(observedGeneration=2, availableReplicas=1, replicas=None), "True Deployed"),
        (deployment(observedGeneration=1, availableReplicas=1), "False Progressing"),
        (deployment(observedGeneration=2), "False Progressing"),
        (deployment(), "False Progressing"),
        (deployment(replicas=0, observedGeneration=2), "True Deployed"),
        (
            deployment(
                observedGeneration=2,
                conditions=[{"type": "ReplicaFailure", "status": "True", "message": "quota"}],
            ),
            "False DeploymentFailed",
        ),
        (
            deployment(
                observedGeneration=2,
                conditions=[{"type": "Progressing", "status": "False", "reason": "TooLate"}],
            ),
            "False DeploymentFailed",
        ),
        (
            deployment(
                observedGeneration=2,
                availableReplicas=1,
                conditions=[{"type": "Progressing", "status": "False", "reason": "TooLate"}],
            ),
            "True Deployed",
        ),
        (
            deployment(
                observedGeneration=1,
                conditions=[{"type": "ReplicaFailure", "status": "True", "message": "old"}],
            ),
            "False Progressing",
        ),
    ],
)
def test_syncer_deployed_follows_the_deployment(obj: dict[str, Any], wanted: str) -> None:
    found = deployed_condition(CONNECTED, Rollout.of(obj))
    assert f"{found.status} {found.reason}" == wanted


def test_an_unreachable_cluster_makes_it_unknown() -> None:
    found = deployed_condition(AWAY, None)
    assert (found.status, found.reason) == ("Unknown", "ClusterUnreachable")


def test_an_apply_that_failed_is_told_even_if_the_connection_went_meanwhile() -> None:
    found = deployed_condition(AWAY, Rollout(error="no rights"))
    assert (found.reason, found.message, found.severity) == (
        "DeploymentFailed",
        "no rights",
        "Error",
    )


def test_the_message_of_a_failure_is_passed_on() -> None:
    obj = deployment(
        observedGeneration=2,
        conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}],
    )
    assert deployed_condition(CONNECTED, Rollout.of(obj)).message == "exceeded quota"


JSON = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@given(
    st.dictionaries(
        st.sampled_from(["metadata", "spec", "status"]),
        st.dictionaries(
            st.sampled_from(["uid", "generation", "annotations", "replicas", "template"])
            | st.sampled_from(["availableReplicas", "observedGeneration", "conditions"]),
            JSON,
        )
        | JSON,
    )
)
def test_whatever_a_cluster_says_of_a_deployment_is_a_rollout(obj: dict[str, Any]) -> None:
    assert deployed_condition(CONNECTED, Rollout.of(obj)).status in {"True", "False"}


def test_what_is_no_deployment_has_failed() -> None:
    condition = deployed_condition(CONNECTED, Rollout.of({"spec": {"replicas": "many"}}))
    assert (condition.status, condition.reason) == ("False", "DeploymentFailed")
    assert "no Deployment" in condition.message
