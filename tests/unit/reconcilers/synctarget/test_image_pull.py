"""The Pods of a syncer that does not start, against two servers in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.apis.resource import DEPLOYMENTS, PODS
from kcpctl.errors import Forbidden
from kcpctl.reconcilers.synctarget.image_pull import is_waiting_for_image

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World

IMAGE = "kcpctl-syncer:local"


def pod(reason: str = "ErrImagePull", image: str = IMAGE, **metadata: Any) -> dict[str, Any]:
    waiting = {"state": {"waiting": {"reason": reason}}} if reason else {"state": {"running": {}}}
    return {
        "metadata": {"name": "syncer", **metadata},
        "spec": {"containers": [{"image": image}]},
        "status": {"containerStatuses": [waiting]},
    }


@pytest.mark.parametrize(
    ("obj", "waits"),
    [
        (pod("ErrImagePull"), True),
        (pod("ImagePullBackOff"), True),
        (pod("InvalidImageName"), True),
        (pod("ContainerCreating"), False),
        (pod("CrashLoopBackOff"), False),
        (pod(""), False),
        (pod(image="the-former:one"), False),
        (pod(deletionTimestamp="now"), False),
        ({"metadata": {"name": "new"}, "spec": {"containers": [{"image": IMAGE}]}}, False),
    ],
)
def test_who_waits_for_an_image(obj: dict[str, Any], waits: bool) -> None:
    assert is_waiting_for_image(obj, IMAGE) is waits


@pytest.fixture
def rolling(world: World) -> World:
    """A target whose syncer was deployed and does not run yet."""
    world.add_secret()
    world.add_target()
    world.reconcile()
    world.reconcile()
    world.connect()
    world.reconcile()
    world.roll_out(available=0)
    world.take()
    return world


def add_pod(world: World, reason: str, image: str = IMAGE) -> None:
    deployment = next(path for path in world.down.objects if "/deployments/" in path)
    namespace, name = deployment.split("/")[-3], deployment.rpartition("/")[2]
    obj = pod(reason, image, labels={"app": name})
    world.add_downstream(PODS, "syncer", namespace, **obj)


def test_an_image_that_cannot_be_pulled_is_named_and_told_once(rolling: World) -> None:
    add_pod(rolling, "ErrImagePull")
    assert rolling.reconcile() == 10.0
    assert rolling.condition("SyncerDeployed") == "False ImagePullError"
    assert rolling.target().status.phase == "Failed"
    assert IMAGE in rolling.message("SyncerDeployed")
    assert rolling.recorder.take() == ["Warning ImagePullError"]


def test_the_kubelets_changing_words_change_nothing(rolling: World) -> None:
    add_pod(rolling, "ErrImagePull")
    rolling.reconcile()
    rolling.take()
    add_pod(rolling, "ImagePullBackOff")
    rolling.reconcile()
    assert rolling.up.calls == []
    assert rolling.recorder.take() == []


def test_one_list_of_its_own_pods_and_only_while_it_does_not_run(rolling: World) -> None:
    assert rolling.reconcile() == 10.0
    assert rolling.condition("SyncerDeployed") == "False Progressing"
    assert [call for call in rolling.down.calls if "pods" in call] == rolling.down.calls
    assert len(rolling.down.calls) == 1
    rolling.roll_out()
    rolling.beat()
    rolling.reconcile()
    rolling.take()
    assert rolling.reconcile() == pytest.approx(60.0)
    assert rolling.down.calls == []


def test_pods_that_cannot_be_read_are_no_failure(rolling: World) -> None:
    rolling.down.errors["pods"] = Forbidden("pods is forbidden")
    rolling.reconcile()
    assert rolling.condition("SyncerDeployed") == "False Progressing"


def test_a_corrected_image_goes_on(rolling: World) -> None:
    add_pod(rolling, "ImagePullBackOff")
    rolling.reconcile()
    rolling.change_spec(deployment={"image": "better:1"})
    rolling.reconcile()
    rolling.roll_out(available=0)
    rolling.reconcile()
    assert rolling.condition("SyncerDeployed") == "False Progressing"
    assert rolling.down.names(DEPLOYMENTS.plural)
