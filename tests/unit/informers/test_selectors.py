"""Label selectors."""

from __future__ import annotations

import pytest

from kcpctl.informers.selectors import parse_selector

LABELS = {"app": "web", "tier": "front", "example.com/empty": ""}


@pytest.mark.parametrize(
    "selector", ["a b", "=x", "a in b", "a in (b", "a=b=c", "a,,b", "!", "a>b"]
)
def test_what_is_not_a_selector_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match="of a label selector"):
        parse_selector(selector)


@pytest.mark.parametrize("selector", ["", "  "])
def test_an_empty_selector_needs_no_matching(selector: str) -> None:
    """IDX-25."""
    assert parse_selector(selector) is None


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = db", False),
        ("app!=db", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("missing in (x)", False),
        ("app notin (db,cache)", True),
        ("missing notin (db)", True),
        ("app notin (web)", False),
        ("app=web,tier in (front,back),!missing", True),
        ("app=web,tier=back", False),
        ("example.com/empty=", True),
        ("example.com/empty", True),
        ("app=", False),
    ],
)
def test_selectors_match_as_on_a_server(selector: str, wanted: bool) -> None:
    matches = parse_selector(selector)
    assert matches is not None
    assert matches(LABELS) is wanted
