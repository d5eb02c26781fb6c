from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from kcpctl.cli.config_file import ConfigFile, config_flag
from kcpctl.cli.controllers import ControllersType
from kcpctl.cli.options import DURATION, GroupedCommand, flag
from kcpctl.cli.run_controllers import command as run_controllers
from kcpctl.errors import UsageError


@click.command("some", cls=GroupedCommand)
@flag("--workers", group="A", type=click.IntRange(min=1), default=4)
@flag("--crd-timeout", group="A", type=DURATION, default="30s")
@flag("--controllers", group="A", type=ControllersType(), default="*")
@flag("--cluster-name", group="A")
@flag("--embedded", group="A", is_flag=True)
@flag("-v", "--verbose", group="A", count=True)
@config_flag
def some(**flags: Any) -> dict[str, Any]:
    return flags


def nothing() -> None:
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kcpctl.yaml"


def run(path: Path, text: str, *args: str) -> dict[str, Any]:
    path.write_text(text)
    flags: dict[str, Any] = some.main(["--config", str(path), *args], standalone_mode=False)
    return flags


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workers: 8\nworkrs: 9\n", ":2: workrs is no flag of this command; did you mean workers?"),
        ("crdTimeout: 1m\n", ":1: crdTimeout is no flag of this command; did you mean crd-timeout"),
        ("crd_timeout: 1m\n", ":1: crd_timeout is no flag .* did you mean crd-timeout"),
        ("--workers: 1\n", ":1: --workers is no flag .* did you mean workers"),
        ("zzz: 1\n", ":1: zzz is no flag of this command$"),
        ("config: other.yaml\n", ":1: config is no flag"),
        ("# a comment\n\nworkers: many\n", ":3: workers is wrong: 'many' is not a valid int"),
        ("workers: 0\n", ":1: workers is wrong: 0 is not in the range"),
        ("workers: 4.5\n", ":1: workers is wrong: '4.5' is not a valid int"),
        ("workers: true\n", ":1: workers is wrong: 'true' is not a valid int"),
        ("embedded: maybe\n", ":1: embedded is wrong: 'maybe' is not a valid bool"),
        ("crd-timeout: soon\n", ":1: crd-timeout is wrong"),
        ("controllers: [nothing]\n", ":1: controllers is wrong: there is no controller 'nothing'"),
        ("workers: 1\nworkers: 2\n", ":2: workers is there twice"),
        ("workers:\n", ":1: workers has no value; give it one or leave it out"),
        ("workers: {a: b}\n", ":1: workers takes one value or a list"),
        ("[a]: 1\n", ":1: the key is not a flag's name"),
        ("- workers\n", ":1: write one flag a line"),
        ("workers: 1\n  nonsense: [\n", ":2: mapping values are not allowed here"),
        ("workers: 1\n---\nworkers: 2\n", ":2: "),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"kcpctl.yaml{problem}"):
        run(path, text)


def test_all_that_is_wrong_is_named_at_once(path: Path) -> None:
    with pytest.raises(UsageError, match=r"kcpctl.yaml:1: workrs .*; .*kcpctl.yaml:2: crd-timeout"):
        run(path, "workrs: 1\ncrd-timeout: soon\n")


def test_a_file_that_is_not_there_is_named_with_the_flag(path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config .*kcpctl.yaml cannot be read: No such file"):
        some.main(["--config", str(path)], standalone_mode=False)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        some.main(["--config", str(path)], standalone_mode=False)


def test_the_file_gives_what_neither_flag_nor_environment_has(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "workers: 8\n"
    assert run(path, "")["workers"] == 4
    assert run(path, text)["workers"] == 8
    monkeypatch.setenv("KCPCTL_WORKERS", "9")
    assert run(path, text)["workers"] == 9
    assert run(path, text, "--workers", "10")["workers"] == 10


def test_the_file_itself_may_come_from_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("workers: 8\n")
    monkeypatch.setenv("KCPCTL_CONFIG", str(path))
    assert some.main([], standalone_mode=False)["workers"] == 8


def test_values_are_read_as_they_are_written(path: Path) -> None:
    """YAML would make a boolean of the name, and 90 of the time."""
    flags = run(
        path,
        "cluster-name: no\nembedded: yes\ncrd-timeout: 1m30s\nverbose: 2\n"
        "controllers: ['*', -synctarget]\n",
    )
    assert flags["cluster_name"] == "no"
    assert flags["embedded"] is True
    assert flags["crd_timeout"] == 90.0
    assert flags["verbose"] == 2
    assert flags["controllers"] == ("clusterregistration",)


def test_a_flag_of_the_command_line_can_be_before_the_file(path: Path) -> None:
    path.write_text("workers: 8\ncluster-name: a\n")
    flags = some.main(["--workers", "2", "--config", str(path)], standalone_mode=False)
    assert (flags["workers"], flags["cluster_name"]) == (2, "a")


def test_a_file_that_is_read_again_tells_what_it_decides(path: Path) -> None:
    path.write_text("workers: 8\nverbose: 1\n")
    context = some.make_context("some", ["--config", str(path), "--workers", "2"])
    file: ConfigFile = context.params["config"]
    assert not file.reread(nothing)
    path.write_text("# another text\nworkers: 8\nverbose: 1\n")
    assert not file.reread(nothing)
    path.write_text("workers: 9\nverbose: 3\n")
    assert file.reread(nothing)
    assert file.value("verbose") == 3
    assert file.decides("verbose")
    assert not file.decides("workers")
    path.write_text("workers: none\n")
    for _ in range(2):
        with pytest.raises(UsageError, match=":1: workers is wrong"):
            file.reread(nothing)
    assert file.value("verbose") == 3
    path.write_text("")
    assert file.reread(nothing)
    assert file.value("verbose") == 0


def test_every_flag_of_run_controllers_can_be_in_a_file(path: Path) -> None:
    """Those with a default are written with it; the others are known at least."""
    lines = []
    for param in run_controllers.params:
        (key,) = (one[2:] for one in param.opts if one.startswith("--"))
        if isinstance(param.default, str) and param.name != "config":
            lines.append(f"{key}: {param.default!r}")
    path.write_text("\n".join(lines))
    context = run_controllers.make_context("run-controllers", ["--config", str(path)])
    assert len(context.params["config"].values) == len(lines) > 10


def test_values_that_do_not_go_together_are_not_taken_and_told_with_their_line(path: Path) -> None:
    file = run(path, "workers: 8\n")["config"]
    path.write_text("# other\nworkers: 9\ncrd-timeout: 1s\n")

    def refuse() -> None:
        assert file.value("workers") == 9
        raise UsageError("--crd-timeout must not be below --workers")

    with pytest.raises(UsageError, match=r"kcpctl.yaml:3: --crd-timeout must not be"):
        file.reread(refuse)
    assert file.values == {"workers": "8"}
    assert file.value("workers") == 8
    assert file.reread(nothing)


def test_what_leaves_the_file_and_has_no_default_is_none(path: Path) -> None:
    text = "kube-api-qps: 5\nkube-api-burst: 9\n"
    path.write_text(text)
    context = run_controllers.make_context("run-controllers", ["--config", str(path)])
    file: ConfigFile = context.params["config"]
    assert file.value("kube_api_qps") == 5.0
    path.write_text("")
    assert file.reread(nothing)
    values = [file.value(name) for name in ("kube_api_qps", "kube_api_burst", "syncer_image")]
    assert values == [None, None, None]


def test_what_the_command_line_decides_is_not_told_with_a_line(path: Path) -> None:
    file = run(path, "workers: 8\n", "--workers", "2")["config"]
    error = UsageError("--workers are few")
    assert file.located(error) is error


def test_values_that_do_not_go_together_at_the_start_are_told_with_their_line(path: Path) -> None:
    path.write_text("sync-target-unhealthy-threshold: 10s\n")
    problem = r"kcpctl.yaml:1: --sync-target-heartbeat-threshold must be above zero and not above"
    with pytest.raises(UsageError, match=problem):
        run_controllers.main(["--config", str(path)], standalone_mode=False)
