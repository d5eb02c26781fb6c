from __future__ import annotations

import random
from typing import Any

import pytest

from kcpctl.embedded.deletion import DeletionOptions
from kcpctl.embedded.pipeline import WriteOptions
from kcpctl.embedded.registry import Event, Registry
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.writer import APPLY, JSON_PATCH, STRATEGIC_PATCH
from kcpctl.testing.clock import FakeClock

Json = dict[str, Any]


class Kind:
    """One resource of a registry, with the arguments that tests repeat left out."""

    def __init__(self, registry: Registry, path: str, namespace: str = "default") -> None:
        group, version, plural = path.split("/")
        self.registry = registry
        self.info = registry.info("root", group, version, plural)
        self.namespace = namespace if self.info.namespaced else ""

    def create(self, name: str = "a", **fields: Any) -> Json:
        meta = {"name": name, **fields.pop("metadata", {})}
        body = {"metadata": meta, **fields}
        return self.registry.create(self.info, "root", self.namespace, body)

    def get(self, name: str = "a") -> Json:
        return self.registry.get(self.info, "root", self.namespace, name)

    def find(self, name: str = "a") -> Json | None:
        return self.registry.find(self.info, "root", self.namespace, name)

    def patch(self, body: Any, name: str = "a", kind: str = "", subresource: str = "") -> Json:
        return self.registry.patch(
            self.info,
            "root",
            self.namespace,
            name,
            body,
            kind or "application/merge-patch+json",
            subresource=subresource,
        )

    def update(self, obj: Json, subresource: str = "") -> Json:
        return self.registry.update(self.info, "root", obj, subresource=subresource)

    def write(self, obj: Json, options: WriteOptions) -> Json:
        return self.registry.writer.create(self.info, "root", self.namespace, obj, options)


@pytest.fixture
def maps(plain: Registry) -> Kind:
    return Kind(plain, "/v1/configmaps")


@pytest.fixture
def deployments(plain: Registry) -> Kind:
    return Kind(plain, "apps/v1/deployments")


SPEC: Json = {
    "selector": {"matchLabels": {"app": "w"}},
    "template": {
        "metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]},
    },
}


def refused(code: int, text: str = "") -> Any:
    class Check:
        def __enter__(self) -> None:
            return None

        def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
            assert isinstance(error, StatusError), f"expected {code}, got {error!r}"
            assert (error.code, text in error.message) == (code, True), error.message
            return True

    return Check()


class TestCreate:
    def test_the_server_fills_in_what_is_its_own(self, maps: Kind) -> None:
        made = maps.create(
            metadata={"uid": "mine", "creationTimestamp": "x", "deletionTimestamp": "y"},
            data={"k": "v"},
        )
        meta = made["metadata"]
        assert (made["apiVersion"], made["kind"], meta["namespace"]) == (
            "v1",
            "ConfigMap",
            "default",
        )
        assert len(meta["uid"]) == 36
        assert meta["creationTimestamp"] == "2023-11-14T22:13:20Z"
        assert "deletionTimestamp" not in meta
        assert meta["resourceVersion"].isdigit()

    def test_names_are_generated(self, maps: Kind) -> None:
        made = maps.registry.create(
            maps.info, "root", "default", {"metadata": {"generateName": "gen-"}}
        )
        assert made["metadata"]["name"].startswith("gen-")
        assert len(made["metadata"]["name"]) == 9

    def test_the_same_name_twice_is_a_conflict(self, maps: Kind) -> None:
        maps.create()
        with refused(409, 'configmaps "a" already exists'):
            maps.create()

    def test_a_name_that_is_being_deleted_says_so(self, maps: Kind) -> None:
        maps.create(metadata={"finalizers": ["a/b"]})
        maps.registry.delete(maps.info, "root", "default", "a")
        with refused(409, "object is being deleted: "):
            maps.create()

    def test_a_version_on_create_is_a_500(self, maps: Kind) -> None:
        with refused(500, "resourceVersion should not be set"):
            maps.create(metadata={"resourceVersion": "1"})

    def test_the_namespace_has_to_exist(self, plain: Registry) -> None:
        with refused(404, 'namespaces "nope" not found'):
            Kind(plain, "/v1/configmaps", "nope").create()

    def test_nothing_is_made_in_a_terminating_namespace(self, plain: Registry) -> None:
        namespaces = Kind(plain, "/v1/namespaces")
        namespaces.create("gone")
        plain.delete(namespaces.info, "root", "", "gone")
        with refused(403, "because it is being terminated"):
            Kind(plain, "/v1/configmaps", "gone").create()

    def test_another_namespace_in_the_body_is_refused(self, maps: Kind) -> None:
        with refused(400, "does not match the namespace"):
            maps.create(metadata={"namespace": "other"})

    def test_bad_metadata_is_refused(self, maps: Kind) -> None:
        with refused(422, 'ConfigMap "A" is invalid: metadata.name'):
            maps.create("A")

    def test_status_is_the_servers(self, deployments: Kind) -> None:
        made = deployments.create(spec=SPEC, status={"replicas": 9})
        assert made["status"] == {}
        assert made["metadata"]["generation"] == 1

    def test_defaults_are_applied(self, deployments: Kind) -> None:
        assert deployments.create(spec=SPEC)["spec"]["replicas"] == 1

    def test_unknown_fields_are_dropped(self, maps: Kind) -> None:
        assert "bogus" not in maps.create(bogus=1)

    def test_a_dry_run_stores_nothing(self, maps: Kind) -> None:
        options = WriteOptions(dry_run=True)
        made = maps.write({"metadata": {"name": "dry"}}, options)
        assert made["metadata"]["uid"]
        assert "resourceVersion" not in made["metadata"]
        assert maps.find("dry") is None

    def test_strict_validation_refuses_unknown_fields(self, maps: Kind) -> None:
        options = WriteOptions(field_validation="Strict", trusted=False)
        with refused(400, 'strict decoding error: unknown field "bogus"'):
            maps.write({"metadata": {"name": "a"}, "bogus": 1}, options)

    def test_warnings_name_unknown_fields(self, maps: Kind) -> None:
        options = WriteOptions(field_validation="Warn", trusted=False)
        maps.write({"metadata": {"name": "a"}, "bogus": 1}, options)
        assert options.warnings == ['unknown field "bogus"']

    def test_admission_can_refuse(self, maps: Kind) -> None:
        def no(obj: Json, subresource: str) -> None:
            raise StatusError(403, "Forbidden", obj["metadata"]["name"])

        with refused(403, "a"):
            maps.write({"metadata": {"name": "a"}}, WriteOptions(admission=no))
        assert maps.find() is None

    def test_the_callers_object_is_not_touched(self, maps: Kind) -> None:
        body: Json = {"metadata": {"name": "a"}, "data": {"k": "v"}}
        maps.registry.create(maps.info, "root", "default", body)
        assert body == {"metadata": {"name": "a"}, "data": {"k": "v"}}


class TestKinds:
    def test_namespaces_get_their_label_finalizer_and_phase(self, plain: Registry) -> None:
        made = Kind(plain, "/v1/namespaces").create("n")
        assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
        assert made["spec"] == {"finalizers": ["kubernetes"]}
        assert made["status"] == {"phase": "Active"}

    def test_secrets_fold_text_into_data(self, plain: Registry) -> None:
        made = Kind(plain, "/v1/secrets").create(stringData={"x": "1"})
        assert made["data"] == {"x": "MQ=="}
        assert "stringData" not in made

    def test_pods_are_pending_with_a_class_of_service(self, plain: Registry) -> None:
        pods = Kind(plain, "/v1/pods")
        container = {"name": "c", "image": "i"}
        assert pods.create(spec={"containers": [container]})["status"] == {
            "phase": "Pending",
            "qosClass": "BestEffort",
        }
        limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
        full = pods.create("full", spec={"containers": [{**container, "resources": limits}]})
        assert full["status"]["qosClass"] == "Guaranteed"
        some = {"requests": {"cpu": "1"}}
        part = pods.create("part", spec={"containers": [{**container, "resources": some}]})
        assert part["status"]["qosClass"] == "Burstable"

    def test_the_status_of_pods_is_completed(self, plain: Registry) -> None:
        pods = Kind(plain, "/v1/pods")
        pods.create(spec={"containers": [{"name": "c", "image": "i"}]})
        pod = {**pods.get(), "status": {"phase": "Running", "podIP": "127.0.0.9"}}
        status = pods.update(pod, subresource="status")["status"]
        assert status["podIPs"] == [{"ip": "127.0.0.9"}]
        assert status["qosClass"] == "BestEffort"

    def test_jobs_select_by_their_own_uid(self, plain: Registry) -> None:
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        made = Kind(plain, "batch/v1/jobs").create(spec={"template": {"spec": pod}})
        label = "batch.kubernetes.io/controller-uid"
        assert made["spec"]["selector"] == {"matchLabels": {label: made["metadata"]["uid"]}}
        assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "a"

    def test_volumes_are_protected(self, plain: Registry) -> None:
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
        made = Kind(plain, "/v1/persistentvolumeclaims").create(spec=claim)
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]

    def test_events_are_one_object_in_two_groups(self, plain: Registry) -> None:
        core = Kind(plain, "/v1/events")
        new = Kind(plain, "events.k8s.io/v1/events")
        about = {"kind": "Pod", "name": "p", "namespace": "default"}
        core.create(involvedObject=about, message="m", reason="R", type="Normal")
        shown = new.get()
        assert (shown["apiVersion"], shown["note"]) == ("events.k8s.io/v1", "m")
        assert shown["regarding"] == about
        assert new.get()["metadata"]["uid"] == core.get()["metadata"]["uid"]


class TestUpdate:
    def test_an_update_that_changes_nothing_keeps_the_version(self, maps: Kind) -> None:
        made = maps.create(data={"k": "v"})
        assert maps.update(made) is made
        assert maps.patch({}) is made
        assert maps.patch({"data": {"k": "v"}}) is made

    def test_a_stale_version_is_a_conflict(self, maps: Kind) -> None:
        made = maps.create(data={"k": "v"})
        maps.patch({"data": {"k": "w"}})
        with refused(409, "the object has been modified"):
            maps.update({**made, "data": {"k": "x"}})

    def test_another_uid_is_a_conflict_on_put_and_invalid_in_a_patch(self, maps: Kind) -> None:
        made = maps.create()
        with refused(409, "Precondition failed: UID in precondition: x"):
            maps.update({**made, "metadata": {**made["metadata"], "uid": "x"}})
        with refused(422, "field is immutable"):
            maps.patch({"metadata": {"uid": "x"}})

    def test_a_version_that_is_no_number_is_a_500(self, maps: Kind) -> None:
        maps.create()
        with refused(500, "invalid syntax"):
            maps.update({"metadata": {"name": "a", "namespace": "default", "resourceVersion": "x"}})

    def test_missing_objects(self, maps: Kind, plain: Registry) -> None:
        body = {"metadata": {"name": "a", "namespace": "default"}}
        with refused(404, 'configmaps "a" not found'):
            maps.update(body)
        with refused(404):
            maps.patch({})
        assert Kind(plain, "coordination.k8s.io/v1/leases").update(body)["kind"] == "Lease"

    def test_the_server_keeps_what_is_its_own(self, maps: Kind) -> None:
        made = maps.create()
        bare = {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "v"}}
        changed = maps.update(bare)
        for field in ("uid", "creationTimestamp"):
            assert changed["metadata"][field] == made["metadata"][field]

    def test_the_spec_and_annotations_of_deployments_bump_generation(
        self, deployments: Kind
    ) -> None:
        deployments.create(spec=SPEC)
        assert (
            deployments.patch({"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
        )
        changed = deployments.patch({"metadata": {"annotations": {"a": "b"}}})
        assert changed["metadata"]["generation"] == 2
        assert deployments.patch({"spec": {"replicas": 3}})["metadata"]["generation"] == 3
        status = deployments.patch({"status": {"replicas": 3}}, subresource="status")
        assert status["metadata"]["generation"] == 3

    def test_status_and_spec_have_their_own_endpoints(self, deployments: Kind) -> None:
        deployments.create(spec=SPEC)
        both = {"spec": {"replicas": 5}, "status": {"replicas": 2}}
        by_status = deployments.patch(both, subresource="status")
        assert (by_status["spec"]["replicas"], by_status["status"]["replicas"]) == (1, 2)
        by_spec = deployments.patch({"spec": {"replicas": 5}, "status": {"replicas": 9}})
        assert (by_spec["spec"]["replicas"], by_spec["status"]["replicas"]) == (5, 2)

    def test_the_last_finalizer_lets_an_object_go(self, maps: Kind) -> None:
        maps.create(metadata={"finalizers": ["a/b"]})
        held = maps.registry.delete(maps.info, "root", "default", "a")
        events: list[Event] = []
        maps.registry.subscribe(events.append)
        last = maps.patch({"metadata": {"finalizers": None}})
        assert maps.find() is None
        assert last["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
        assert [event.type for event in events] == ["DELETED"]
        assert events[0].object["metadata"]["finalizers"] == ["a/b"]

    def test_scale_writes_replicas_only(self, deployments: Kind) -> None:
        deployments.create(spec=SPEC)

        def change(scale: Json) -> Json:
            return {**scale, "spec": {"replicas": 4}}

        where = (deployments.info, "root", "default", "a")
        scale = deployments.registry.writer.scale(*where, change, WriteOptions())
        assert scale["spec"] == {"replicas": 4}
        assert scale["status"] == {"replicas": 0, "selector": "app=w"}
        assert deployments.get()["spec"]["replicas"] == 4


class TestPatch:
    def test_json_patch(self, maps: Kind) -> None:
        maps.create(data={"k": "v"})
        ops = [{"op": "replace", "path": "/data/k", "value": "w"}]
        assert maps.patch(ops, kind=JSON_PATCH)["data"] == {"k": "w"}

    def test_strategic_merge_patch_merges_containers_by_name(self, deployments: Kind) -> None:
        deployments.create(spec=SPEC)
        pod = {"containers": [{"name": "d", "image": "other"}]}
        changed = deployments.patch({"spec": {"template": {"spec": pod}}}, kind=STRATEGIC_PATCH)
        containers = changed["spec"]["template"]["spec"]["containers"]
        assert {one["name"] for one in containers} == {"c", "d"}

    def test_apply_creates_and_updates_and_knows_its_fields(self, maps: Kind) -> None:
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        made = maps.patch({**body, "data": {"k": "v", "l": "w"}}, kind=APPLY)
        assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
        again = maps.patch({**body, "data": {"k": "v", "l": "w"}}, kind=APPLY)
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert maps.patch({**body, "data": {"k": "v"}}, kind=APPLY)["data"] == {"k": "v"}

    def test_an_apply_needs_its_name_in_the_body(self, maps: Kind) -> None:
        with refused(400, "undeterminable"):
            maps.patch({"apiVersion": "v1", "kind": "ConfigMap"}, kind=APPLY)

    def test_apply_with_a_uid_does_not_create(self, maps: Kind) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u"}}
        with refused(409, "uid mismatch"):
            maps.patch(body, kind=APPLY)

    def test_a_patch_cannot_move_an_object(self, maps: Kind) -> None:
        maps.create()
        with refused(400, "does not match the name"):
            maps.patch({"metadata": {"name": "b"}})

    def test_a_result_that_does_not_decode_is_422_about_the_patch(self, maps: Kind) -> None:
        maps.create()
        options = WriteOptions(field_validation="Strict", trusted=False)
        merge = "application/merge-patch+json"
        with refused(422, ' "" is invalid: patch: Invalid value: '):
            maps.registry.writer.patch(
                maps.info, "root", "default", "a", {"bogus": 1}, merge, options
            )

    def test_strategic_patches_of_a_wrong_type_are_told_as_go_prints_them(
        self, deployments: Kind
    ) -> None:
        deployments.create(spec=SPEC)
        options = WriteOptions(trusted=False)
        body = {"spec": {"replicas": "x"}}
        where = (deployments.info, "root", "default", "a")
        with refused(422, '"map[spec:map[replicas:x]]": unrecognized type: int32'):
            deployments.registry.writer.patch(*where, body, STRATEGIC_PATCH, options)

    def test_other_media_types_are_415(self, maps: Kind) -> None:
        maps.create()
        with refused(415):
            maps.patch({}, kind="text/plain")


class TestFollowers:
    def test_every_commit_is_told_in_order_with_old_and_new(self, maps: Kind) -> None:
        events: list[Event] = []
        maps.registry.subscribe(events.append)
        maps.create(data={"k": "v"})
        maps.patch({"data": {"k": "w"}})
        maps.registry.delete(maps.info, "root", "default", "a")
        assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert events[1].old is not None
        assert events[1].old["data"] == {"k": "v"}
        assert (events[1].cluster, events[1].namespace, events[1].name) == ("root", "default", "a")

    def test_a_follower_that_raises_stops_nobody(
        self, maps: Kind, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[Event] = []

        def fails(event: Event) -> None:
            raise RuntimeError("boom")

        maps.registry.subscribe(fails)
        maps.registry.subscribe(seen.append)
        maps.create()
        assert len(seen) == 1
        assert "A follower of commits failed" in caplog.text

    def test_what_a_follower_commits_is_told_afterwards(self, maps: Kind) -> None:
        order: list[str] = []

        def reacts(event: Event) -> None:
            if event.name == "a":
                maps.create("b")

        maps.registry.subscribe(reacts)
        maps.registry.subscribe(lambda event: order.append(event.name))
        maps.create("a")
        assert order == ["a", "b"]


class TestLookup:
    def test_unknown_resources_of_a_served_group_are_404_status(self, plain: Registry) -> None:
        with pytest.raises(StatusError) as caught:
            plain.info("root", "apps", "v1", "nosuch")
        assert not caught.value.plain_text

    def test_unknown_groups_are_404_in_plain_text(self, plain: Registry) -> None:
        with pytest.raises(StatusError) as caught:
            plain.info("root", "nosuch", "v1", "things")
        assert caught.value.plain_text

    def test_kinds_are_found_by_api_version(self, plain: Registry) -> None:
        found = plain.info_for_kind("root", "apps/v1", "Deployment")
        assert found is not None
        assert found.plural == "deployments"
        assert plain.info_for_kind("root", "apps/v1", "Nope") is None

    def test_lists_take_label_selectors(self, maps: Kind) -> None:
        maps.create("a", metadata={"labels": {"x": "1"}})
        maps.create("b")
        found = maps.registry.list(maps.info, "root", "default", "x=1")
        assert [obj["metadata"]["name"] for obj in found] == ["a"]

    def test_versions_start_above_those_before_a_restart(self) -> None:
        clock = FakeClock(1_800_000_000.0)
        before = Registry(clock=clock, rng=random.Random(1)).store.revision
        clock.step(60)
        assert Registry(clock=clock, rng=random.Random(1)).store.revision > before


class TestDeletion:
    def delete(self, kind: Kind, **options: Any) -> tuple[Json, bool]:
        done = kind.registry.delete_with(kind.info, "root", kind.namespace, "a", options)
        return done.object, done.gone

    def test_an_object_without_finalizers_is_gone(self, maps: Kind) -> None:
        maps.create()
        assert self.delete(maps)[1]
        with refused(404):
            self.delete(maps)

    def test_finalizers_hold_it(self, maps: Kind) -> None:
        maps.create(metadata={"finalizers": ["a/b"]})
        held, gone = self.delete(maps)
        assert not gone
        assert held["metadata"]["deletionTimestamp"]
        assert held["metadata"]["deletionGracePeriodSeconds"] == 0
        again, _ = self.delete(maps)
        assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]

    def test_preconditions_are_checked(self, maps: Kind) -> None:
        made = maps.create()["metadata"]
        with refused(409, "the UID in the precondition (x) does not match"):
            self.delete(maps, preconditions={"uid": "x"})
        with refused(409, "the ResourceVersion in the precondition (1) does not match"):
            self.delete(maps, preconditions={"resourceVersion": "1"})
        both = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
        assert self.delete(maps, preconditions=both)[1]

    @pytest.mark.parametrize(
        ("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")]
    )
    def test_propagation_leaves_a_finalizer(self, maps: Kind, policy: str, finalizer: str) -> None:
        maps.create()
        held, gone = self.delete(maps, propagationPolicy=policy)
        assert not gone
        assert held["metadata"]["finalizers"] == [finalizer]

    def test_background_takes_those_finalizers_away(self, maps: Kind) -> None:
        maps.create(metadata={"finalizers": ["orphan"]})
        assert self.delete(maps, propagationPolicy="Background")[1]

    def test_jobs_orphan_their_pods_by_default(self, plain: Registry) -> None:
        jobs = Kind(plain, "batch/v1/jobs")
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        jobs.create(spec={"template": {"spec": pod}})
        assert self.delete(jobs)[0]["metadata"]["finalizers"] == ["orphan"]

    def test_impossible_options_are_refused(self) -> None:
        with refused(422, "propagationPolicy: Unsupported value"):
            DeletionOptions.parse({"propagationPolicy": "Bogus"})
        with refused(422, "cannot be both set"):
            DeletionOptions.parse({"propagationPolicy": "Orphan", "orphanDependents": True})

    def test_a_dry_run_deletes_nothing(self, maps: Kind) -> None:
        maps.create()
        assert self.delete(maps, dryRun=["All"])[1]
        assert maps.find() is not None

    def pod(self, registry: Registry, **spec: Any) -> Kind:
        pods = Kind(registry, "/v1/pods")
        pods.create(spec={"containers": [{"name": "c", "image": "i"}], **spec})
        return pods

    def test_a_pod_without_a_node_goes_at_once(self, plain: Registry) -> None:
        last, gone = self.delete(self.pod(plain))
        assert gone
        assert last["metadata"]["deletionGracePeriodSeconds"] == 0

    def test_a_pod_on_a_node_has_grace_that_can_only_shrink(self, plain: Registry) -> None:
        pods = self.pod(plain, nodeName="n")
        first, gone = self.delete(pods)
        assert not gone
        assert first["metadata"]["deletionGracePeriodSeconds"] == 30
        assert first["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:50Z"
        longer, _ = self.delete(pods, gracePeriodSeconds=60)
        assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
        shorter, _ = self.delete(pods, gracePeriodSeconds=5)
        assert shorter["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:25Z"
        assert self.delete(pods, gracePeriodSeconds=0)[1]

    def test_some_namespaces_may_not_be_deleted(self, plain: Registry) -> None:
        namespaces = Kind(plain, "/v1/namespaces")
        with refused(403, "this namespace may not be deleted"):
            plain.delete(namespaces.info, "root", "", "default")

    def test_namespaces_terminate_until_finalized(self, plain: Registry) -> None:
        namespaces = Kind(plain, "/v1/namespaces")
        namespaces.create()
        held, gone = self.delete(namespaces)
        assert not gone
        assert held["status"] == {"phase": "Terminating"}
        namespaces.update({**held, "spec": {}}, subresource="finalize")
        assert namespaces.find() is None


def test_an_apply_of_the_name_alone_gives_everything_up_but_the_object(maps: Kind) -> None:
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap"}
    maps.patch({**body, "metadata": {"name": "a", "labels": {"l": "1"}}}, kind=APPLY)
    maps.patch({"metadata": {"finalizers": ["x/y"]}})
    left = maps.patch({**body, "metadata": {"name": "a"}}, kind=APPLY)
    assert "labels" not in left["metadata"]
    assert left["metadata"]["finalizers"] == ["x/y"]
