"""The pages of docs/behaviours tell of every behaviour, and tests pin what they tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_PAGES: Final = sorted((_ROOT / "docs" / "behaviours").glob("*.md"))
# How many behaviours each section of the catalogue has.
_SECTIONS: Final = {
    "WQ": 25,
    "WM": 10,
    "DQ": 14,
    "RL": 19,
    "PZ": 4,
    "PQ": 16,
    "CL": 22,
    "RF": 44,
    "WL": 15,
    "FIFO": 37,
    "INF": 40,
    "SY": 5,
    "IDX": 26,
    "MUT": 8,
    "CS": 11,
    "FAC": 6,
    "PG": 4,
    "RW": 7,
    "RT": 10,
    "RC": 23,
    "AU": 14,
    "KCP": 35,
    "MCR": 11,
    "LE": 24,
}
_ROW: Final = re.compile(r"^\| (?P<id>[A-Z]+-\d\d) \| (?P<what>.+) \| (?P<how>[a-z -]+) \|$")
_HOW: Final = {"as client-go", "as controller-runtime", "as kcp", "differs", "not here"}
_CITED: Final = frozenset(
    found
    for path in sorted((_ROOT / "tests").rglob("test_*.py"))
    if path != Path(__file__)
    for found in re.findall(r"\b[A-Z]{2,4}-\d\d\b", path.read_text())
)


def _rows(page: Path) -> list[tuple[str, str]]:
    rows = []
    for line in page.read_text().splitlines():
        if line.startswith("|") and not line.startswith(("| id |", "|---")):
            row = _ROW.match(line)
            assert row, f"{page.name}: not a row of the table: {line}"
            assert row["how"] in _HOW, f"{page.name}: {line}"
            rows.append((row["id"], row["how"]))
    return rows


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_a_page_has_each_behaviour_of_its_section_in_order(page: Path) -> None:
    section = page.stem.upper()
    assert [id_ for id_, _ in _rows(page)] == [
        f"{section}-{number:02}" for number in range(1, _SECTIONS[section] + 1)
    ]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_each_behaviour_that_a_page_promises_is_cited_by_a_test(page: Path) -> None:
    assert [id_ for id_, how in _rows(page) if how != "not here" and id_ not in _CITED] == []
