"""When the soak says that something leaks. The module is a script, not in a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[3] / "hack/soak.py"


@pytest.fixture(scope="module")
def soak() -> Any:
    spec = importlib.util.spec_from_file_location("kcpctl_soak", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_steady_rise_is_a_leak_and_a_level_is_none(soak: Any) -> None:
    assert soak.has_grown([8, 9, 10, 11, 12, 13], allowed=2)
    assert not soak.has_grown([8, 8, 8, 8, 8, 8], allowed=2)
    assert not soak.has_grown([13, 12, 11, 10, 9, 8], allowed=2)


def test_a_rise_that_is_allowed_is_no_leak(soak: Any) -> None:
    assert not soak.has_grown([8, 8, 8, 8, 9, 9], allowed=2)


def test_what_comes_and_goes_is_no_leak_even_if_it_is_more_at_the_end(soak: Any) -> None:
    values = [27, 33, 27, 27, 33, 30, 33, 27, 33, 33, 33]
    assert soak.trend_of(values) > 2
    assert not soak.has_grown(values, allowed=2)
