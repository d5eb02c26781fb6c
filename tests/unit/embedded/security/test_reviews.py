from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.security.tokens import ISSUER
from kcpctl.embedded.status import StatusError
from kcpctl.embedded.user import UserInfo

World = Any
JANE = UserInfo("jane", groups=("dev", "system:authenticated"), extra={"k": ("v",)})
READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def review(
    world: World, plural: str, spec: dict[str, Any] | None, *, namespace: str = ""
) -> dict[str, Any]:
    group = (
        "authentication" if plural in ("tokenreviews", "selfsubjectreviews") else "authorization"
    )
    info = world.registry.info("root", f"{group}.k8s.io", "v1", plural)
    body: dict[str, Any] = {"metadata": {}}
    if spec is not None:
        body["spec"] = spec
    answer: dict[str, Any] = world.reviews.create(info, "root", namespace, body, JANE)
    return answer


PODS = {"verb": "get", "resource": "configmaps", "namespace": "default"}


@pytest.mark.parametrize(
    ("plural", "spec", "text"),
    [
        (
            "subjectaccessreviews",
            {"user": "jane"},
            (
                "spec.resourceAttributes: Invalid value: null: exactly one of "
                "nonResourceAttributes or resourceAttributes must be specified"
            ),
        ),
        (
            "subjectaccessreviews",
            {"resourceAttributes": PODS},
            'spec.user: Invalid value: "": at least one of user or group must be specified',
        ),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": PODS, "nonResourceAttributes": {"path": "/"}},
            (
                'spec.nonResourceAttributes: Invalid value: {"Path":"/","Verb":""}: cannot be '
                "specified in combination with resourceAttributes"
            ),
        ),
    ],
)
def test_a_review_that_asks_nothing_clear_is_422(
    world: World, plural: str, spec: dict[str, Any], text: str
) -> None:
    with pytest.raises(StatusError) as refused:
        review(world, plural, spec)
    assert refused.value.code == 422
    assert refused.value.message == f'.authorization.k8s.io "" is invalid: {text}'


def test_a_local_review_is_about_its_namespace(world: World) -> None:
    spec = {"user": "jane", "resourceAttributes": {**PODS, "namespace": "other"}}
    with pytest.raises(StatusError, match=r"must match metadata\.namespace"):
        review(world, "localsubjectaccessreviews", spec, namespace="default")


def test_rules_are_asked_for_in_a_namespace(world: World) -> None:
    with pytest.raises(StatusError) as refused:
        review(world, "selfsubjectrulesreviews", {})
    assert (refused.value.code, refused.value.message) == (400, "no namespace on request")


def test_a_refusal_has_no_reason(world: World) -> None:
    answer = review(world, "selfsubjectaccessreviews", {"resourceAttributes": PODS})
    assert answer["status"] == {"allowed": False}
    assert answer["kind"] == "SelfSubjectAccessReview"
    assert answer["spec"] == {"resourceAttributes": PODS}


def test_a_permission_says_by_what(world: World) -> None:
    world.role("r", READ, namespace="default")
    world.bind("b", "r", {"kind": "Group", "name": "dev"}, namespace="default")
    reason = 'RBAC: allowed by RoleBinding "b/default" of Role "r" to Group "dev"'
    own = review(world, "selfsubjectaccessreviews", {"resourceAttributes": PODS})
    assert own["status"] == {"allowed": True, "reason": reason}
    spec = {"groups": ["dev"], "resourceAttributes": PODS}
    other = review(world, "subjectaccessreviews", spec)
    assert other["status"]["allowed"]
    local = review(world, "localsubjectaccessreviews", spec, namespace="default")
    assert local["status"]["allowed"]
    assert local["metadata"]["namespace"] == "default"


def test_paths_can_be_asked_for(world: World) -> None:
    spec = {"nonResourceAttributes": {"path": "/api", "verb": "get"}}
    assert review(world, "selfsubjectaccessreviews", spec)["status"]["allowed"]


def test_own_rules_are_listed(world: World) -> None:
    world.role("r", {**READ, "resourceNames": ["a"]}, namespace="default")
    world.bind("b", "r", {"kind": "User", "name": "jane"}, namespace="default")
    world.bind("broken", "gone", {"kind": "User", "name": "jane"}, namespace="default")
    status = review(world, "selfsubjectrulesreviews", {"namespace": "default"})["status"]
    assert {**READ, "resourceNames": ["a"]} in status["resourceRules"]
    assert any("/api/*" in rule["nonResourceURLs"] for rule in status["nonResourceRules"])
    assert status["incomplete"]
    assert '"gone" not found' in status["evaluationError"]


def test_a_user_can_ask_who_they_are(world: World) -> None:
    answer = review(world, "selfsubjectreviews", None)
    assert answer["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["dev", "system:authenticated"],
        "extra": {"k": ["v"]},
    }
    assert "spec" not in answer


def test_a_token_review_without_a_token_is_400(world: World) -> None:
    with pytest.raises(StatusError, match="token is required for TokenReview"):
        review(world, "tokenreviews", {"token": ""})


def test_a_wrong_token_is_reviewed_as_such(world: World) -> None:
    answer = review(world, "tokenreviews", {"token": "bad"})
    assert answer["status"] == {"user": {}, "error": "invalid bearer token"}


def test_a_good_token_is_reviewed_with_its_user(world: World) -> None:
    account = world.account("bot")
    answer = review(world, "tokenreviews", {"token": world.token(account)})
    assert answer["status"]["authenticated"]
    assert answer["status"]["audiences"] == [ISSUER]
    assert answer["status"]["user"]["username"] == "system:serviceaccount:default:bot"
    assert answer["status"]["user"]["uid"] == account["metadata"]["uid"]


def test_a_token_for_others_is_reviewed_for_them(world: World) -> None:
    token = world.token(world.account("bot"), {"audiences": ["vault"]})
    assert "error" in review(world, "tokenreviews", {"token": token})["status"]
    spec = {"token": token, "audiences": ["vault", "x"]}
    assert review(world, "tokenreviews", spec)["status"]["audiences"] == ["vault"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "may not specify a duration less than 10 minutes"),
        (2**32 + 1, "may not specify a duration larger than 2^32 seconds"),
    ],
)
def test_a_token_has_a_sensible_life(world: World, seconds: int, text: str) -> None:
    with pytest.raises(StatusError) as refused:
        world.token(world.account("bot"), {"expirationSeconds": seconds})
    assert refused.value.message == (
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: '
        f"{seconds}: {text}"
    )


def reference(**fields: str) -> dict[str, Any]:
    return {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", **fields}}


def test_a_token_is_bound_only_to_what_fits(world: World) -> None:
    account = world.account("bot")
    with pytest.raises(StatusError, match='pods "p" not found'):
        world.token(account, reference())
    with pytest.raises(StatusError, match="of type /v1, Kind=ConfigMap"):
        world.token(account, reference(kind="ConfigMap"))
    spec = {"containers": [{"name": "c", "image": "x"}]}
    world.create("", "pods", {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    with pytest.raises(StatusError, match="different serviceaccount name"):
        world.token(account, reference())
    with pytest.raises(StatusError, match="does not match the UID in record"):
        world.token(account, reference(uid="other"))


def test_a_token_request_is_answered_like_the_real_one(world: World) -> None:
    account = world.account("bot")
    answer = world.reviews.create_token("root", "default", account, {}, JANE)
    assert answer["kind"] == "TokenRequest"
    assert answer["metadata"]["name"] == "bot"
    assert answer["spec"] == {
        "audiences": [ISSUER],
        "expirationSeconds": 3600,
        "boundObjectRef": None,
    }
    assert answer["status"]["expirationTimestamp"].endswith("Z")
