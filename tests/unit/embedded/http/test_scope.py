from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.acceptance import GroupResource
from kcpctl.embedded.http.scope import EVERYTHING, Scope
from kcpctl.embedded.status import StatusError

Json = dict[str, Any]
SECRETS = GroupResource("", "secrets")


def secret(**labels: str) -> Json:
    return {"metadata": {"name": "s", "labels": labels} if labels else {"name": "s"}}


def test_everything_is_shown_and_taken_as_it_is() -> None:
    obj = secret()
    EVERYTHING.bring_in(SECRETS, obj)
    assert EVERYTHING.shows(obj)
    assert obj == secret()


def test_labels_tell_what_is_shown() -> None:
    scope = Scope(lambda labels: labels.get("a") == "1")
    assert scope.shows(secret(a="1"))
    assert not scope.shows(secret())


def test_match_labels_are_added() -> None:
    obj = secret(b="2")
    Scope(selector={"matchLabels": {"a": "1"}}).bring_in(SECRETS, obj)
    assert obj == secret(a="1", b="2")


def test_a_label_of_another_value_is_refused() -> None:
    with pytest.raises(StatusError) as refused:
        Scope(selector={"matchLabels": {"a": "1"}}).bring_in(SECRETS, secret(a="2"))
    assert refused.value.code == 403
    assert refused.value.message == (
        'secrets "s" is forbidden: protected label a must have value 1'
    )


def test_expressions_are_the_writers_to_satisfy() -> None:
    scope = Scope(selector={"matchExpressions": [{"key": "a", "operator": "Exists"}]})
    scope.bring_in(SECRETS, secret(a="1"))
    with pytest.raises(StatusError, match="object does not match required labels"):
        scope.bring_in(SECRETS, secret())


def test_everything_matches_a_claim_on_all() -> None:
    obj = secret()
    Scope(selector={"matchAll": True}).bring_in(SECRETS, obj)
    assert obj == secret()
