from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from kcpctl.cli.connect import reloads_logging
from kcpctl.cli.run_controllers import command
from kcpctl.runtime.logging import JsonFormatter, TextFormatter


@pytest.fixture(autouse=True)
def logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    logger = logging.getLogger("kcpctl")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before


def test_the_log_follows_new_values_of_its_flags(tmp_path: Path, logger: logging.Logger) -> None:
    """Each keeps what the other one was set to."""
    path = tmp_path / "kcpctl.yaml"
    path.write_text("logging-format: json\n")
    context = command.make_context("run-controllers", ["--config", str(path)])
    (handler,) = logger.handlers
    assert isinstance(handler.formatter, JsonFormatter)
    assert logger.level == logging.INFO
    reloads = reloads_logging(context)
    reloads["verbose"]({"verbose": 1})
    (handler,) = logger.handlers
    assert isinstance(handler.formatter, JsonFormatter)
    assert logger.level == logging.DEBUG
    reloads["logging_format"]({"logging_format": "text"})
    (handler,) = logger.handlers
    assert isinstance(handler.formatter, TextFormatter)
    assert logger.level == logging.DEBUG
