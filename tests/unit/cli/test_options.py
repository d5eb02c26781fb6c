from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from kcpctl.apis.kcp import ExportReference
from kcpctl.cli.options import COMMANDS, DURATION, EXPORT, GroupedCommand, flag


@click.command(cls=GroupedCommand)
@flag("--grace", group="Timing", type=DURATION, default="30s", help="How long.")
@flag("--loud", group="Looks", is_flag=True, help="Shout.")
def sample(grace: float, loud: bool) -> None:
    click.echo(f"{grace} {loud}")


def run(*args: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(sample, args, env=env, catch_exceptions=False)
    return result.output


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("2", 2), ("1.5s", 1.5), ("0", 0)],
)
def test_durations_are_written_as_in_go(text: str, seconds: float) -> None:
    assert run("--grace", text) == f"{float(seconds)} False\n"


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "-3s", "10x", "s"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    result = CliRunner().invoke(sample, ["--grace", text])
    assert result.exit_code == 2
    assert "is not a duration; write for example 30s" in result.output


def test_decision_18_a_flag_has_an_environment_variable_and_wins_over_it() -> None:
    env = {"KCPCTL_GRACE": "1m"}
    assert run(env=env) == "60.0 False\n"
    assert run("--grace", "2m", env=env) == "120.0 False\n"


def test_the_help_is_grouped() -> None:
    text = run("--help")
    assert text.index("Timing flags:") < text.index("--grace")
    assert text.index("Looks flags:") < text.index("--loud")
    assert "[default: 30s]" in text


@click.command(cls=GroupedCommand)
@flag("--commands", group="Safety", type=COMMANDS, default="", help="Which.")
def lists(commands: frozenset[str]) -> None:
    click.echo(" ".join(sorted(commands)) or "none")


@pytest.mark.parametrize(
    ("text", "commands"), [("", "none"), (" , ", "none"), ("aws, gcloud,", "aws gcloud")]
)
def test_commands_are_separated_by_commas(text: str, commands: str) -> None:
    assert CliRunner().invoke(lists, ["--commands", text]).output == f"{commands}\n"
    assert CliRunner().invoke(lists, []).output == "none\n"


@click.command(cls=GroupedCommand)
@flag("--apiexport", group="Server", type=EXPORT, help="Which.")
def exports(apiexport: ExportReference) -> None:
    click.echo(f"{apiexport.path} {apiexport.name}")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("root:org:kcpctl:kcpctl", "root:org:kcpctl kcpctl"),
        (" root:workload.kcp.io", "root workload.kcp.io"),
        ("1irluw4wa1h4baz1:e", "1irluw4wa1h4baz1 e"),
    ],
)
def test_an_export_is_written_as_its_workspace_and_its_name(text: str, read: str) -> None:
    assert CliRunner().invoke(exports, ["--apiexport", text]).output == f"{read}\n"


@pytest.mark.parametrize("text", ["", "kcpctl", ":kcpctl", "root:", "root:*", "Root:a", "a/b:c"])
def test_what_is_no_export_is_a_usage_error(text: str) -> None:
    result = CliRunner().invoke(exports, ["--apiexport", text])
    assert result.exit_code == 2
    assert "root:kcpctl:kcpctl" in result.output
