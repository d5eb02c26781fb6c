"""What the command line says of what it cannot work with: one sentence and an exit code."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kcpctl.cli import session
from kcpctl.cli.main import main
from kcpctl.manager import signals
from kcpctl.runtime import start_thread
from kcpctl.testing import ControlPlane, eventually

if TYPE_CHECKING:
    from tests.integration.conftest import Site

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def _global_state_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process of the tests keeps its own signal handlers and log."""
    monkeypatch.setattr(session, "install", threading.Event)
    monkeypatch.setattr(signals, "install", threading.Event)
    log = logging.getLogger("kcpctl")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def the_error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*args: str, code: int = 1) -> str:
        assert main(list(args)) == code
        text = capsys.readouterr().err
        assert "Traceback" not in text
        (line,) = [line for line in text.splitlines() if line.startswith("Error: ")]
        return line

    return run


def run_with(path: Path, *flags: str) -> list[str]:
    ports = ["--health-probe-bind-address=0", "--metrics-bind-address=0"]
    return ["run-controllers", f"--kubeconfig={path}", *ports, *flags]


def test_a_server_without_the_crds_is_waited_for_then_given_up(
    site: Site, plain_cluster: ControlPlane, the_error: Callable[..., str]
) -> None:
    path = site.kubeconfig_file(plain_cluster)
    error = the_error(*run_with(path, "--crd-timeout=600ms"))
    assert "synctargets.workload.kcp.io" in error
    assert "--install-crds" in error
    assert plain_cluster.config.server in error


def test_a_stop_ends_the_wait_for_the_crds(
    site: Site, plain_cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(session, "install", lambda: stop)
    codes: list[int] = []
    path = site.kubeconfig_file(plain_cluster)
    thread = start_thread(lambda: codes.append(main(run_with(path))), name="main")
    stop.set()
    thread.join(30)
    assert codes == [0]


@pytest.mark.parametrize("flags", [[], ["--install-crds"]])
def test_a_stop_ends_the_first_contact_with_a_server_that_hangs(
    site: Site, plain_cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(session, "install", lambda: stop)
    proxy = site.proxy(plain_cluster)
    proxy.hang()
    codes: list[int] = []
    path = site.kubeconfig_file(plain_cluster, proxy)
    thread = start_thread(lambda: codes.append(main(run_with(path, *flags))), name="main")
    eventually(lambda: proxy.accepted)
    stop.set()
    thread.join(30)
    assert codes == [0]


def test_a_stop_ends_the_start_of_the_embedded_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(session, "install", lambda: stop)
    path = tmp_path / "kubeconfig"
    assert main(["run-controllers", "--embedded", "--demo", f"--write-kubeconfig={path}"]) == 0
    told = capsys.readouterr()
    assert told.out.rstrip().endswith("stopping")
    assert "up at" not in told.out
    assert not path.exists()


def test_a_port_in_use_is_named_with_its_flag(
    site: Site, busy_port: int, the_error: Callable[..., str]
) -> None:
    path = site.kubeconfig_file(site.plane)
    for flag in ("--health-probe-bind-address", "--metrics-bind-address"):
        error = the_error(*run_with(path, f"{flag}=127.0.0.1:{busy_port}"))
        assert str(busy_port) in error
        assert flag in error


def test_a_control_plane_on_a_port_in_use(
    busy_port: int, tmp_path: Path, the_error: Callable[..., str]
) -> None:
    was = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        flags = [f"--port={busy_port}", f"--write-kubeconfig={tmp_path / 'kubeconfig'}"]
        error = the_error("control-plane", *flags)
    finally:
        for number, handler in was.items():
            signal.signal(number, handler)
    assert str(busy_port) in error
    assert "--port" in error
    assert not (tmp_path / "kubeconfig").exists()


@pytest.mark.parametrize("command", ["run-controllers", "syncer", "control-plane", "workload"])
def test_an_unknown_flag_is_wrong_usage(command: str, the_error: Callable[..., str]) -> None:
    assert "--fly" in the_error(command, "--fly", code=2)


def server(url: str) -> Edit:
    def edit(config: dict[str, Any]) -> None:
        config["clusters"][0]["cluster"]["server"] = url

    return edit


def token(config: dict[str, Any]) -> None:
    config["users"][0]["user"] = {"token": "s3cr3t"}


def no_ca(config: dict[str, Any]) -> None:
    config["clusters"][0]["cluster"].pop("certificate-authority-data")


def no_context(config: dict[str, Any]) -> None:
    config["current-context"] = "elsewhere"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (server("https://127.0.0.1:1"), "cannot be reached: connection refused"),
        (server("https://no-such-host.invalid"), "cannot be reached"),
        (server("nonsense"), "is not a URL"),
        (token, "refuses the credentials"),
        (no_ca, "is not trusted"),
        (no_context, "elsewhere"),
    ],
)
@pytest.mark.parametrize("crds", [[], ["--install-crds"]], ids=["", "install"])
def test_a_kubeconfig_that_does_not_work(
    site: Site, edit: Edit, says: str, crds: list[str], the_error: Callable[..., str]
) -> None:
    path = site.kubeconfig_file(site.plane)
    config = yaml.safe_load(path.read_text())
    edit(config)
    path.write_text(yaml.safe_dump(config))
    error = the_error(*run_with(path, *crds))
    assert says in error
    assert str(path) in error
    assert "s3cr3t" not in error


@pytest.mark.parametrize(
    "content", ["", "{nonsense", "- a\n- list\n", "just text", "kind: Config\n"]
)
def test_a_kubeconfig_that_is_none(
    tmp_path: Path, content: str, the_error: Callable[..., str]
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    assert str(path) in the_error(*run_with(path))
    syncer = ["syncer", "--sync-target-name=a", "--sync-target-uid=b"]
    assert str(path) in the_error(*syncer, f"--from-kubeconfig={path}")


def test_a_kubeconfig_that_is_absent_or_not_readable(
    tmp_path: Path, the_error: Callable[..., str]
) -> None:
    absent = tmp_path / "absent"
    assert str(absent) in the_error(*run_with(absent))
    assert str(tmp_path) in the_error(*run_with(tmp_path), code=2)


@pytest.mark.parametrize(
    ("edit", "says"),
    [(server("https://127.0.0.1:1"), "connection refused"), (token, "Unauthorized")],
)
def test_a_single_pass_of_the_syncer_says_what_it_could_not_reach(
    site: Site, plain_cluster: ControlPlane, edit: Edit, says: str, the_error: Callable[..., str]
) -> None:
    uid = site.target(kcpCluster="root")["metadata"]["uid"]
    up, down = site.kubeconfig_file(site.plane), site.kubeconfig_file(plain_cluster)
    config = yaml.safe_load(up.read_text())
    edit(config)
    up.write_text(yaml.safe_dump(config))
    flags = [f"--from-kubeconfig={up}", f"--to-kubeconfig={down}", "--once"]
    who = ["--sync-target-name=east", f"--sync-target-uid={uid}"]
    assert says in the_error("syncer", *who, *flags)


def test_a_single_pass_for_a_sync_target_that_does_not_exist(
    site: Site, plain_cluster: ControlPlane, the_error: Callable[..., str]
) -> None:
    up, down = site.kubeconfig_file(site.plane), site.kubeconfig_file(plain_cluster)
    flags = [f"--from-kubeconfig={up}", f"--to-kubeconfig={down}", "--once"]
    error = the_error("syncer", "--sync-target-name=east", "--sync-target-uid=u", *flags)
    assert "SyncTarget 'east'" in error
    assert "nothing was touched downstream" in error


def test_a_data_directory_is_for_embedded_servers(the_error: Callable[..., str]) -> None:
    line = the_error("run-controllers", "--data-dir=data", "--kubeconfig=k", code=2)
    assert line == "Error: --data-dir needs --embedded: another server keeps its objects itself"
