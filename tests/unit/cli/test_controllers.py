"""``--controllers``."""

from __future__ import annotations

import click
import pytest

from kcpctl.cli.controllers import ALL_CONTROLLERS, ControllersType


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("*", ALL_CONTROLLERS),
        ("synctarget", ("synctarget",)),
        ("*,-synctarget", ("clusterregistration",)),
        (" synctarget , clusterregistration ", ALL_CONTROLLERS),
    ],
)
def test_controllers_are_chosen_by_name(text: str, names: tuple[str, ...]) -> None:
    assert ControllersType().convert(text, None, None) == names


def test_an_unknown_controller_is_named_with_those_there_are() -> None:
    with pytest.raises(click.BadParameter, match=r"no controller 'nope'.*clusterregistration"):
        ControllersType().convert("*,-nope", None, None)


@pytest.mark.parametrize("text", ["", "-synctarget", "*,-*"])
def test_a_choice_that_leaves_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="leaves no controller"):
        ControllersType().convert(text, None, None)
