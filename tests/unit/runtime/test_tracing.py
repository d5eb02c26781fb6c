from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from kcpctl.cli.main import main
from kcpctl.errors import UsageError
from kcpctl.runtime.tracing import (
    exported,
    inject,
    is_tracing,
    leave_trace,
    log_as_we_do,
    span,
)
from kcpctl.testing import FakeClock


def test_without_tracing_nothing_happens() -> None:
    headers: dict[str, str] = {}
    with span("work", {}) as made:
        made.set("name", "a")
        made.fail(ValueError("no"))
        inject(headers)
        leave_trace()
    assert not is_tracing()
    assert headers == {}


def test_opentelemetry_is_not_loaded_without_tracing() -> None:
    code = (
        "import sys, kcpctl.cli.assembly, kcpctl.cli.run_controllers, kcpctl.syncer;"
        "print('opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("command", ["run-controllers", "syncer"])
def test_without_the_extra_the_flag_names_it(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setattr("kcpctl.manager.signals.install", lambda: None)
    monkeypatch.setattr("kcpctl.cli.session.install", lambda: None)
    flags = ["--sync-target-name=a", "--sync-target-uid=b", "--from-kubeconfig=c"]
    flags += ["--from-cluster=d"]
    assert main([command, "--tracing", *(flags if command == "syncer" else [])]) == 2
    assert "comes with the extra: pip install 'kcpctl[otel]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "is not known: otlp, console or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "is not supported: use http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "is not supported"),
    ],
)
def test_what_cannot_be_exported_to_is_refused(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=f"{variable}={value} {says}"), exported("me"):
        pass


def test_none_exports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with exported("me"):
        assert not is_tracing()


def test_a_collector_that_stays_away_is_one_of_our_log_lines_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    log_as_we_do(clock)
    theirs = logging.getLogger("opentelemetry.exporter")
    for _ in range(4):
        theirs.warning("away at %s", clock.monotonic())
        clock.step(30)
    start = clock.monotonic() - 120
    assert [one.getMessage() for one in caplog.records] == [
        f"away at {start}",
        f"away at {start + 60}",
    ]
