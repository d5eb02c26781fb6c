from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kcpctl import __version__
from kcpctl.cli import main as main_module
from kcpctl.cli.main import cli, main
from kcpctl.errors import ConfigError, UsageError

ROOT = Path(__file__).parents[3]


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    @click.command("fail")
    @click.option("-v", "--verbose", count=True)
    def command(verbose: int) -> None:
        raise error

    monkeypatch.setattr(cli, "get_command", lambda *_: command)


def test_the_version() -> None:
    assert main(["--version"]) == 0


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    text = capsys.readouterr().err
    for name in ("run-controllers", "syncer", "control-plane", "workload"):
        assert name in text


@pytest.mark.parametrize(
    "args",
    [
        ["--nonsense"],
        ["fly"],
        ["run-controllers", "--fly"],
        ["run-controllers", "--workers", "none"],
        ["run-controllers", "--crd-timeout", "soon"],
        ["syncer"],
        ["syncer", "--sync-target-uid", "u", "--from-kubeconfig", "f"],
        ["control-plane", "--port", "99999"],
        ["control-plane", "--kubelet"],
        ["run-controllers", "--demo"],
        ["run-controllers", "--exit-when-ready"],
        ["run-controllers", "--embedded", "--kubeconfig", "x"],
        ["run-controllers", "--kube-api-burst", "3"],
        [
            "run-controllers",
            "--sync-target-heartbeat-threshold=2m",
            "--sync-target-unhealthy-threshold=1m",
        ],
        ["workload", "assign", "deploy/web"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_why(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    text = capsys.readouterr().err
    assert "Error: " in text
    assert "Traceback" not in text


def test_row_84_a_missing_sync_target_name_shows_the_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["syncer", "--sync-target-uid", "u"]) == 2
    text = capsys.readouterr().err
    assert "Usage: kcpctl syncer" in text
    assert "--sync-target-name" in text


def test_a_failure_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, ConfigError("kubeconfig x: it is empty"))
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == "Error: kubeconfig x: it is empty\n"


def test_a_usage_error_of_the_library_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, UsageError("no"))
    assert main(["fail"]) == 2
    assert capsys.readouterr().err == "Error: no\n"


def test_a_bug_says_that_it_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, LookupError("gone"))
    assert main(["fail"]) == 1
    text = capsys.readouterr().err
    assert text == "Error: LookupError: gone (a bug; -v shows where)\n"


def test_the_traceback_comes_with_v(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, LookupError("gone"))
    assert main(["fail", "-v"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert main([]) == 130


@pytest.mark.parametrize("name", main_module._COMMANDS)
def test_every_command_has_a_complete_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Usage: kcpctl {name}" in text
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize("launcher", ["controller_manager.py", "syncer.py"])
def test_the_launchers_start_the_same_commands(launcher: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "cmd" / launcher, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    command = {"controller_manager.py": "run-controllers", "syncer.py": "syncer"}[launcher]
    assert f"Usage: kcpctl {command}" in done.stdout


def test_importing_kcpctl_is_cheap() -> None:
    code = "import sys, kcpctl; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("aiohttp", "kubernetes", "cryptography", "msgspec", "click"):
        assert heavy not in done.stdout
    assert __version__


def test_a_debug_address_that_others_can_reach_is_wrong_usage() -> None:
    """Before anything is started or asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "kcpctl", "run-controllers", "--debug-bind-address", ":6060"],
        capture_output=True,
        text=True,
        env={**os.environ, "KUBECONFIG": "none"},
        check=False,
    )
    assert done.returncode == 2
    assert "--debug-bind-address ':6060' would show internals" in done.stderr


def test_a_configuration_file_with_an_error_is_wrong_usage(tmp_path: Path) -> None:
    """In one sentence, and before anything is started or asked for."""
    path = tmp_path / "kcpctl.yaml"
    path.write_text("embedded: true\nworker: 3\n")
    done = subprocess.run(
        [sys.executable, "-m", "kcpctl", "run-controllers", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    expected = f"Error: {path}:2: worker is no flag of this command; did you mean workers?\n"
    assert done.stderr == expected
