from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kcpctl.apis.admission import Admission
from kcpctl.apis.resource import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, SECRETS, SERVICES
from kcpctl.errors import Conflict, Forbidden, Invalid, ServiceUnavailable
from kcpctl.syncer.gate import GateClosed
from kcpctl.syncer.target import Target
from tests.unit.syncer.conftest import as_cached

if TYPE_CHECKING:
    from tests.unit.syncer.conftest import World

OWNER = "internal.workload.kcp.io/cluster"


def test_row_19_finalizer_first(world: World) -> None:
    world.assigned(metadata={"finalizers": ["example.com/other"]})
    assert not world.sync().settled
    assert world.up.take_writes() == ["patch configmaps shop/web"]
    assert not [write for write in world.down.writes if "configmaps" in write]
    metadata = world.up.expect(CONFIG_MAPS, "shop", "web")["metadata"]
    assert metadata["finalizers"] == ["example.com/other", world.target.finalizer]


def test_row_20_finalizer_present_applies(world: World) -> None:
    world.assigned(data={"a": "b"})
    assert not world.sync().settled
    assert world.down.take_writes() == [
        f"create namespaces {world.namespace}",
        f"apply configmaps {world.namespace}/web",
    ]
    copy = world.expect_copy()
    assert copy["data"] == {"a": "b"}
    assert copy["metadata"]["labels"] == {OWNER: world.target.key}
    assert world.up.writes == []


def test_a_second_pass_settles_without_a_write(world: World) -> None:
    world.assigned(data={"a": "b"})
    world.sync()
    world.down.take_writes()
    assert world.sync().settled
    assert world.down.writes == world.up.writes == []


def test_after_a_restart_one_apply_that_changes_nothing_settles(world: World) -> None:
    world.assigned()
    world.sync()
    version = world.expect_copy()["metadata"]["resourceVersion"]
    world.down.take_writes()
    world.restart()
    assert world.sync().settled
    assert world.down.take_writes() == [f"apply configmaps {world.namespace}/web"]
    assert world.expect_copy()["metadata"]["resourceVersion"] == version
    assert world.sync().settled
    assert world.down.writes == []


def test_a_change_upstream_is_applied(world: World) -> None:
    world.assigned(data={"a": "b"})
    world.sync()
    world.assigned(data={"a": "c"})
    assert not world.sync().settled
    assert world.expect_copy()["data"] == {"a": "c"}


def test_drift_downstream_is_mended(world: World) -> None:
    world.assigned(data={"a": "b"})
    world.sync()
    world.expect_copy()["data"] = {"a": "changed"}
    world.sync()
    assert world.expect_copy()["data"] == {"a": "b"}


def test_an_object_deleted_downstream_is_made_again(world: World) -> None:
    world.assigned(data={"a": "b"})
    world.sync()
    before = world.expect_copy()["metadata"]["uid"]
    world.down.drop(CONFIG_MAPS, world.namespace, "web")
    world.sync()
    assert world.expect_copy()["metadata"]["uid"] != before


def test_a_copy_on_its_way_out_is_awaited(world: World) -> None:
    world.assigned()
    world.sync()
    world.expect_copy()["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.down.take_writes()
    assert not world.sync().settled
    assert world.down.writes == []


def test_objects_of_an_assigned_namespace_are_taken_but_for_reserved_ones(world: World) -> None:
    world.up.put(
        NAMESPACES, {"metadata": {"name": "shop", "labels": {world.target.state_label: "Sync"}}}
    )
    for name in ("web", "kube-root-ca.crt"):
        world.up.put(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "shop"}})
    token = {"type": "kubernetes.io/service-account-token"}
    world.up.put(SECRETS, {"metadata": {"name": "token", "namespace": "shop"}, **token})
    world.sync(name="web")
    world.sync(name="kube-root-ca.crt")
    world.sync(SECRETS, name="token")
    assert world.up.take_writes() == ["patch configmaps shop/web"]


def test_a_token_with_a_label_of_its_own_is_synced_as_plain_data(world: World) -> None:
    world.assigned(SECRETS, type="kubernetes.io/service-account-token")
    world.sync(SECRETS)
    assert world.expect_copy(SECRETS)["type"] == "Opaque"


@pytest.mark.parametrize("namespace", ["kube-system", "syncer-home", "looped"])
def test_reserved_namespaces_and_copies_are_left_alone(world: World, namespace: str) -> None:
    annotations = {"kcp.io/namespace-locator": "{}"} if namespace == "looped" else {}
    world.up.put(NAMESPACES, {"metadata": {"name": namespace, "annotations": annotations}})
    world.assigned(metadata={"namespace": namespace})
    assert world.sync(namespace=namespace).settled
    assert world.up.writes == world.down.writes == []


def test_an_object_without_our_label_is_refused(world: World) -> None:
    world.assigned(data={"a": "b"})
    metadata = {"name": "web", "namespace": world.namespace}
    world.down.put(CONFIG_MAPS, {"metadata": metadata, "data": {"theirs": "x"}})
    result = world.sync()
    assert "workload.kcp.io/adopt" in result.problem
    assert result.again_in_seconds == 60
    assert world.expect_copy()["data"] == {"theirs": "x"}


@pytest.mark.parametrize(
    ("manager", "operation", "ours"),
    [
        ("kcpctl-syncer", "Apply", True),
        ("kcpctl-syncer", "Update", False),
        ("kubectl", "Apply", False),
    ],
)
def test_a_copy_that_lost_our_label_gets_it_back(
    world: World, manager: str, operation: str, ours: bool
) -> None:
    world.assigned(data={"a": "b"})
    world.sync()
    metadata = world.expect_copy()["metadata"]
    metadata["labels"] = {}
    metadata["managedFields"] = [{"manager": manager, "operation": operation}]
    assert bool(world.sync().problem) is not ours
    assert (OWNER in world.expect_copy()["metadata"]["labels"]) is ours


def test_an_object_without_our_label_is_adopted_on_request(world: World) -> None:
    world.assigned(data={"a": "b"}, metadata={"annotations": {"workload.kcp.io/adopt": "true"}})
    world.down.put(CONFIG_MAPS, {"metadata": {"name": "web", "namespace": world.namespace}})
    assert not world.sync().problem
    assert world.expect_copy()["metadata"]["labels"][OWNER] == world.target.key


def test_an_object_of_another_target_is_refused_even_if_adoption_is_asked(world: World) -> None:
    world.assigned(metadata={"annotations": {"workload.kcp.io/adopt": "true"}})
    labels = {OWNER: Target("root", "west", "uid-west").key}
    metadata = {"name": "web", "namespace": world.namespace, "labels": labels}
    world.down.put(CONFIG_MAPS, {"metadata": metadata})
    assert "another SyncTarget" in world.sync().problem
    assert not [write for write in world.down.writes if "configmaps" in write]


def test_sync_paused_holds_the_spec_but_not_the_status(world: World) -> None:
    world.assigned(DEPLOYMENTS)
    world.sync(DEPLOYMENTS)
    world.expect_copy(DEPLOYMENTS)["status"] = {"replicas": 2, "observedGeneration": 1}
    paused = {"annotations": {"workload.kcp.io/sync-paused": "true"}}
    world.assigned(DEPLOYMENTS, metadata=paused, spec={"replicas": 9, "template": {}})
    world.down.take_writes()
    world.sync(DEPLOYMENTS)
    assert world.down.writes == []
    assert world.up.expect(DEPLOYMENTS, "shop", "web")["status"]["replicas"] == 2


def test_row_25_spec_diff(world: World) -> None:
    diff = json.dumps([{"op": "replace", "path": "/replicas", "value": 5}])
    world.assigned(DEPLOYMENTS, metadata={"annotations": {world.target.spec_diff_annotation: diff}})
    world.sync(DEPLOYMENTS)
    assert world.expect_copy(DEPLOYMENTS)["spec"]["replicas"] == 5


def test_a_bad_spec_diff_is_a_problem_and_no_crash(world: World) -> None:
    world.assigned(DEPLOYMENTS, metadata={"annotations": {world.target.spec_diff_annotation: "{"}})
    assert "spec-diff" in world.sync(DEPLOYMENTS).problem


def test_what_the_cluster_finds_invalid_is_tried_again_slowly(world: World) -> None:
    world.assigned()
    world.down.fail["apply configmaps"] = Invalid("no such field")
    result = world.sync()
    assert (result.problem, result.again_in_seconds) == ("no such field", 60)


@pytest.mark.parametrize("error", [Forbidden("no"), ServiceUnavailable("later"), Conflict("x")])
def test_what_may_pass_is_left_to_the_back_off(world: World, error: Exception) -> None:
    world.assigned()
    world.down.fail["apply configmaps"] = error
    with pytest.raises(type(error)):
        world.sync()


def test_nothing_is_written_with_the_gate_closed(world: World) -> None:
    world.assigned()
    world.gate.close("is gone")
    with pytest.raises(GateClosed):
        world.sync()
    assert world.up.writes == world.down.writes == []


def test_no_status_goes_up_with_the_gate_closed(world: World) -> None:
    world.assigned(DEPLOYMENTS)
    world.sync(DEPLOYMENTS)
    world.expect_copy(DEPLOYMENTS)["status"] = {"replicas": 2}
    world.gate.close("is gone")
    with pytest.raises(GateClosed):
        world.sync(DEPLOYMENTS)
    assert world.up.writes == []


def test_row_31_status_goes_up_and_settles(world: World) -> None:
    world.assigned(DEPLOYMENTS, metadata={"generation": 4})
    world.sync(DEPLOYMENTS)
    copy = world.expect_copy(DEPLOYMENTS)
    copy["status"] = {"availableReplicas": 2, "replicas": 2, "observedGeneration": 1}
    world.sync(DEPLOYMENTS)
    assert world.up.take_writes() == ["patch/status deployments shop/web"]
    status = {"availableReplicas": 2, "replicas": 2, "observedGeneration": 4}
    assert world.up.expect(DEPLOYMENTS, "shop", "web")["status"] == status
    world.sync(DEPLOYMENTS)
    assert world.up.writes == []


def test_a_field_that_left_the_status_leaves_it_upstream_too(world: World) -> None:
    world.assigned(SERVICES, spec={"type": "LoadBalancer"})
    world.sync(SERVICES)
    world.expect_copy(SERVICES)["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    world.sync(SERVICES)
    world.expect_copy(SERVICES)["status"] = {"loadBalancer": {}}
    world.sync(SERVICES)
    assert world.up.expect(SERVICES, "shop", "web")["status"] == {"loadBalancer": {}}


def test_rollout_status_waits_for_the_generation_that_was_applied(world: World) -> None:
    world.assigned(DEPLOYMENTS)
    world.sync(DEPLOYMENTS)
    world.expect_copy(DEPLOYMENTS)["status"] = {"replicas": 2, "observedGeneration": 1}
    world.sync(DEPLOYMENTS)
    up = world.up.expect(DEPLOYMENTS, "shop", "web")
    up["spec"]["replicas"], up["metadata"]["generation"] = 3, 2
    world.sync(DEPLOYMENTS)  # applied, and the cluster has not acted on it
    assert world.up.expect(DEPLOYMENTS, "shop", "web")["status"]["observedGeneration"] == 1
    world.expect_copy(DEPLOYMENTS)["status"] = {"replicas": 3, "observedGeneration": 2}
    world.sync(DEPLOYMENTS)
    assert world.up.expect(DEPLOYMENTS, "shop", "web")["status"] == {
        "replicas": 3,
        "observedGeneration": 2,
    }


def test_an_upstream_generation_that_changes_nothing_downstream_is_observed(world: World) -> None:
    world.assigned(DEPLOYMENTS)
    world.sync(DEPLOYMENTS)
    world.expect_copy(DEPLOYMENTS)["status"] = {"observedGeneration": 1}
    up = world.up.expect(DEPLOYMENTS, "shop", "web")
    up["spec"]["template"]["spec"]["serviceAccountName"] = "builder"
    up["metadata"]["generation"] = 9
    world.down.take_writes()
    world.sync(DEPLOYMENTS)
    assert world.down.writes == []
    assert world.up.expect(DEPLOYMENTS, "shop", "web")["status"] == {"observedGeneration": 9}


def test_a_status_that_upstream_cannot_hold_is_written_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.assigned(SERVICES)
    world.sync(SERVICES)
    world.expect_copy(SERVICES)["status"] = {"loadBalancer": {}, "newerField": 1}
    put = world.up.put

    def dropping(resource: object, obj: dict[str, dict[str, object]]) -> object:
        obj.get("status", {}).pop("newerField", None)
        return put(resource, obj)  # type: ignore[arg-type]

    monkeypatch.setattr(world.up, "put", dropping)
    world.sync(SERVICES)
    world.sync(SERVICES)
    assert world.up.take_writes() == ["patch/status services shop/web"]


def test_config_maps_have_no_status_to_report(world: World) -> None:
    world.assigned()
    world.sync()
    world.expect_copy()["status"] = {"x": 1}
    world.sync()
    assert world.up.writes == []


def test_row_32_objects_in_a_namespace_of_another_target_map_to_nothing(world: World) -> None:
    from tests.unit.syncer.conftest import as_cached

    other = Target("root", "east", "another-uid").locator("shop")
    labels = {OWNER: world.target.key}
    annotations = {"kcp.io/namespace-locator": other.to_json()}
    world.down.put(
        NAMESPACES, {"metadata": {"name": "kcp-x", "labels": labels, "annotations": annotations}}
    )
    metadata = {"name": "web", "namespace": "kcp-x", "labels": labels}
    copy = world.down.put(DEPLOYMENTS, {"metadata": metadata, "status": {"replicas": 1}})
    assert world.syncer(DEPLOYMENTS).keys_of_copy(as_cached("root", copy)) == []


def test_events_map_to_upstream_keys(world: World) -> None:
    from tests.unit.syncer.conftest import as_cached

    up = as_cached("root", world.assigned())
    other = world.up.put(CONFIG_MAPS, {"metadata": {"name": "other", "namespace": "shop"}})
    world.sync()
    syncer = world.syncer(CONFIG_MAPS)
    namespace = as_cached("root", world.up.expect(NAMESPACES, "", "shop"))
    copied = as_cached("root", world.down.expect(NAMESPACES, "", world.namespace))
    assert syncer.keys_of(up) == ["root|shop/web"]
    assert syncer.keys_of(as_cached("root", other)) == []
    assert syncer.keys_of_copy(as_cached("root", world.expect_copy())) == ["root|shop/web"]
    assert syncer.keys_in(namespace) == ["root|shop/web"]
    world.down.drop(NAMESPACES, "", world.namespace)
    assert syncer.keys_in_copy(copied) == ["root|shop/web"]


def test_what_the_target_does_not_let_in_goes_and_is_let_go(world: World) -> None:
    world.assigned()
    world.sync()
    world.restrict(Admission.of({"supportedResourceTypes": ["secrets"]}))
    assert world.sync().again_in_seconds
    assert world.copy() is None
    assert world.sync().settled
    metadata = world.up.expect(CONFIG_MAPS, "shop", "web")["metadata"]
    assert metadata["finalizers"] == []
    assert metadata["labels"] == {world.target.state_label: "Sync"}
    obj = as_cached("root", world.up.expect(CONFIG_MAPS, "shop", "web"))
    assert world.syncer(CONFIG_MAPS).keys_of(obj) == []
    world.up.take_writes()
    assert world.sync().settled
    assert world.up.writes == []


def test_labels_of_the_namespace_let_in_and_shut_out(world: World) -> None:
    chosen = {"matchLabels": {"team": "a"}}
    world.restrict(Admission.of({"selector": {"namespaceSelector": chosen}}))
    world.assigned()
    world.up.put(NAMESPACES, {"metadata": {"name": "shop", "labels": {"team": "a"}}})
    world.sync()
    world.expect_copy()
    namespace = world.up.put(NAMESPACES, {"metadata": {"name": "shop"}})
    assert world.syncer(CONFIG_MAPS).keys_in(as_cached("root", namespace)) == ["root|shop/web"]
    world.sync()
    assert world.copy() is None
