"""What of the flags takes effect while the controllers run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kcpctl.cli.assembly import Assembly
from kcpctl.cli.run_controllers import command
from kcpctl.client import ClientConfig
from kcpctl.reconcilers.synctarget import SyncTargetController
from kcpctl.reconcilers.synctarget.health import Thresholds


class Taken:
    """Stands in for the Reloader, and keeps what it would call."""

    take: Mapping[str, Any]

    def __init__(self, *args: Any, take: Mapping[str, Any], check: Any) -> None:
        Taken.take = take

    def start(self) -> None:
        pass

    close = start


class Run:
    """An assembly of the flags in a file, whose manager is not started."""

    def __init__(self, path: Path) -> None:
        path.write_text("workers: 1\n")
        context = command.make_context("run-controllers", ["--config", str(path)])
        self.flags = {**context.params, "check": None, "reload": {}}
        self.assembly = Assembly(self.flags)
        config = ClientConfig(server="https://127.0.0.1:1")
        self.manager = self.assembly.manager(self.assembly.connect(config), config)

    def change(self, **flags: Any) -> None:
        """Let the file say something else."""
        new = {**self.flags, **flags}
        for call in dict.fromkeys(Taken.take[name] for name in flags):
            call(new)

    @property
    def sync_targets(self) -> SyncTargetController:
        (found,) = (c for c in self.manager._controllers if isinstance(c, SyncTargetController))
        return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr("kcpctl.cli.assembly.Reloader", Taken)
    made = Run(tmp_path / "kcpctl.yaml")
    with made.assembly:
        yield made
        made.manager.stop()


def test_the_thresholds_the_grace_the_force_time_and_the_image_change(run: Run) -> None:
    run.change(
        sync_target_heartbeat_threshold=1.0,
        sync_target_unhealthy_threshold=2.0,
        sync_target_startup_grace=3.0,
        force_delete_after=4.0,
        syncer_image="other",
    )
    options = run.sync_targets._sync_targets.options
    assert options.thresholds == Thresholds(1.0, 2.0, 3.0)
    assert (options.force_delete_after_seconds, options.syncer_image) == (4.0, "other")


def test_the_limit_of_requests_comes_changes_and_goes(run: Run) -> None:
    limited = [run.assembly._limiter.limits]
    for qps, burst in ((5.0, 10), (None, None)):
        run.change(kube_api_qps=qps, kube_api_burst=burst)
        limited.append(run.assembly._limiter.limits)
    assert limited == [False, True, False]


def test_the_help_names_what_changes(run: Run) -> None:
    (config,) = (param for param in command.params if param.name == "config")
    text = str(config.to_info_dict()["help"])
    for name in Taken.take:
        words = "sync-target-" if name.startswith("sync_target") else name.replace("_", "-")
        assert words in text
