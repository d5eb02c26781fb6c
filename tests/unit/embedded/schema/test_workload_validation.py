from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.schema import default_builtin, validate_builtin

POD_SPEC: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}]}
ENDING: dict[str, Any] = {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}
WORKLOAD: dict[str, Any] = {
    "selector": {"matchLabels": {"a": "b"}},
    "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD_SPEC},
}


def problems(kind: str, spec: Any, old: Any = None, *, group: str = "", name: str = "x") -> Any:
    def made(one: Any) -> dict[str, Any]:
        obj = {"metadata": {"name": name}, "spec": one}
        return default_builtin(group, "v1", kind, obj)

    before = None if old is None else made(old)
    found = validate_builtin(group, "v1", kind, made(spec), before)
    return [(cause.field, cause.message) for cause in found]


def test_selectors_with_expressions_choose_the_template() -> None:
    for operator, values, chosen in [
        ("In", ["b"], True),
        ("In", ["c"], False),
        ("NotIn", ["c"], True),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ]:
        rule = {"key": "a", "operator": operator, **({"values": values} if values else {})}
        spec = {**WORKLOAD, "selector": {"matchExpressions": [rule]}}
        found = problems("ReplicaSet", spec, group="apps")
        assert (not found) == chosen, operator


@pytest.mark.parametrize("kind", ["ReplicaSet", "DaemonSet", "StatefulSet", "Deployment"])
def test_pods_of_a_workload_restart_always(kind: str) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {**POD_SPEC, "restartPolicy": "Never"}}
    found = problems(kind, {**WORKLOAD, "template": template}, group="apps")
    assert found == [
        (
            "spec.template.spec.restartPolicy",
            'Unsupported value: "Never": supported values: "Always"',
        )
    ]


@pytest.mark.parametrize("kind", ["ReplicaSet", "DaemonSet"])
def test_the_selector_of_a_workload_stays(kind: str) -> None:
    rule = {"key": "a", "operator": "Exists"}
    changed = {**WORKLOAD, "selector": {"matchExpressions": [rule]}}
    (found,) = problems(kind, changed, WORKLOAD, group="apps")
    assert found[0] == "spec.selector"
    assert problems(kind, WORKLOAD, WORKLOAD, group="apps") == []


def test_of_a_stateful_set_little_can_change() -> None:
    old = {**WORKLOAD, "serviceName": "a"}
    assert problems("StatefulSet", {**old, "replicas": 3}, old, group="apps") == []
    (found,) = problems("StatefulSet", {**old, "serviceName": "b"}, old, group="apps")
    assert found[1].startswith("Forbidden: updates to statefulset spec for fields other than")


def test_a_jobs_template_and_completions_stay() -> None:
    assert problems("Job", {**ENDING, "parallelism": 2}, ENDING, group="batch")[0][0] == (
        "spec.completions"
    )
    assert problems("Job", {**ENDING, "suspend": True}, ENDING, group="batch") == []


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"schedule": ""}, "spec.schedule", "Required value"),
        (
            {"schedule": "x"},
            "spec.schedule",
            'Invalid value: "x": expected exactly 5 fields, found 1: [x]',
        ),
        (
            {"schedule": "TZ=UTC 0 0 * * *"},
            "spec.schedule",
            (
                'Invalid value: "TZ=UTC 0 0 * * *": cannot use TZ or CRON_TZ in schedule, use '
                "timeZone field instead"
            ),
        ),
        (
            {"schedule": "@daily", "concurrencyPolicy": "x"},
            "spec.concurrencyPolicy",
            'Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"',
        ),
    ],
)
def test_a_cron_jobs_rules(spec: Any, field: str, message: str) -> None:
    full = {**spec, "jobTemplate": {"spec": ENDING}}
    assert problems("CronJob", full, group="batch") == [(field, message)]


def test_a_cron_jobs_name_leaves_room_for_its_jobs() -> None:
    spec = {"schedule": "@daily", "jobTemplate": {"spec": ENDING}}
    assert problems("CronJob", spec, group="batch", name="c" * 52) == []
    (found,) = problems("CronJob", spec, group="batch", name="c" * 53)
    assert found[0] == "metadata.name"


def test_an_autoscalers_limits_and_target() -> None:
    spec = {"minReplicas": 5, "maxReplicas": 3, "scaleTargetRef": {"kind": "D", "name": "w"}}
    assert [
        field for field, _ in problems("HorizontalPodAutoscaler", spec, group="autoscaling")
    ] == [
        "spec.maxReplicas",
        "spec.scaleTargetRef.apiVersion",
    ]


def test_a_disruption_budget_says_one_thing() -> None:
    spec = {"minAvailable": 1, "maxUnavailable": 1}
    (found,) = problems("PodDisruptionBudget", spec, group="policy")
    assert found[1].endswith("minAvailable and maxUnavailable cannot be both set")


def test_probes_volumes_and_mounts_are_checked() -> None:
    container = {
        "name": "c",
        "image": " i",
        "env": [{"value": "x"}, {"name": "A", "value": "x", "valueFrom": {"fieldRef": {}}}],
        "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}],
        "livenessProbe": {"exec": {}, "httpGet": {"port": 1}, "successThreshold": 2},
        "resources": {"limits": {"cpu": "-1"}},
    }
    volumes = [
        {"name": "v", "secret": {}, "emptyDir": {}},
        {"name": "v", "configMap": {"name": "x"}},
        {"configMap": {}},
    ]
    spec = {"containers": [container], "volumes": volumes, "activeDeadlineSeconds": 0}
    fields = {field for field, _ in problems("Pod", spec)}
    path = "spec.containers[0]"
    assert fields == {
        f"{path}.image",
        f"{path}.env[0].name",
        f"{path}.env[1].valueFrom",
        f"{path}.volumeMounts[1].mountPath",
        f"{path}.livenessProbe.httpGet",
        f"{path}.livenessProbe.successThreshold",
        f"{path}.resources.limits[cpu]",
        f"{path}.resources.requests[cpu]",
        "spec.volumes[0].secret",
        "spec.volumes[0].secret.secretName",
        "spec.volumes[1].name",
        "spec.volumes[2].name",
        "spec.volumes[2].configMap.name",
        "spec.activeDeadlineSeconds",
    }


def test_containers_cannot_be_added_to_a_pod_nor_tolerations_removed() -> None:
    more = {"containers": [*POD_SPEC["containers"], {"name": "d", "image": "i"}]}
    (found,) = problems("Pod", more, POD_SPEC)
    assert found == ("spec.containers", "Forbidden: pod updates may not add or remove containers")
    old = {**POD_SPEC, "tolerations": [{"key": "a"}]}
    (found,) = problems("Pod", POD_SPEC, old)
    assert found[0] == "spec.tolerations"
