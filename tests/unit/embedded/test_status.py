from __future__ import annotations

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.status import (
    Cause,
    already_exists,
    conflict,
    expired,
    forbidden,
    internal,
    invalid,
    not_found,
    not_served,
    page_not_found,
    success,
    too_large_resource_version,
    unsupported_media_type,
)

PODS = ResourceInfo("", "v1", "pods", "Pod")
DEPLOYMENTS = ResourceInfo("apps", "v1", "deployments", "Deployment")


def test_not_found_names_the_resource_with_its_group() -> None:
    error = not_found(DEPLOYMENTS, "web")
    assert error.status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


def test_core_resources_leave_the_group_out() -> None:
    assert already_exists(PODS, "p").status["details"] == {"name": "p", "kind": "pods"}


def test_a_500_has_no_reason() -> None:
    status = internal("resourceVersion should not be set on objects to be created").status
    assert "reason" not in status
    assert status["code"] == 500


def test_one_cause_is_spelled_out_in_the_message() -> None:
    cause = Cause.required("spec.selector")
    error = invalid("Deployment", "apps", "web", [cause])
    assert error.message == 'Deployment.apps "web" is invalid: spec.selector: Required value'
    assert error.status["details"]["causes"] == [
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}
    ]


def test_several_causes_are_listed_and_repeated_ones_are_said_once() -> None:
    twice = Cause.forbidden("metadata.finalizers", "no")
    error = invalid("ConfigMap", "", "a", [twice, twice, Cause.duplicate("x", "y")])
    assert error.message == (
        'ConfigMap "a" is invalid: [metadata.finalizers: Forbidden: no, x: Duplicate value: "y"]'
    )
    assert len(error.status["details"]["causes"]) == 3


def test_unsupported_values_name_the_choices() -> None:
    cause = Cause.not_supported("spec.type", "Bogus", ("A", "B"))
    assert cause.message == 'Unsupported value: "Bogus": supported values: "A", "B"'


def test_values_that_are_too_long_are_not_repeated() -> None:
    assert "bytes" in str(Cause.too_long("metadata.annotations", 262144))


def test_invalid_values_are_shown_as_json() -> None:
    assert Cause.invalid("a", {"b": 1}, "bad").message == 'Invalid value: {"b":1}: bad'
    assert Cause.invalid("a", None, "bad").message == "Invalid value: null: bad"


def test_a_version_from_the_future_is_a_timeout_with_a_cause_and_a_header() -> None:
    error = too_large_resource_version(9, 3)
    assert (error.code, error.reason) == (504, "Timeout")
    assert error.headers["Retry-After"] == "1"
    assert error.status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_an_expired_token_comes_with_a_fresh_one() -> None:
    assert expired("old", continue_token="abc").status["metadata"] == {"continue": "abc"}


def test_forbidden_without_a_name_is_about_the_collection() -> None:
    assert forbidden(PODS, "", "no").message == "pods is forbidden: no"
    assert forbidden(PODS, "p", "no").message == 'pods "p" is forbidden: no'


def test_conflict_reads_as_clients_know_it() -> None:
    message = conflict(PODS, "p", "changed").message
    assert message == 'Operation cannot be fulfilled on pods "p": changed'


def test_what_no_group_serves_is_plain_text() -> None:
    assert page_not_found().plain_text
    assert not_served().status["details"] == {}


def test_415_lists_what_is_accepted() -> None:
    assert unsupported_media_type(("a/b", "c/d")).message.endswith("a/b, c/d")


def test_success_carries_the_uid() -> None:
    assert success(PODS, "p", "u")["details"] == {"name": "p", "kind": "pods", "uid": "u"}
