from __future__ import annotations

import contextvars
import io
import json
import logging
import os
import re
from collections import UserDict
from collections.abc import Iterator, KeysView
from enum import StrEnum

import pytest

from kcpctl.runtime import get_logger, log_fields, set_log_fields
from kcpctl.runtime.logging import TextFormatter, configure


class State(StrEnum):
    READY = "Ready"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("kcpctl")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_text_is_as_klog_writes_it() -> None:
    """Level, month and day, time with microseconds, process, file and line (peers 6.3)."""
    out = io.StringIO()
    configure(stream=out)
    get_logger("kcpctl.pool").info(
        "State changed", cluster="root|east", age=1.5, state=State.READY, up=True, why='a "b"'
    )
    head, _, tail = out.getvalue().partition("] ")
    assert re.fullmatch(
        rf"I\d{{4}} \d\d:\d\d:\d\d\.\d{{6}} +{os.getpid()} test_logging\.py:\d+", head
    )
    assert tail == (
        '"State changed" cluster="root|east" age=1.5 state="Ready" up="true" why="a \\"b\\""\n'
    )


def test_a_value_of_several_lines_stays_on_one() -> None:
    out = io.StringIO()
    configure(stream=out)
    get_logger("kcpctl.pool").info("Told", detail="one\ntwo ä")
    assert out.getvalue().endswith('"Told" detail="one\\ntwo ä"\n')


def test_the_microseconds_are_of_the_second_before_them() -> None:
    record = logging.LogRecord("kcpctl", logging.INFO, "a/b/c.py", 7, "Said", (), None)
    record.created, record.msecs = 1.9999996, 1000.0
    line = TextFormatter(tracebacks=False).format(record)
    assert ":01.999999 " in line


def test_json_is_one_object_a_line() -> None:
    out = io.StringIO()
    configure(style="json", verbosity=1, stream=out)
    log = get_logger("kcpctl.pool")
    log.warning("State changed", state="Gone")
    log.debug("Detail")
    entry, detail = (json.loads(line) for line in out.getvalue().splitlines())
    assert list(entry) == ["ts", "level", "caller", "msg", "v", "state"]
    assert entry["ts"] > 1e12  # milliseconds
    assert re.fullmatch(r"runtime/test_logging\.py:\d+", entry["caller"])
    assert (entry["level"], entry["msg"], entry["state"]) == ("warning", "State changed", "Gone")
    assert (entry["v"], detail["v"]) == (0, 4)


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_went_wrong_is_called_err(style: str) -> None:
    for fields in ({"error": ValueError("gone")}, {"exc_info": ValueError("gone")}):
        out = io.StringIO()
        configure(style=style, stream=out)  # type: ignore[arg-type]
        get_logger("kcpctl.x").error("It failed", **fields)
        assert re.search(r'\berr(=|": )"(ValueError: )?gone"', out.getvalue())
        assert "error=" not in out.getvalue()


def test_fields_of_a_block_are_on_every_line_of_it() -> None:
    out = io.StringIO()
    configure(stream=out)
    with log_fields(controller="synctarget", cluster="root"):
        get_logger("kcpctl.x").info("One", name="east")
    get_logger("kcpctl.x").info("Two")
    one, two = out.getvalue().splitlines()
    assert one.endswith('"One" controller="synctarget" cluster="root" name="east"')
    assert two.endswith('"Two"')


def test_fields_that_are_set_hold_until_others_are() -> None:
    """And a mapping that makes them is not asked before a line is logged."""
    out = io.StringIO()
    configure(stream=out)
    asked: list[str] = []

    class Lazy(UserDict[str, object]):
        def keys(self) -> KeysView[str]:
            asked.append("asked")
            return super().keys()

    def work() -> None:
        set_log_fields(Lazy(controller="a"))
        assert asked == []
        get_logger("kcpctl.x").info("One", name="east")
        set_log_fields({"controller": "b"})
        get_logger("kcpctl.x").info("Two")

    contextvars.Context().run(work)
    one, two = out.getvalue().splitlines()
    assert one.endswith('"One" controller="a" name="east"')
    assert two.endswith('"Two" controller="b"')


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_comes_with_verbosity_only(style: str) -> None:
    for verbosity, expected in ((0, False), (1, True)):
        out = io.StringIO()
        configure(style=style, verbosity=verbosity, stream=out)  # type: ignore[arg-type]
        try:
            raise ValueError("broken")
        except ValueError as error:
            get_logger("kcpctl.x").error("It failed", exc_info=error)
        assert ("Traceback" in out.getvalue()) is expected
        assert "ValueError: broken" in out.getvalue()


@pytest.mark.parametrize(("verbosity", "shown"), [(-1, "W"), (0, "IW"), (1, "IIW"), (3, "IIW")])
def test_verbosity_chooses_the_levels(verbosity: int, shown: str) -> None:
    out = io.StringIO()
    configure(verbosity=verbosity, stream=out)
    log = get_logger("kcpctl.x")
    log.debug("Detail")
    log.info("Change")
    log.warning("Look")
    assert "".join(line[0] for line in out.getvalue().splitlines()) == shown
