"""What is kept for each key, and how it goes."""

from __future__ import annotations

from kcpctl.controller.by_key import ByKey


def kept() -> ByKey[int]:
    values: ByKey[int] = ByKey()
    for number, key in enumerate(("one|east", "one|west", "two|east")):
        assert values.keep(key, number) == number
    return values


def test_the_last_value_of_a_key_counts() -> None:
    values = kept()
    values.keep("one|east", 7)
    assert (values.get("one|east"), values.get("one|west"), len(values)) == (7, 1, 3)


def test_a_key_that_is_forgotten_has_no_value_and_another_keeps_its_own() -> None:
    values = kept()
    values.forget("one|east")
    values.forget("one|east")
    assert (values.get("one|east"), values.get("one|west")) == (None, 1)


def test_just_the_keys_that_belong_are_removed() -> None:
    values = kept()
    values.remove(lambda key: key.startswith("one|"))
    assert (len(values), values.get("two|east")) == (1, 2)
