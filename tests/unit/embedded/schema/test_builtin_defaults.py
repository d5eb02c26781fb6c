from __future__ import annotations

import copy
from typing import Any

import pytest

from kcpctl.embedded.schema import default_builtin

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
}
WORKLOAD: dict[str, Any] = {
    "metadata": {"name": "w"},
    "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}


def pod(**spec: Any) -> dict[str, Any]:
    obj = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}
    result: dict[str, Any] = default_builtin("", "v1", "Pod", obj)["spec"]
    return result


def test_a_deployment_gets_the_defaults_of_the_real_server() -> None:
    before = copy.deepcopy(WORKLOAD)
    result = default_builtin("apps", "v1", "Deployment", WORKLOAD)
    assert before == WORKLOAD
    assert result["status"] == {}
    spec = result["spec"]
    template = spec.pop("template")
    assert spec == {
        "selector": {"matchLabels": {"a": "b"}},
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
        },
    }
    assert template["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def test_defaulting_an_object_twice_changes_nothing() -> None:
    for group, kind in [("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")]:
        once = default_builtin(group, "v1", kind, WORKLOAD)
        assert default_builtin(group, "v1", kind, once) == once


def test_recreate_gets_no_rolling_update() -> None:
    obj = {**WORKLOAD, "spec": {**WORKLOAD["spec"], "strategy": {"type": "Recreate"}}}
    spec = default_builtin("apps", "v1", "Deployment", obj)["spec"]
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("host:5000/nginx", "Always"),
        ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    spec = pod(containers=[{"name": "c", "image": image}])
    assert spec["containers"][0]["imagePullPolicy"] == policy


def test_requests_of_a_pod_default_to_its_limits() -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    spec = pod(containers=[{"name": "c", "resources": resources}])
    requests = spec["containers"][0]["resources"]["requests"]
    assert requests == {"cpu": "100m", "memory": "1Gi"}


def test_probes_ports_environment_and_volumes_get_their_defaults() -> None:
    spec = pod(
        containers=[
            {
                "name": "c",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "livenessProbe": {"httpGet": {"port": 80}},
            }
        ],
        volumes=[
            {"name": "e"},
            {"name": "s", "secret": {"secretName": "x"}},
            {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "h", "hostPath": {"path": "/x"}},
        ],
    )
    container = spec["containers"][0]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert container["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    empty, secret, projected, host = spec["volumes"]
    assert empty["emptyDir"] == {}
    assert secret["secret"]["defaultMode"] == 420
    assert projected["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert host["hostPath"]["type"] == ""


def test_host_network_binds_the_container_ports() -> None:
    spec = pod(hostNetwork=True, containers=[{"name": "c", "ports": [{"containerPort": 80}]}])
    assert spec["containers"][0]["ports"][0]["hostPort"] == 80


def test_service_account_and_its_old_name_are_one() -> None:
    assert pod(serviceAccountName="x")["serviceAccount"] == "x"
    assert pod(serviceAccount="x")["serviceAccountName"] == "x"


def test_a_service_gets_type_affinity_protocol_and_target_port() -> None:
    obj = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    result = default_builtin("", "v1", "Service", obj)
    assert result["spec"] == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
    }
    assert result["status"] == {"loadBalancer": {}}


def test_a_secret_is_opaque() -> None:
    assert default_builtin("", "v1", "Secret", {"metadata": {"name": "s"}})["type"] == "Opaque"


def test_a_job_chooses_its_pods_by_its_uid() -> None:
    obj = {"metadata": {"name": "j", "uid": "u1"}, "spec": {"template": TEMPLATE}}
    spec = default_builtin("batch", "v1", "Job", obj)["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}}
    assert spec["template"]["metadata"]["labels"]["job-name"] == "j"
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)


def test_a_binding_completes_its_references() -> None:
    obj = {
        "metadata": {"name": "b"},
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}],
    }
    result = default_builtin("rbac.authorization.k8s.io", "v1", "RoleBinding", obj)
    assert result["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert result["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert "apiGroup" not in result["subjects"][1]


def test_a_crd_gets_names_conversion_and_an_empty_status() -> None:
    obj = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True}],
        },
    }
    result = default_builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition", obj)
    names = result["spec"]["names"]
    assert (names["singular"], names["listKind"]) == ("widget", "WidgetList")
    assert result["spec"]["conversion"] == {"strategy": "None"}
    assert result["status"] == {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": ["v1"],
    }


def test_an_unknown_kind_is_copied() -> None:
    obj = {"metadata": {"name": "x"}, "spec": {"a": []}}
    result = default_builtin("example.com", "v1", "Widget", obj)
    assert result == obj
    assert result["spec"] is not obj["spec"]


def test_client_affinity_lasts_three_hours() -> None:
    obj = {"metadata": {"name": "s"}, "spec": {"sessionAffinity": "ClientIP"}}
    spec = default_builtin("", "v1", "Service", obj)["spec"]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


@pytest.mark.parametrize(
    ("group", "kind", "given", "expected"),
    [
        ("", "PersistentVolumeClaim", {"spec": {}}, {"spec": {"volumeMode": "Filesystem"}}),
        ("", "Endpoints", {"subsets": [{"ports": [{"port": 1}]}]}, {}),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            {"spec": {"egress": [{"ports": [{"port": 53}]}]}},
            {},
        ),
        ("storage.k8s.io", "StorageClass", {}, {"reclaimPolicy": "Delete"}),
        ("scheduling.k8s.io", "PriorityClass", {}, {"preemptionPolicy": "PreemptLowerPriority"}),
        ("events.k8s.io", "Event", {}, {"eventTime": None}),
        ("", "Event", {}, {"firstTimestamp": None, "reportingComponent": ""}),
        ("rbac.authorization.k8s.io", "ClusterRole", {}, {"rules": None}),
        ("discovery.k8s.io", "EndpointSlice", {"ports": [{"port": 1}]}, {"endpoints": None}),
        ("", "Node", {"spec": {"podCIDR": "10.0.0.0/24"}}, {}),
        ("", "ReplicationController", {"spec": {"template": TEMPLATE}}, {}),
        ("policy", "PodDisruptionBudget", {"spec": {}}, {}),
    ],
)
def test_other_kinds_get_theirs_and_keep_them(
    group: str, kind: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    once = default_builtin(group, "v1", kind, {"metadata": {"name": "x"}, **given})
    assert {key: once[key] for key in expected if key != "spec"} == {
        key: value for key, value in expected.items() if key != "spec"
    }
    assert default_builtin(group, "v1", kind, once) == once
