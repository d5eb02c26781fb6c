from __future__ import annotations

import contextvars
import io
import json
import logging
from collections import UserDict
from collections.abc import Iterator, KeysView

import pytest

from kcpctl.runtime import get_logger, log_fields, set_log_fields
from kcpctl.runtime.logging import configure


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("kcpctl")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_text_has_level_logger_message_and_fields() -> None:
    out = io.StringIO()
    configure(stream=out)
    get_logger("kcpctl.pool").info("State changed", cluster="root|east", state="Ready", why="a b")
    line = out.getvalue()
    assert line.startswith("I ")
    assert line.endswith('kcpctl.pool: State changed cluster=root|east state=Ready why="a b"\n')


def test_json_is_one_object_a_line() -> None:
    out = io.StringIO()
    configure(style="json", stream=out)
    get_logger("kcpctl.pool").warning("State changed", state="Gone")
    entry = json.loads(out.getvalue())
    assert (entry["level"], entry["msg"], entry["state"]) == ("warning", "State changed", "Gone")


def test_fields_of_a_block_are_on_every_line_of_it() -> None:
    out = io.StringIO()
    configure(stream=out)
    with log_fields(controller="synctarget", cluster="root"):
        get_logger("kcpctl.x").info("One", name="east")
    get_logger("kcpctl.x").info("Two")
    one, two = out.getvalue().splitlines()
    assert one.endswith("One controller=synctarget cluster=root name=east")
    assert two.endswith("Two")


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
    assert one.endswith("One controller=a name=east")
    assert two.endswith("Two controller=b")


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


@pytest.mark.parametrize(("verbosity", "shown"), [(-1, "W"), (0, "IW"), (1, "DIW"), (3, "DIW")])
def test_verbosity_chooses_the_levels(verbosity: int, shown: str) -> None:
    out = io.StringIO()
    configure(verbosity=verbosity, stream=out)
    log = get_logger("kcpctl.x")
    log.debug("Detail")
    log.info("Change")
    log.warning("Look")
    assert "".join(line[0] for line in out.getvalue().splitlines()) == shown
