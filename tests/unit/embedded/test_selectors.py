from __future__ import annotations

import pytest

from kcpctl.embedded.kinds import BUILT_IN, CrdVersion, ResourceInfo
from kcpctl.embedded.selectors import parse_field_selector, parse_label_selector
from kcpctl.embedded.status import StatusError

KINDS = {info.group_resource: info for info in BUILT_IN}


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a==b", {"a": "b"}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c)", {}, False),
        ("a notin (b)", {}, True),
        ("a notin (b)", {"a": "b"}, False),
        ("a=b,c=d", {"a": "b"}, False),
        ("a=b,c=d", {"a": "b", "c": "d"}, True),
        ("a=", {"a": ""}, True),
        ("n>3", {"n": "4"}, True),
        ("n<3", {"n": "4"}, False),
        ("n>3", {"n": "x"}, False),
        ("example.com/a=b", {"example.com/a": "b"}, True),
    ],
)
def test_label_selectors_match_as_kubernetes_does(
    selector: str, labels: dict[str, str], *, matches: bool
) -> None:
    test = parse_label_selector(selector)
    assert test is not None
    assert test(labels) is matches


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_label_selector_is_none(text: str) -> None:
    assert parse_label_selector(text) is None


@pytest.mark.parametrize("text", ["a b", "=b", "a in b", "a in (b", "a=b,", "a=!", "-a=b", "n>x"])
def test_malformed_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_label_selector(text)
    assert caught.value.code == 400


def test_the_message_for_two_words_is_the_real_one() -> None:
    with pytest.raises(StatusError) as caught:
        parse_label_selector("a b")
    assert caught.value.message == (
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    )


def test_every_kind_can_be_selected_by_name_and_namespace() -> None:
    test = parse_field_selector("metadata.name=a,metadata.namespace!=b", KINDS["configmaps"])
    assert test is not None
    assert test({"metadata": {"name": "a", "namespace": "c"}})
    assert not test({"metadata": {"name": "a", "namespace": "b"}})


def test_unset_fields_select_as_their_zero_value() -> None:
    node = parse_field_selector("spec.nodeName=", KINDS["pods"])
    host = parse_field_selector("spec.hostNetwork=false", KINDS["pods"])
    assert node is not None
    assert host is not None
    assert node({"metadata": {}, "spec": {}})
    assert host({"metadata": {}, "spec": {}})
    assert not host({"metadata": {}, "spec": {"hostNetwork": True}})


def test_events_are_selected_by_the_names_of_their_version() -> None:
    core = parse_field_selector("involvedObject.name=x", KINDS["events"])
    new = parse_field_selector("regarding.name=x", KINDS["events.events.k8s.io"])
    stored = {"metadata": {}, "involvedObject": {"name": "x"}}
    assert core is not None
    assert new is not None
    assert core(stored)
    assert new(stored)


def test_escaped_commas_belong_to_the_value() -> None:
    test = parse_field_selector(r"metadata.name=a\,b", KINDS["configmaps"])
    assert test is not None
    assert test({"metadata": {"name": "a,b"}})


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("pods", "spec.x=1", "field label not supported: spec.x"),
        ("configmaps", "data.x=1", '"data.x" is not a known field selector: only '),
        ("jobs.batch", "status.failed=1", 'field label "status.failed" not supported for Job'),
        ("pods", "spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand"),
    ],
)
def test_unknown_fields_are_refused_in_the_words_of_their_kind(
    kind: str, text: str, message: str
) -> None:
    with pytest.raises(StatusError) as caught:
        parse_field_selector(text, KINDS[kind])
    assert caught.value.message.startswith(message)


def test_custom_resources_choose_their_selectable_fields() -> None:
    crd = CrdVersion("xs.g", None, selectable_fields=(".spec.color",))
    info = ResourceInfo("g", "v1", "xs", "X", crd=crd)
    test = parse_field_selector("spec.color=red", info)
    assert test is not None
    assert test({"metadata": {}, "spec": {"color": "red"}})
    with pytest.raises(StatusError):
        parse_field_selector("spec.size=1", info)
