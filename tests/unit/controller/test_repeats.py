"""What is news of a failure."""

from __future__ import annotations

from kcpctl.controller.repeats import Repeats


def test_only_another_message_or_another_key_is_news() -> None:
    repeats = Repeats()
    assert repeats.is_news("a|1", OSError("no"))
    assert not repeats.is_news("a|1", OSError("no"))
    assert repeats.is_news("a|1", OSError("never"))
    assert repeats.is_news("a|2", OSError("never"))


def test_after_its_end_the_same_failure_is_news_again() -> None:
    repeats = Repeats()
    repeats.is_news("a|1", OSError("no"))
    repeats.forget("a|1")
    assert repeats.is_news("a|1", OSError("no"))


def test_removal_keeps_what_others_failed_with() -> None:
    repeats = Repeats()
    for key in ("a|1", "a|2", "b|1"):
        repeats.is_news(key, OSError("no"))
    repeats.remove(lambda key: key.startswith("a|"))
    assert (len(repeats), repeats.get("b|1")) == (1, "no")
