from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.kinds import BUILT_IN, WORKSPACE_KINDS, CrdVersion, ResourceInfo
from kcpctl.embedded.scale import SCALE_INFO
from kcpctl.embedded.tables import cells, columns

META: dict[str, Any] = {"name": "x", "creationTimestamp": "1970-01-01T00:00:00Z"}
NOW = 90.0
INFOS = {(info.group, info.kind): info for info in (*BUILT_IN, *WORKSPACE_KINDS)}


def row(kind: str, obj: dict[str, Any], group: str = "") -> list[Any]:
    return cells(INFOS[group, kind], {"metadata": META, **obj}, NOW)


def custom(*printed: dict[str, Any]) -> ResourceInfo:
    crd = CrdVersion("ws.e.io", None, tuple(printed))
    return ResourceInfo("e.io", "v1", "ws", "W", crd=crd)


@pytest.mark.parametrize("info", INFOS.values(), ids=lambda info: f"{info.group}/{info.kind}")
def test_an_empty_object_of_every_kind_has_a_cell_for_every_column(info: ResourceInfo) -> None:
    found = cells(info, {"metadata": META}, NOW)
    assert len(found) == len(columns(info))


def test_columns_carry_type_format_and_priority() -> None:
    name, *_, selector = columns(INFOS["apps", "Deployment"])
    assert (name["name"], name["format"], name["priority"]) == ("Name", "name", 0)
    assert (selector["name"], selector["format"], selector["priority"]) == ("Selector", "", 1)
    desired = columns(INFOS["apps", "ReplicaSet"])[1]
    assert desired["type"] == "integer"


def test_kinds_without_columns_of_their_own_show_when_they_were_made() -> None:
    info = INFOS["rbac.authorization.k8s.io", "Role"]
    assert [column["name"] for column in columns(info)] == ["Name", "Created At"]
    assert columns(info)[1]["type"] == "date"
    assert cells(info, {"metadata": META}, NOW) == ["x", "1970-01-01T00:00:00Z"]


def test_a_deployment() -> None:
    containers = [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]
    obj = {
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"b": "2", "a": "1"}},
            "template": {"spec": {"containers": containers}},
        },
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
    }
    assert row("Deployment", obj, "apps") == ["x", "2/3", 3, 1, "90s", "a,b", "i:1,j", "a=1,b=2"]


def pod(status: dict[str, Any], **meta: Any) -> list[Any]:
    spec = {"containers": [{"name": "c"}, {"name": "d"}], "initContainers": [{"name": "i"}]}
    return row("Pod", {"metadata": {**META, **meta}, "spec": spec, "status": status})[1:4]


def running(**more: Any) -> dict[str, Any]:
    return {"ready": True, "restartCount": 0, "state": {"running": {}}, **more}


def waiting(reason: str) -> dict[str, Any]:
    return {"ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason}}}


def test_a_pods_status_is_its_phase_or_the_reason_of_a_container() -> None:
    assert pod({"phase": "Pending"}) == ["0/2", "Pending", "0"]
    assert pod({"phase": "Running", "containerStatuses": [running(), running()]})[0] == "2/2"
    backing_off = {
        "phase": "Running",
        "containerStatuses": [running(), waiting("CrashLoopBackOff")],
    }
    assert pod(backing_off)[:2] == ["1/2", "CrashLoopBackOff"]
    assert pod({"phase": "Failed", "reason": "Evicted"})[1] == "Evicted"


def test_a_container_that_ended_gives_its_reason_or_code() -> None:
    for ended, shown in [
        ({"reason": "Completed", "exitCode": 0}, "Completed"),
        ({"exitCode": 3}, "ExitCode:3"),
        ({"exitCode": 137, "signal": 9}, "Signal:9"),
    ]:
        state = {"ready": False, "restartCount": 0, "state": {"terminated": ended}}
        assert pod({"phase": "Failed", "containerStatuses": [state]})[1] == shown


def test_completed_beside_a_running_container_is_not_ready() -> None:
    done = {"ready": False, "restartCount": 0, "state": {"terminated": {"reason": "Completed"}}}
    status = {"phase": "Running", "containerStatuses": [done, running()]}
    assert pod(status)[1] == "NotReady"
    status["conditions"] = [{"type": "Ready", "status": "True"}]
    assert pod(status)[1] == "Running"


def test_init_containers_come_first() -> None:
    assert pod({"initContainerStatuses": [waiting("ImagePullBackOff")]})[1] == (
        "Init:ImagePullBackOff"
    )
    assert pod({"initContainerStatuses": [waiting("PodInitializing")]})[1] == "Init:0/1"
    failed = {"state": {"terminated": {"exitCode": 1}}}
    assert pod({"initContainerStatuses": [failed]})[1] == "Init:ExitCode:1"


def test_restarts_say_when_the_last_one_was() -> None:
    again = running(
        restartCount=2, lastState={"terminated": {"finishedAt": "1970-01-01T00:01:00Z"}}
    )
    assert pod({"phase": "Running", "containerStatuses": [again]})[2] == "2 (30s ago)"


def test_a_pod_being_deleted_is_terminating_unless_it_has_ended() -> None:
    meta = {"deletionTimestamp": "1970-01-01T00:00:00Z"}
    assert pod({"phase": "Running"}, **meta)[1] == "Terminating"
    assert pod({"phase": "Succeeded"}, **meta)[1] == "Succeeded"


def test_a_service() -> None:
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]
    obj = {"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "ports": ports}}
    assert row("Service", obj) == [
        "x",
        "NodePort",
        "10.0.0.1",
        "<none>",
        "80/TCP,53:30053/UDP",
        "90s",
        "<none>",
    ]
    assert row("Service", {"spec": {"type": "LoadBalancer"}})[3] == "<pending>"
    external = {"spec": {"type": "ExternalName", "externalName": "e.io"}}
    assert row("Service", external)[3] == "e.io"


def test_events_of_both_forms() -> None:
    old = {
        "involvedObject": {"kind": "Pod", "name": "p"},
        "reason": "R",
        "message": " m\n",
        "type": "Normal",
        "source": {"component": "me", "host": "h"},
        "count": 3,
        "firstTimestamp": "1970-01-01T00:00:00Z",
        "lastTimestamp": "1970-01-01T00:01:00Z",
    }
    assert row("Event", old) == [
        "30s", "Normal", "R", "pod/p", "", "me, h", "m", "90s", 3, "x",
    ]  # fmt: skip
    new = {
        "regarding": {"kind": "SyncTarget", "name": "east"},
        "eventTime": "1970-01-01T00:01:00.000000Z",
        "reportingController": "c",
        "note": "n",
        "series": {"count": 2, "lastObservedTime": "1970-01-01T00:01:20.000000Z"},
    }
    found = row("Event", new, "events.k8s.io")
    assert (found[0], found[3], found[5:9]) == ("10s", "synctarget/east", ["c", "n", "30s", 2])


def test_a_scale_shows_the_wanted_and_the_present() -> None:
    obj = {"metadata": META, "spec": {"replicas": 3}, "status": {"replicas": 1}}
    assert [column["name"] for column in columns(SCALE_INFO)][1:3] == ["Desired", "Available"]
    assert cells(SCALE_INFO, obj, NOW) == ["x", 3, 1, "90s"]


def test_a_cron_job_prints_its_flag_as_go_does() -> None:
    assert row("CronJob", {"spec": {"schedule": "* * * * *"}}, "batch")[3] == "False"


def test_data_is_counted() -> None:
    assert row("ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": "eA=="}})[1] == 2
    assert row("Secret", {"type": "Opaque", "data": {"a": "eA=="}})[1:3] == ["Opaque", 1]


def test_a_custom_resource_without_columns_shows_its_age() -> None:
    info = custom()
    assert [column["name"] for column in columns(info)] == ["Name", "Age"]
    assert cells(info, {"metadata": META}, NOW) == ["x", "90s"]


def test_printer_columns_are_read_by_type() -> None:
    kinds = ("string", "integer", "number", "boolean", "date")
    info = custom(*({"name": k, "type": k, "jsonPath": f".spec.{k}"} for k in kinds))
    spec = {
        "string": {"a": 1},
        "integer": 3.7,
        "number": 1.5,
        "boolean": True,
        "date": "1970-01-01T00:00:30Z",
    }
    assert cells(info, {"metadata": META, "spec": spec}, NOW) == [
        "x", '{"a":1}', 3, 1.5, True, "60s",
    ]  # fmt: skip
    assert cells(info, {"metadata": META}, NOW) == ["x", None, None, None, None, None]
    wrong = {"string": "s", "integer": "x", "number": True, "boolean": "true", "date": "never"}
    assert cells(info, {"metadata": META, "spec": wrong}, NOW) == [
        "x", "s", None, None, None, "<invalid>",
    ]  # fmt: skip


def test_printer_columns_keep_their_priority_and_description() -> None:
    info = custom({"name": "A", "type": "string", "jsonPath": ".a", "priority": 1})
    column = columns(info)[1]
    assert column["priority"] == 1
    assert column["description"].endswith("(in JSONPath format): .a")
