from __future__ import annotations

import pytest

from kcpctl.client.server_warnings import WarningLog, warning_texts


@pytest.mark.parametrize(
    ("headers", "texts"),
    [
        (['299 - "old"'], ["old"]),
        (['299 host:80 "old" "Sat, 21 Nov 2026 12:00:00 GMT"'], ["old"]),
        (['299 - "one", 299 - "two"', '299 - "three"'], ["one", "two", "three"]),
        ([r'299 - "say \"x\" or \\y"'], [r'say "x" or \y']),
        (['199 - "not ours"', '299 - cut "', "", "299"], []),
        (['299 - "' + "x" * 5000 + '"'], ["x" * 1024]),
    ],
)
def test_texts_are_taken_out_of_headers(headers: list[str], texts: list[str]) -> None:
    """RC-19: and cut, RC-21."""
    assert warning_texts(headers) == texts


def test_each_text_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """RC-19."""
    log = WarningLog("host:6443")
    for text in ("a", "b", "a", "a"):
        log(text)
    fields = [record.__dict__["fields"] for record in caplog.records]
    assert fields == [{"host": "host:6443", "text": "a"}, {"host": "host:6443", "text": "b"}]
    assert caplog.records[0].levelname == "WARNING"


def test_what_is_remembered_is_bounded() -> None:
    """RC-19: texts may hold names of objects."""
    log = WarningLog("h")
    for number in range(5000):
        log(str(number))
    assert len(log._said) <= 1024
