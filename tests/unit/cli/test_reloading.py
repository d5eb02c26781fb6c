"""The configuration file, followed while everything runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest

from kcpctl.cli.config_file import config_flag
from kcpctl.cli.options import GroupedCommand, flag
from kcpctl.cli.reloading import Reloader
from kcpctl.errors import UsageError
from kcpctl.runtime import IOLoop
from kcpctl.testing import FakeClock, eventually


@click.command("some", cls=GroupedCommand)
@flag("--workers", group="A", type=int, default=4)
@flag("--port", group="A", type=int, default=0)
@flag("--low", group="A", type=int, default=1)
@flag("--high", group="A", type=int, default=9)
@flag("-v", "--verbose", group="A", count=True)
@flag("--logging-format", group="A", default="text")
@config_flag
def some(**flags: Any) -> None:
    """Nothing."""


class Followed:
    """A reloader of one file on a fake clock, and what it did."""

    def __init__(self, path: Path, io_loop: IOLoop) -> None:
        self.path = path
        self.clock = FakeClock()
        self.taken: list[tuple[str, object]] = []
        path.write_text("workers: 8\nverbose: 1\n")
        context = some.make_context("some", ["--config", str(path), "--port", "1"])
        names = ("verbose", "logging_format", "port")
        take = {name: partial(self._note, name) for name in names}
        self.reloader = Reloader(
            context.params["config"],
            io_loop,
            context.params,
            check=self._check,
            take={**take, "high": self._note_both, "low": self._note_both},
            clock=self.clock,
        )

    def _check(self, flags: dict[str, Any]) -> None:
        if flags["low"] > flags["high"]:
            raise UsageError("--low must not be above --high")
        flags["low"] = -flags["low"]

    def _note(self, name: str, flags: Mapping[str, Any]) -> None:
        self.taken.append((name, flags[name]))

    def _note_both(self, flags: Mapping[str, Any]) -> None:
        self.taken.append(("low, high", (flags["low"], flags["high"])))

    def write(self, text: str) -> None:
        """Write the file and let it be looked at."""
        self.path.write_text(text)
        self.look()

    def look(self) -> None:
        eventually(lambda: self.clock.sleepers == 1)
        self.clock.step(10)
        eventually(lambda: self.clock.sleepers == 1)


@pytest.fixture
def followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Followed]:
    caplog.set_level(logging.INFO, "kcpctl.cli")
    with IOLoop("test-io") as io_loop:
        made = Followed(tmp_path / "kcpctl.yaml", io_loop)
        made.reloader.start()
        yield made
        made.reloader.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("kcpctl-config")]


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    found = [(one.getMessage(), getattr(one, "fields", {})) for one in caplog.records]
    caplog.clear()
    return found


def test_a_file_with_an_error_changes_nothing_and_is_told_once(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("verbose: lots\nworkers: 9\n")
    followed.look()
    ((message, fields),) = told(caplog)
    assert message == "Configuration not taken"
    assert "kcpctl.yaml:1: verbose is wrong" in fields["error"]
    followed.path.unlink()
    followed.look()
    ((message, fields),) = told(caplog)
    assert "cannot be read" in fields["error"]
    assert followed.taken == []
    followed.write("verbose: 2\nworkers: 8\n")
    assert followed.taken == [("verbose", 2)]


def test_what_can_change_is_taken_and_the_rest_is_said_to_need_a_restart(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("workers: 9\nverbose: 2\nlogging-format: json\n")
    assert sorted(followed.taken) == [("logging_format", "json"), ("verbose", 2)]
    fields = {"taken": "logging-format,verbose", "needs_restart": "workers"}
    assert told(caplog) == [("Configuration changed", fields)]


def test_what_leaves_the_file_goes_back_to_its_default(followed: Followed) -> None:
    followed.write("workers: 8\n")
    assert followed.taken == [("verbose", 0)]


def test_what_is_as_at_the_start_again_needs_no_restart(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("workers: 9\nverbose: 1\n")
    followed.write("workers: 8\nverbose: 1\n")
    assert [fields["needs_restart"] for _, fields in told(caplog)] == ["workers", ""]


def test_what_the_command_line_decides_stays(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("workers: 8\nverbose: 1\nport: 5\n")
    assert followed.taken == []
    assert told(caplog) == []


def test_a_file_that_is_as_before_is_no_news(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("verbose: 1\nworkers: 8\n")
    assert (followed.taken, told(caplog)) == ([], [])


START = "workers: 8\nverbose: 1\n"


def test_what_does_not_go_together_changes_nothing_at_all_and_is_told_with_its_line(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    followed.write("workers: 8\nverbose: 2\nlow: 20\n")
    followed.look()
    ((message, fields),) = told(caplog)
    assert message == "Configuration not taken"
    assert fields["error"].endswith("kcpctl.yaml:3: --low must not be above --high")
    assert followed.taken == []
    followed.write("workers: 8\nverbose: 2\nlow: 20\nhigh: 30\n")
    assert sorted(followed.taken) == [("low, high", (-20, 30)), ("verbose", 2)]


def test_what_goes_together_is_taken_in_one_step(followed: Followed) -> None:
    """Either alone would be refused."""
    followed.write(START + "low: 20\nhigh: 30\n")
    followed.write(START + "low: 2\nhigh: 3\n")
    assert followed.taken == [("low, high", (-20, 30)), ("low, high", (-2, 3))]
