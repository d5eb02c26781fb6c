from __future__ import annotations

import copy
from typing import Any

import pytest

from kcpctl.embedded.schema import default_builtin, validate_builtin

RBAC = "rbac.authorization.k8s.io"


def problems(group: str, kind: str, obj: dict[str, Any], old: Any = None) -> list[str]:
    new = default_builtin(group, "v1", kind, {"metadata": {"name": "x"}, **obj})
    before = old and default_builtin(group, "v1", kind, {"metadata": {"name": "x"}, **old})
    return [str(cause) for cause in validate_builtin(group, "v1", kind, new, before)]


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    }
    return {"spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template, **spec}}


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers) or [{"name": "c", "image": "i"}], **spec}}


def test_an_empty_deployment_lacks_selector_labels_and_containers() -> None:
    assert problems("apps", "Deployment", {}) == [
        "spec.selector: Required value",
        (
            "spec.template.metadata.labels: Invalid value: null: `selector` does "
            "not match template "
            "`labels`"
        ),
        "spec.template.spec.containers: Required value",
    ]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            {"replicas": -1},
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            {"selector": {"matchLabels": {"other": "x"}}},
            (
                'spec.template.metadata.labels: Invalid value: {"app":"w"}: `selector` '
                "does not match "
                "template `labels`"
            ),
        ),
        (
            {"strategy": {"type": "Bogus"}},
            (
                "spec.strategy: Unsupported value: "
                '{"Type":"Bogus","RollingUpdate":null}: supported '
                'values: "Recreate", "RollingUpdate"'
            ),
        ),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            (
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when "
                "strategy `type` is "
                "'Recreate'"
            ),
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            (
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when "
                "`maxSurge` is 0"
            ),
        ),
        (
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ),
    ],
)
def test_a_deployments_rules(spec: Any, sentence: str) -> None:
    assert problems("apps", "Deployment", deployment(**spec)) == [sentence]


def test_the_selector_of_a_deployment_cannot_change() -> None:
    changed = deployment(selector={"matchLabels": {"app": "w", "z": "1"}})
    assert problems("apps", "Deployment", changed, deployment())[-1] == (
        'spec.selector: Invalid value: {"matchLabels":{"app":"w","z":"1"}}: field is immutable'
    )
    assert problems("apps", "Deployment", deployment(replicas=5), deployment()) == []


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        ({"image": "i"}, "spec.containers[0].name: Required value"),
        ({"name": "c"}, "spec.containers[0].image: Required value"),
        (
            {"name": "c", "image": "i", "ports": [{"containerPort": 70000}]},
            (
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must "
                "be between 1 "
                "and 65535, inclusive"
            ),
        ),
        (
            {"name": "c", "image": "i", "volumeMounts": [{"name": "nope", "mountPath": "/x"}]},
            'spec.containers[0].volumeMounts[0].name: Not found: "nope"',
        ),
        (
            {
                "name": "c",
                "image": "i",
                "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            },
            (
                'spec.containers[0].resources.requests: Invalid value: "2": must be less than or '
                "equal to cpu limit of 1"
            ),
        ),
        (
            {"name": "c", "image": "i", "imagePullPolicy": "x"},
            (
                'spec.containers[0].imagePullPolicy: Unsupported value: "x": supported values: '
                '"Always", "IfNotPresent", "Never"'
            ),
        ),
        (
            {"name": "c", "image": "i", "livenessProbe": {}},
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
    ],
)
def test_a_containers_rules(container: Any, sentence: str) -> None:
    assert problems("", "Pod", pod(container)) == [sentence]


def test_pods_need_distinct_containers_and_known_policies() -> None:
    twice = pod({"name": "a", "image": "i"}, {"name": "a", "image": "i"})
    assert problems("", "Pod", twice) == ['spec.containers[1].name: Duplicate value: "a"']
    odd = problems("", "Pod", pod(restartPolicy="x", dnsPolicy="y"))
    assert [problem.partition(":")[0] for problem in odd] == [
        "spec.restartPolicy",
        "spec.dnsPolicy",
    ]


def test_of_a_pod_only_the_image_can_change() -> None:
    old = pod()
    assert problems("", "Pod", pod({"name": "c", "image": "other"}), old) == []
    changed = problems("", "Pod", pod(nodeName="n"), old)
    assert changed[0].startswith("spec: Forbidden: pod updates may not change fields other than")


def test_a_jobs_pods_must_end() -> None:
    obj = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    assert problems("batch", "Job", obj) == [
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    ]


def test_a_services_ports_are_checked() -> None:
    ports = [{"port": 0}, {"port": 80}, {"port": 80}]
    found = [p.partition(":")[0] for p in problems("", "Service", {"spec": {"ports": ports}})]
    assert sorted(found) == [
        "spec.ports[0].name",
        "spec.ports[0].port",
        "spec.ports[0].targetPort",
        "spec.ports[1].name",
        "spec.ports[2]",
        "spec.ports[2].name",
    ]


def test_immutable_config_maps_and_secrets_stay() -> None:
    old = {"immutable": True, "data": {"x": "1"}}
    text = "Forbidden: field is immutable when `immutable` is set"
    assert problems("", "ConfigMap", {**old, "data": {"x": "2"}}, old) == [f"data: {text}"]
    assert problems("", "ConfigMap", {"data": {"x": "1"}}, old) == [f"immutable: {text}"]
    assert problems("", "Secret", {**old, "data": {}}, old) == [f"data: {text}"]


def test_a_secrets_type_decides_its_keys_and_cannot_change() -> None:
    assert problems("", "Secret", {"type": "kubernetes.io/tls"}) == [
        "data[tls.crt]: Required value",
        "data[tls.key]: Required value",
    ]
    assert problems("", "Secret", {"type": "x"}, {"type": "y"}) == [
        'type: Invalid value: "x": field is immutable'
    ]


def test_docker_configuration_must_be_json_and_is_not_repeated() -> None:
    obj = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}
    assert problems("", "Secret", obj) == [
        (
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
            "invalid character "
            "'x' looking for beginning of value"
        )
    ]


def test_a_role_reference_cannot_change() -> None:
    old = {"roleRef": {"kind": "Role", "name": "a"}}
    new = {"roleRef": {"kind": "Role", "name": "b"}}
    assert problems(RBAC, "RoleBinding", new, old)[0].endswith("cannot change roleRef")
    assert problems(RBAC, "RoleBinding", copy.deepcopy(old), old) == []


def test_a_rule_of_a_role_needs_verbs_groups_and_resources() -> None:
    found = problems(RBAC, "Role", {"rules": [{}]})
    fields = [problem.partition(":")[0] for problem in found]
    assert fields == ["rules[0].verbs", "rules[0].apiGroups", "rules[0].resources"]


def test_events_live_beside_what_they_are_about() -> None:
    meta = {"metadata": {"name": "e", "namespace": "ns"}}
    about = {"involvedObject": {"kind": "Pod", "namespace": "other"}}
    assert problems("", "Event", {**meta, **about}) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
    about = {"involvedObject": {"kind": "Pod", "namespace": "ns"}}
    assert problems("", "Event", {**meta, **about}) == []


def test_a_kind_without_rules_is_valid() -> None:
    assert problems("", "ServiceAccount", {}) == []
