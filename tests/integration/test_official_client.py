"""The official Python client against the embedded server, in both of its modes.

The tests go through the generated models, so every answer has also to be one that the client can
deserialise: quantities, times, ints or strings.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException

from kcpctl.apis.crds import all_crds
from kcpctl.testing import ControlPlane, eventually

Json = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
_numbers = count(1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ControlPlane]:
    """An ordinary cluster with a kubelet."""
    with ControlPlane(workspaces=False, kubelet=True) as running:
        yield running


@pytest.fixture(scope="module")
def plain(cluster: ControlPlane) -> Iterator[client.ApiClient]:
    """The admin of an ordinary cluster."""
    with config.new_client_from_config(str(cluster.kubeconfig)) as api:
        yield api


@pytest.fixture(scope="module")
def workspace_api(control_plane: ControlPlane) -> Iterator[client.ApiClient]:
    """The admin, bound to one workspace by the server's URL."""
    control_plane.workspace("official-client")
    api = config.new_client_from_config(str(control_plane.kubeconfig))
    base = api.configuration.host.partition("/clusters/")[0]
    api.configuration.host = f"{base}/clusters/root:official-client"
    with api:
        yield api


@pytest.fixture(params=["plain", "workspace"])
def api(
    request: pytest.FixtureRequest, plain: client.ApiClient, workspace_api: client.ApiClient
) -> client.ApiClient:
    """Each of the two."""
    return plain if request.param == "plain" else workspace_api


@pytest.fixture
def namespace(api: client.ApiClient) -> str:
    """A fresh namespace."""
    name = f"ns-{next(_numbers)}"
    metadata = client.V1ObjectMeta(name=name)
    client.CoreV1Api(api).create_namespace(client.V1Namespace(metadata=metadata))
    return name


def refused(call: Callable[[], object]) -> ApiException:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def config_map(name: str, **labels: str) -> client.V1ConfigMap:
    metadata = client.V1ObjectMeta(name=name, labels=labels or None)
    return client.V1ConfigMap(metadata=metadata, data={"a": "1"})


def deployment(name: str, replicas: int = 2) -> client.V1Deployment:
    container = client.V1Container(
        name="c",
        image="nginx:1",
        ports=[client.V1ContainerPort(container_port=80, name="http")],
        resources=client.V1ResourceRequirements(
            requests={"cpu": "100m"}, limits={"memory": "64Mi"}
        ),
        readiness_probe=client.V1Probe(http_get=client.V1HTTPGetAction(port="http")),
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": name}),
        spec=client.V1PodSpec(containers=[container]),
    )
    rolling = client.V1RollingUpdateDeployment(max_surge=1, max_unavailable="50%")
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1DeploymentSpec(
            replicas=replicas,
            selector=client.V1LabelSelector(match_labels={"app": name}),
            strategy=client.V1DeploymentStrategy(type="RollingUpdate", rolling_update=rolling),
            template=template,
        ),
    )


def sync_target(name: str, **spec: Any) -> Json:
    return {
        "apiVersion": "workload.kcp.io/v1alpha1",
        "kind": "SyncTarget",
        "metadata": {"name": name},
        "spec": {"cluster": "north", "cells": {"location": "north"}, **spec},
    }


def install_crds(api: client.ApiClient) -> None:
    """Install our CRDs where a server does not have them by itself."""
    extensions = client.ApiextensionsV1Api(api)
    for crd in all_crds():
        try:
            extensions.create_custom_resource_definition(crd)
        except ApiException as error:
            if error.status != 409:
                raise

    def established() -> bool:
        crds = extensions.list_custom_resource_definition().items
        return len(crds) >= 2 and all(
            any(c.type == "Established" and c.status == "True" for c in crd.status.conditions)
            for crd in crds
        )

    eventually(established)


class TestErrors:
    def test_missing(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        error = refused(lambda: core.read_namespaced_config_map("nope", namespace))
        assert (error.status, error.reason) == (404, "Not Found")
        assert '"configmaps \\"nope\\" not found"' in error.body

    def test_conflict(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        old = core.create_namespaced_config_map(namespace, config_map("a"))
        core.patch_namespaced_config_map("a", namespace, {"data": {"a": "2"}})
        error = refused(lambda: core.replace_namespaced_config_map("a", namespace, old))
        assert error.status == 409
        assert "the object has been modified" in error.body

    def test_already_exists(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map(namespace, config_map("a"))
        error = refused(lambda: core.create_namespaced_config_map(namespace, config_map("a")))
        assert error.status == 409
        assert '"AlreadyExists"' in error.body

    def test_invalid(self, api: client.ApiClient, namespace: str) -> None:
        wrong = deployment("web")
        wrong.spec.selector.match_labels = {"app": "other"}
        apps = client.AppsV1Api(api)
        error = refused(lambda: apps.create_namespaced_deployment(namespace, wrong))
        assert error.status == 422
        assert "`selector` does not match template `labels`" in error.body

    def test_strict_field_validation(self, api: client.ApiClient, namespace: str) -> None:
        maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
        body = {"metadata": {"name": "a"}, "dat": {}}
        query = [("fieldValidation", "Strict")]
        with pytest.raises(dynamic.exceptions.BadRequestError) as caught:
            maps.create(body, namespace=namespace, query_params=query)
        error = caught.value
        assert error.status == 400
        assert 'unknown field \\"dat\\"' in error.body


class TestCore:
    def test_version(self, api: client.ApiClient) -> None:
        version = client.VersionApi(api).get_code()
        assert version.major == "1"
        assert version.git_version.startswith("v1.")

    def test_a_config_map_from_create_to_delete(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        core = client.CoreV1Api(api)
        made = core.create_namespaced_config_map(namespace, config_map("a", app="x"))
        assert isinstance(made.metadata.creation_timestamp, datetime.datetime)
        assert made.metadata.managed_fields[0].manager == "OpenAPI-Generator"
        made.data["b"] = "2"
        replaced = core.replace_namespaced_config_map("a", namespace, made)
        assert replaced.metadata.resource_version != made.metadata.resource_version
        core.patch_namespaced_config_map("a", namespace, {"data": {"a": None}})
        assert core.read_namespaced_config_map("a", namespace).data == {"b": "2"}
        gone = core.delete_namespaced_config_map("a", namespace)
        assert (gone["status"], gone["details"]["name"]) == ("Success", "a")

    def test_a_json_patch_is_a_list(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map(namespace, config_map("a"))
        patch = [{"op": "replace", "path": "/data/a", "value": "2"}]
        assert core.patch_namespaced_config_map("a", namespace, patch).data == {"a": "2"}

    def test_a_secret_folds_its_strings(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        metadata = client.V1ObjectMeta(generate_name="s-")
        secret = client.V1Secret(metadata=metadata, string_data={"k": "v"})
        made = core.create_namespaced_secret(namespace, secret)
        assert made.metadata.name.startswith("s-")
        assert (made.data, made.string_data, made.type) == ({"k": "dg=="}, None, "Opaque")

    def test_a_service_gets_an_address(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        ports = [client.V1ServicePort(port=80, target_port="http")]
        spec = client.V1ServiceSpec(selector={"app": "web"}, ports=ports)
        service = client.V1Service(metadata=client.V1ObjectMeta(name="web"), spec=spec)
        made = core.create_namespaced_service(namespace, service)
        assert made.spec.cluster_ip
        assert (made.spec.ip_families, made.spec.ip_family_policy) == (["IPv4"], "SingleStack")
        assert made.spec.ports[0].target_port == "http"
        assert core.delete_namespaced_service("web", namespace).metadata.name == "web"

    def test_events_of_both_groups_are_the_same_objects(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        now = datetime.datetime.now(datetime.UTC)
        about = client.V1ObjectReference(kind="ConfigMap", name="a", namespace=namespace)
        event = client.EventsV1Event(
            metadata=client.V1ObjectMeta(name="e", namespace=namespace),
            event_time=now,
            action="Look",
            reason="Looked",
            note="a note",
            type="Normal",
            regarding=about,
            reporting_controller="example.com/test",
            reporting_instance="test-1",
        )
        client.EventsV1Api(api).create_namespaced_event(namespace, event)
        listed = client.CoreV1Api(api).list_namespaced_event(
            namespace, field_selector="involvedObject.name=a"
        )
        assert [(e.message, e.event_time) for e in listed.items] == [("a note", now)]

    def test_pages_of_a_list(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        for number in range(5):
            core.create_namespaced_config_map(namespace, config_map(f"a{number}", app="x"))
        first = core.list_namespaced_config_map(namespace, limit=2)
        names = [item.metadata.name for item in first.items]
        page = first
        while page.metadata._continue:
            page = core.list_namespaced_config_map(
                namespace, limit=2, _continue=page.metadata._continue
            )
            names += [item.metadata.name for item in page.items]
        assert [name for name in names if name.startswith("a")] == [f"a{n}" for n in range(5)]

    def test_delete_collection_takes_what_is_selected(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        core = client.CoreV1Api(api)
        for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
            core.create_namespaced_config_map(namespace, config_map(name, app=app))
        core.delete_collection_namespaced_config_map(namespace, label_selector="app=x")
        left = core.list_namespaced_config_map(namespace, label_selector="app")
        assert [item.metadata.name for item in left.items] == ["c"]

    def test_a_deleted_namespace_takes_its_objects_along(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map(namespace, config_map("a"))
        core.delete_namespace(namespace)

        def gone() -> bool:
            return namespace not in [n.metadata.name for n in core.list_namespace().items]

        eventually(gone)
        assert core.list_config_map_for_all_namespaces(label_selector="app=x").items is not None

    def test_server_side_apply(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}

        def apply(manager: str, data: Json, *, force: bool | None = None) -> Any:
            return core.patch_namespaced_config_map(
                "a",
                namespace,
                {**body, "data": data},
                field_manager=manager,
                force=force,
                _content_type="application/apply-patch+yaml",
            )

        assert apply("one", {"k": "1"}).metadata.managed_fields[0].operation == "Apply"
        error = refused(lambda: apply("two", {"k": "2"}))
        assert error.status == 409
        assert 'conflict with \\"one\\": .data.k' in error.body
        assert apply("two", {"k": "2"}, force=True).data == {"k": "2"}

    def test_server_side_apply_by_the_dynamic_client(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}, "data": {}}
        made = maps.server_side_apply(body, namespace=namespace, field_manager="one")
        assert made.metadata.managedFields[0].manager == "one"


class TestApps:
    def test_a_deployment_runs(self, plain: client.ApiClient) -> None:
        apps, core = client.AppsV1Api(plain), client.CoreV1Api(plain)
        made = apps.create_namespaced_deployment("default", deployment("runs"))
        assert made.spec.strategy.rolling_update.max_surge == 1
        assert made.spec.strategy.rolling_update.max_unavailable == "50%"
        self._wait_ready(apps, "runs", 2)
        pods = core.list_namespaced_pod("default", label_selector="app=runs").items
        assert [pod.status.phase for pod in pods] == ["Running", "Running"]
        container = pods[0].spec.containers[0]
        assert container.resources.requests["cpu"] == "100m"
        assert pods[0].status.container_statuses[0].state.running.started_at is not None
        node = core.read_node(pods[0].spec.node_name)
        assert int(node.status.capacity["pods"]) > 0
        apps.patch_namespaced_deployment_scale("runs", "default", {"spec": {"replicas": 3}})
        self._wait_ready(apps, "runs", 3)
        scale = apps.read_namespaced_deployment_scale("runs", "default")
        assert (scale.spec.replicas, scale.status.selector) == (3, "app=runs")
        self._roll(apps, "runs")
        apps.delete_namespaced_deployment("runs", "default", propagation_policy="Foreground")

        def gone() -> bool:
            listed = core.list_namespaced_pod("default", label_selector="app=runs")
            return not listed.items

        eventually(gone)

    def _wait_ready(self, apps: client.AppsV1Api, name: str, replicas: int) -> None:
        def ready() -> bool:
            found = apps.read_namespaced_deployment_status(name, "default")
            current = found.status.observed_generation == found.metadata.generation
            return bool(current and found.status.available_replicas == replicas)

        eventually(ready)

    def _roll(self, apps: client.AppsV1Api, name: str) -> None:
        found = apps.read_namespaced_deployment(name, "default")
        found.spec.template.spec.containers[0].image = "nginx:2"

        def replaced() -> bool:
            current = apps.read_namespaced_deployment(name, "default")
            found.metadata.resource_version = current.metadata.resource_version
            try:
                apps.replace_namespaced_deployment(name, "default", found)
            except ApiException as error:
                if error.status != 409:
                    raise
                return False
            return True

        eventually(replaced)
        self._wait_ready(apps, name, 3)
        sets = apps.list_namespaced_replica_set("default", label_selector=f"app={name}").items
        eventually(lambda: len(sets) == 2)

    def test_a_deployment_in_a_workspace_stays_as_it_is(
        self, workspace_api: client.ApiClient
    ) -> None:
        apps = client.AppsV1Api(workspace_api)
        made = apps.create_namespaced_deployment("default", deployment("quiet"))
        assert made.metadata.annotations["kcp.io/cluster"]
        status = {"status": {"observedGeneration": 1, "replicas": 2, "availableReplicas": 2}}
        patched = apps.patch_namespaced_deployment_status("quiet", "default", status)
        assert patched.status.available_replicas == 2
        apps.patch_namespaced_deployment(
            "quiet", "default", {"spec": {"template": {"spec": {"hostname": "x"}}}}
        )
        found = apps.read_namespaced_deployment("quiet", "default")
        assert (found.metadata.generation, found.status.available_replicas) == (2, 2)
        assert found.spec.template.spec.containers[0].name == "c"


class TestRights:
    def _bot(self, api: client.ApiClient, namespace: str) -> client.ApiClient:
        """Return a client with a new ServiceAccount's token."""
        core = client.CoreV1Api(api)
        account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="bot"))
        core.create_namespaced_service_account(namespace, account)
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
        )
        answer = core.create_namespaced_service_account_token("bot", namespace, request)
        assert answer.status.expiration_timestamp > datetime.datetime.now(datetime.UTC)
        mine = client.Configuration(host=api.configuration.host)
        mine.ssl_ca_cert = api.configuration.ssl_ca_cert
        mine.api_key = {"authorization": f"Bearer {answer.status.token}"}
        return client.ApiClient(mine)

    def test_a_token_may_what_its_role_says_and_nothing_else(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        with self._bot(api, namespace) as bot:
            theirs = client.CoreV1Api(bot)
            error = refused(lambda: theirs.list_namespaced_config_map(namespace))
            user = f"system:serviceaccount:{namespace}:bot"
            assert error.status == 403
            assert f'User \\"{user}\\" cannot list resource \\"configmaps\\"' in error.body
            self._allow(api, namespace)
            assert theirs.list_namespaced_config_map(namespace).items is not None
            forbidden = refused(
                lambda: theirs.create_namespaced_config_map(namespace, config_map("a"))
            )
            assert forbidden.status == 403
            me = client.AuthenticationV1Api(bot).create_self_subject_review({})
            assert me.status.user_info.username == user
            assert self._can(bot, namespace, "list")
            assert not self._can(bot, namespace, "create")

    def _allow(self, api: client.ApiClient, namespace: str) -> None:
        rbac = client.RbacAuthorizationV1Api(api)
        rule = client.V1PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["list"])
        metadata = client.V1ObjectMeta(name="reader")
        rbac.create_namespaced_role(namespace, client.V1Role(metadata=metadata, rules=[rule]))
        subject = client.RbacV1Subject(kind="ServiceAccount", name="bot", namespace=namespace)
        role = client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader")
        binding = client.V1RoleBinding(metadata=metadata, subjects=[subject], role_ref=role)
        rbac.create_namespaced_role_binding(namespace, binding)

    def _can(self, api: client.ApiClient, namespace: str, verb: str) -> bool:
        attributes = client.V1ResourceAttributes(
            namespace=namespace, verb=verb, resource="configmaps"
        )
        spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        review = client.V1SelfSubjectAccessReview(spec=spec)
        answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
        return bool(answer.status.allowed)

    def test_an_unknown_token_is_unauthorized(self, api: client.ApiClient) -> None:
        mine = client.Configuration(host=api.configuration.host)
        mine.ssl_ca_cert = api.configuration.ssl_ca_cert
        mine.api_key = {"authorization": "Bearer nonsense"}
        with client.ApiClient(mine) as stranger:
            error = refused(lambda: client.CoreV1Api(stranger).list_namespace())
        assert (error.status, error.reason) == (401, "Unauthorized")


class TestCustomObjects:
    def test_a_sync_target_from_create_to_delete(self, api: client.ApiClient) -> None:
        install_crds(api)
        custom = client.CustomObjectsApi(api)
        where = ("workload.kcp.io", "v1alpha1", "synctargets")
        made = custom.create_cluster_custom_object(*where, sync_target("one"))
        assert made["metadata"]["generation"] == 1
        assert custom.get_cluster_custom_object(*where, "one")["spec"]["cluster"] == "north"
        labels = {"metadata": {"labels": {"a": "b"}}}
        custom.patch_cluster_custom_object(*where, "one", labels)
        listed = custom.list_cluster_custom_object(*where, label_selector="a=b")
        assert [item["metadata"]["name"] for item in listed["items"]] == ["one"]
        status = {"status": {"phase": "Ready"}}
        patched = custom.patch_cluster_custom_object_status(*where, "one", status)
        assert (patched["status"]["phase"], patched["metadata"]["generation"]) == ("Ready", 1)
        patched["spec"]["location"] = "here"
        replaced = custom.replace_cluster_custom_object(*where, "one", patched)
        assert replaced["metadata"]["generation"] == 2
        assert custom.delete_cluster_custom_object(*where, "one")["status"] == "Success"
        missing = refused(lambda: custom.get_cluster_custom_object(*where, "one"))
        assert missing.status == 404

    def test_an_invalid_sync_target_is_refused(self, api: client.ApiClient) -> None:
        install_crds(api)
        custom = client.CustomObjectsApi(api)
        where = ("workload.kcp.io", "v1alpha1", "synctargets")
        wrong = sync_target("two", cluster="Not A Name")
        error = refused(lambda: custom.create_cluster_custom_object(*where, wrong))
        assert error.status == 422
        assert "spec.cluster: Invalid value" in error.body

    def test_a_crd_is_created_used_and_deleted(self, api: client.ApiClient, namespace: str) -> None:
        extensions = client.ApiextensionsV1Api(api)
        group = f"{namespace}.example.com"
        crd = yaml.safe_load((EXAMPLES / "greetings_crd.yaml").read_text())
        plural, version = crd["spec"]["names"]["plural"], crd["spec"]["versions"][0]["name"]
        crd["spec"]["group"] = group
        crd["metadata"]["name"] = f"{plural}.{group}"
        extensions.create_custom_resource_definition(crd)
        custom = client.CustomObjectsApi(api)

        def served() -> bool:
            try:
                custom.list_namespaced_custom_object(group, version, namespace, plural)
            except ApiException as error:
                if error.status != 404:
                    raise
                return False
            return True

        eventually(served)
        found = extensions.read_custom_resource_definition(f"{plural}.{group}")
        assert isinstance(found.spec.versions[0].schema.open_apiv3_schema.properties, dict)
        resources = dynamic.DynamicClient(api).resources.get(
            api_version=f"{group}/{version}", kind=crd["spec"]["names"]["kind"]
        )
        resources.create({"metadata": {"name": "g"}, "spec": {"to": "x"}}, namespace=namespace)
        extensions.delete_custom_resource_definition(f"{plural}.{group}")
        eventually(lambda: not served())


class TestDynamicClient:
    def test_discovery_finds_kinds_by_group_and_short_name(self, api: client.ApiClient) -> None:
        found = dynamic.DynamicClient(api).resources
        deployments = found.get(api_version="apps/v1", kind="Deployment")
        assert (deployments.name, deployments.namespaced) == ("deployments", True)
        assert found.get(api_version="v1", short_names=["cm"]).kind == "ConfigMap"
        assert [r.group_version for r in found.search(kind="Event")]
        with pytest.raises(dynamic.exceptions.ResourceNotFoundError):
            found.get(api_version="nope/v1", kind="Nope")

    def test_objects(self, api: client.ApiClient, namespace: str) -> None:
        maps = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
        maps.create({"metadata": {"name": "a", "labels": {"x": "y"}}}, namespace=namespace)
        maps.patch(
            {"metadata": {"name": "a"}, "data": {"k": "v"}},
            namespace=namespace,
            content_type="application/merge-patch+json",
        )
        assert maps.get(name="a", namespace=namespace).data.k == "v"
        listed = maps.get(namespace=namespace, label_selector="x=y")
        assert [item.metadata.name for item in listed.items] == ["a"]
        events = maps.watch(namespace=namespace, label_selector="x=y", timeout=1)
        assert [event["type"] for event in events] == ["ADDED"]
        with pytest.raises(dynamic.exceptions.NotFoundError):
            maps.get(name="b", namespace=namespace)


class TestWatches:
    def test_a_stream_goes_on_from_a_version(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map(namespace, config_map("old", app="x"))
        version = core.list_namespaced_config_map(namespace).metadata.resource_version
        core.create_namespaced_config_map(namespace, config_map("a", app="x"))
        core.create_namespaced_config_map(namespace, config_map("b", app="y"))
        core.patch_namespaced_config_map("a", namespace, {"data": {"k": "v"}})
        core.delete_namespaced_config_map("a", namespace)
        watcher = watch.Watch()
        seen = []
        for event in watcher.stream(
            core.list_namespaced_config_map,
            namespace,
            label_selector="app=x",
            resource_version=version,
            timeout_seconds=20,
        ):
            assert isinstance(event["object"], client.V1ConfigMap)
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watcher.stop()
        assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]

    def test_a_stream_ends_with_its_timeout(self, api: client.ApiClient, namespace: str) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_secret(
            namespace, client.V1Secret(metadata=client.V1ObjectMeta(name="s"))
        )
        stream = watch.Watch().stream(
            core.list_namespaced_secret, namespace, timeout_seconds=1, _request_timeout=20
        )
        assert [event["object"].metadata.name for event in stream] == ["s"]

    def test_a_version_that_was_never_given_out_is_gone(
        self, api: client.ApiClient, namespace: str
    ) -> None:
        core = client.CoreV1Api(api)
        with pytest.raises(ApiException) as caught:
            list(
                watch.Watch().stream(
                    core.list_namespaced_secret,
                    namespace,
                    resource_version="1",
                    timeout_seconds=2,
                )
            )
        assert caught.value.status == 410

    def test_custom_objects_are_watched(self, api: client.ApiClient) -> None:
        install_crds(api)
        custom = client.CustomObjectsApi(api)
        where = ("workload.kcp.io", "v1alpha1", "synctargets")
        custom.create_cluster_custom_object(*where, sync_target("watched"))
        stream = watch.Watch().stream(
            custom.list_cluster_custom_object,
            *where,
            field_selector="metadata.name=watched",
            timeout_seconds=1,
        )
        assert [event["object"]["metadata"]["name"] for event in stream] == ["watched"]
        custom.delete_cluster_custom_object(*where, "watched")


def test_create_from_yaml_makes_objects_of_several_kinds(
    api: client.ApiClient, namespace: str, tmp_path: Path
) -> None:
    install_crds(api)
    manifests = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "made"}},
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}}],
        },
        client.ApiClient().sanitize_for_serialization(
            client.V1Deployment(
                api_version="apps/v1",
                kind="Deployment",
                metadata=client.V1ObjectMeta(name="made"),
                spec=deployment("made", replicas=0).spec,
            )
        ),
    ]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    utils.create_from_yaml(api, str(file), namespace=namespace)
    assert client.CoreV1Api(api).read_namespaced_service_account("made", namespace)
    assert client.CoreV1Api(api).read_namespaced_config_map("made", namespace)
    assert client.AppsV1Api(api).read_namespaced_deployment("made", namespace)
    with pytest.raises(utils.FailToCreateError) as caught:
        utils.create_from_yaml(api, str(file), namespace=namespace)
    assert [error.status for error in caught.value.api_exceptions] == [409, 409, 409]
