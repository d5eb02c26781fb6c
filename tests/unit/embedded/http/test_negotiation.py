from __future__ import annotations

import pytest

from kcpctl.embedded.http.negotiation import (
    Representation,
    body_is_yaml,
    negotiate,
    negotiate_stream,
    parse_media_type,
)
from kcpctl.embedded.status import StatusError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
BOTH = frozenset({"Table", "PartialObjectMetadata"})


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/html,*/*;q=0.1"])
def test_json_is_the_default(accept: str) -> None:
    assert negotiate(accept) == Representation()


def test_yaml_is_given_when_it_is_wanted_more() -> None:
    assert negotiate("application/yaml").yaml
    assert negotiate("application/json;q=0.5, application/yaml").yaml
    assert negotiate("application/yaml").media_type == "application/yaml"


def test_the_first_transformation_that_exists_wins() -> None:
    accept = f"{TABLE},application/json"
    assert negotiate(accept, transforms=BOTH).transform == "Table"
    assert negotiate(accept).transform == ""
    bogus = "application/json;as=Bogus;v=v1;g=meta.k8s.io,application/json"
    assert negotiate(bogus, transforms=BOTH) == Representation()


def test_protobuf_first_falls_back_to_json() -> None:
    assert negotiate("application/vnd.kubernetes.protobuf,application/json") == Representation()


def test_a_transformation_alone_that_does_not_exist_is_406_as_a_status() -> None:
    with pytest.raises(StatusError) as caught:
        negotiate("application/json;as=Table;v=v9;g=meta.k8s.io", transforms=BOTH)
    assert (caught.value.code, caught.value.plain_text) == (406, False)


@pytest.mark.parametrize("accept", ["text/html", "application/*", "application/cbor"])
def test_unknown_types_are_406_in_plain_text(accept: str) -> None:
    with pytest.raises(StatusError) as caught:
        negotiate(accept)
    assert caught.value.plain_text
    assert caught.value.message.startswith("406: Not Acceptable\nAvailable representations: ")


def test_watches_are_json_only() -> None:
    assert negotiate_stream("application/json;stream=watch", transforms=BOTH) == Representation()
    with pytest.raises(StatusError, match="application/json;stream=watch"):
        negotiate_stream("application/yaml", transforms=BOTH)


def test_bodies_are_json_or_yaml() -> None:
    assert not body_is_yaml("")
    assert not body_is_yaml("application/json; charset=utf-8")
    assert body_is_yaml("application/yaml")
    with pytest.raises(StatusError) as caught:
        body_is_yaml("text/plain")
    assert caught.value.code == 415


def test_media_types_are_split() -> None:
    assert parse_media_type('Application/JSON; a="b" ;C=d') == (
        "application/json",
        {"a": "b", "c": "d"},
    )
