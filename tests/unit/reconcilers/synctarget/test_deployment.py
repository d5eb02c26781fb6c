"""What a syncer's manifests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kcpctl.reconcilers.synctarget.deployment import syncer_inputs
from kcpctl.reconcilers.synctarget.manifests import SyncerInputs, config_hash, syncer_arguments
from kcpctl.reconcilers.synctarget.options import SyncTargetOptions

if TYPE_CHECKING:
    from tests.unit.reconcilers.conftest import World


def inputs(world: World, workspace: str = "root", url: str = "", **spec: Any) -> SyncerInputs:
    world.add_target(workspace=workspace, **spec)
    options = SyncTargetOptions(syncer_image="default", upstream_server_url=url)
    client = world.client.cluster(workspace)
    return syncer_inputs(world.target(cluster=workspace), workspace, options, client)


def test_on_a_plain_server_the_url_has_no_logical_cluster(world: World) -> None:
    assert inputs(world).server == "https://upstream:6443"


@pytest.mark.parametrize(
    ("override", "server"),
    [
        ("", "https://upstream:6443/clusters/abc"),
        ("https://outside/", "https://outside/clusters/abc"),
        ("https://outside/clusters/root:demo", "https://outside/clusters/root:demo"),
    ],
)
def test_with_workspaces_the_url_names_the_targets_own(
    workspaces: World, override: str, server: str
) -> None:
    assert inputs(workspaces, "abc", override).server == server


def test_the_specs_image_and_namespace_win_over_the_defaults(world: World) -> None:
    found = inputs(world, deployment={"image": "own", "namespace": "shared"})
    assert (found.image, found.namespace) == ("own", "shared")
    assert found.id.startswith("kcp-syncer-east-")


def test_only_what_the_spec_sets_becomes_a_flag(world: World) -> None:
    assert inputs(world).arguments == ()
    found = inputs(
        world,
        syncer={
            "heartbeatInterval": "10s",
            "syncInterval": "2m",
            "retryBackoff": {"initialInterval": "1s", "maxInterval": "5m", "multiplier": 1.5},
            "downstreamNamespaceCleanDelay": "1m",
            "workers": 4,
            "qps": 50,
            "burst": 100,
        },
    )
    assert found.arguments == (
        "--heartbeat-interval=10s",
        "--sync-interval=2m",
        "--retry-initial-interval=1s",
        "--retry-max-interval=5m",
        "--retry-multiplier=1.5",
        "--downstream-namespace-clean-delay=1m",
        "--workers=4",
        "--qps=50",
        "--burst=100",
    )


@pytest.mark.parametrize(
    ("syncer", "flags"),
    [
        ({"qps": 31}, ("--qps=31", "--burst=31")),
        ({"qps": 30}, ("--qps=30",)),
        ({"qps": 31, "burst": 40}, ("--qps=31", "--burst=40")),
        ({"burst": 20}, ("--burst=20",)),
    ],
)
def test_a_burst_that_nobody_set_follows_a_qps_above_its_default(
    world: World, syncer: dict[str, int], flags: tuple[str, ...]
) -> None:
    assert inputs(world, syncer=syncer).arguments == flags


def test_the_syncers_command_line_accepts_the_arguments(world: World) -> None:
    from kcpctl.cli.syncer import command

    syncer = {
        "workers": 4,
        "qps": 50,
        "burst": 100,
        "syncInterval": "1m30s",
        "retryBackoff": {"initialInterval": "100ms", "maxInterval": "1h", "multiplier": 3},
    }
    given = syncer_arguments(inputs(world, kcpCluster="root", syncer=syncer))
    context = command.make_context("syncer", list(given[1:]), resilient_parsing=False)
    assert context.params["workers"] == 4
    assert context.params["sync_interval"] == 90.0
    assert context.params["retry_initial_interval"] == 0.1
    assert context.params["retry_max_interval"] == 3600.0
    assert context.params["retry_multiplier"] == 3.0
    assert context.params["health_probe_bind_address"] == "$(POD_IP):8081"


@pytest.mark.parametrize(
    ("level", "flags"), [(None, ()), (0, ()), (1, ("--verbose",)), (5, ("--verbose",))]
)
def test_a_log_level_above_zero_asks_for_detail(
    world: World, level: int | None, flags: tuple[str, ...]
) -> None:
    assert inputs(world, deployment={"logLevel": level}).arguments == flags


def test_the_command_line_accepts_the_verbosity(world: World) -> None:
    from kcpctl.cli.syncer import command

    given = syncer_arguments(inputs(world, deployment={"logLevel": 4}))
    assert given[-1] == "--verbose"
    command.make_context("syncer", list(given[1:]), resilient_parsing=False)


def test_a_configuration_is_hashed_once_and_each_change_of_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(given: SyncerInputs) -> str:
        hashed.append(given.image)
        return config_hash(given)

    monkeypatch.setattr("kcpctl.reconcilers.synctarget.deployment.config_hash", counted)
    world.make_ready()
    world.beat()
    world.reconcile()
    assert hashed == [world.options.syncer_image]
    world.change_spec(deployment={"image": "other"})
    world.reconcile()
    world.reconcile()
    assert hashed[1:] == ["other"]
    world.change_spec(deployment={"image": None})
    world.reconcile()
    assert hashed[2:] == [world.options.syncer_image]
    world.reconciler.remove(lambda key: key == "root|east")
    world.reconcile()
    assert len(hashed) == 4
