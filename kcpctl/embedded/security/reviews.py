"""The resources that can only be created: token requests, token reviews and access reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kcpctl.embedded.kinds import ResourceInfo
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.authn import Authenticator
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.security.tokens import ISSUER, BoundObject, Claims, ServiceAccountTokens
from kcpctl.embedded.status import Cause, StatusError, bad_request, invalid, method_not_allowed
from kcpctl.embedded.user import Attributes, UserInfo
from kcpctl.logicalcluster import WILDCARD
from kcpctl.runtime import SYSTEM_CLOCK, Clock, format_time

__all__ = ["Reviews"]

Json = dict[str, Any]
_AUTHZ: Final = "authorization.k8s.io"
_AUTHN: Final = "authentication.k8s.io"
_DEFAULT_SECONDS: Final = 3600
_MIN_SECONDS: Final = 600
_MAX_SECONDS: Final = 1 << 32
_FIELDS: Final = ("verb", "group", "version", "resource", "subresource", "name", "namespace")


class Reviews:
    """Answers what ``http.context.VirtualResources`` asks for. Event loop's thread only."""

    def __init__(
        self,
        registry: Registry,
        authenticator: Authenticator,
        authorizer: Authorizer,
        tokens: ServiceAccountTokens,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._tokens = tokens
        self._clock = clock
        self._answers: dict[str, Callable[[str, str, Json, UserInfo], Json]] = {
            "tokenreviews": self._token_review,
            "selfsubjectreviews": self._self_review,
            "subjectaccessreviews": self._access_review,
            "localsubjectaccessreviews": self._local_access_review,
            "selfsubjectaccessreviews": self._self_access_review,
            "selfsubjectrulesreviews": self._rules_review,
        }

    def create(
        self, info: ResourceInfo, cluster: str, namespace: str, body: Json, user: UserInfo
    ) -> Json:
        """Answer a review: its body with the status; raises StatusError."""
        answer = self._answers.get(info.plural)
        if answer is None:
            raise method_not_allowed()
        metadata = {**(body.get("metadata") or {})}
        if namespace:
            metadata["namespace"] = namespace
        filled = {
            "kind": info.kind,
            "apiVersion": info.api_version,
            "metadata": metadata,
            **({"spec": body.get("spec") or {}} if info.plural != "selfsubjectreviews" else {}),
        }
        return answer(cluster, namespace, filled, user)

    def create_token(
        self, cluster: str, namespace: str, service_account: Json, body: Json, user: UserInfo
    ) -> Json:
        """Answer ``serviceaccounts/NAME/token``: the TokenRequest with a token bound to it."""
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds")
        seconds = _DEFAULT_SECONDS if seconds is None else int(seconds)
        _check_duration(seconds)
        metadata = service_account["metadata"]
        audiences = [str(audience) for audience in spec.get("audiences") or ()] or [ISSUER]
        reference = spec.get("boundObjectRef")
        claims = Claims(
            cluster,
            namespace,
            metadata["name"],
            metadata["uid"],
            audiences=tuple(audiences),
            bound=self._bound(cluster, namespace, metadata["name"], reference),
        )
        token, ends = self._tokens.issue(claims, seconds)
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{_AUTHN}/v1",
            "metadata": {
                "name": metadata["name"],
                "namespace": namespace,
                "uid": metadata["uid"],
                "creationTimestamp": format_time(self._clock.time()),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": reference or None,
            },
            "status": {"token": token, "expirationTimestamp": format_time(ends)},
        }

    def _bound(
        self, cluster: str, namespace: str, account: str, reference: Json | None
    ) -> BoundObject | None:
        if not reference:
            return None
        kind, api_version = reference.get("kind", ""), reference.get("apiVersion", "")
        if api_version != "v1" or kind not in ("Pod", "Secret"):
            group, _, version = api_version.rpartition("/")
            raise bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        info = self._registry.info(cluster, "", "v1", f"{kind.lower()}s")
        found = self._registry.get(info, cluster, namespace, reference.get("name", ""))
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            raise StatusError(
                409,
                "Conflict",
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                f"UID in record. The object might have been deleted and then recreated",
            )
        if kind == "Pod" and (found["spec"].get("serviceAccountName") or "default") != account:
            raise bad_request(
                f'cannot bind token for serviceaccount "{account}" to pod running with different '
                "serviceaccount name."
            )
        return BoundObject(kind.lower(), found["metadata"]["name"], uid)

    def _token_review(self, cluster: str, namespace: str, body: Json, user: UserInfo) -> Json:
        spec = body["spec"]
        token = spec.get("token") or ""
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or (ISSUER,))
        where = None if cluster == WILDCARD else cluster
        verified = self._authenticator.verify_token(token, where, audiences)
        if verified is None:
            status: Json = {"user": {}, "error": "invalid bearer token"}
        else:
            found, accepted = verified
            status = {
                "authenticated": True,
                "user": _user_info(found),
                "audiences": list(accepted),
            }
        return {**body, "status": status}

    def _self_review(self, cluster: str, namespace: str, body: Json, user: UserInfo) -> Json:
        metadata = {**body["metadata"], "creationTimestamp": format_time(self._clock.time())}
        return {**body, "metadata": metadata, "status": {"userInfo": _user_info(user)}}

    def _access_review(self, cluster: str, namespace: str, body: Json, user: UserInfo) -> Json:
        spec = body["spec"]
        causes = _attribute_causes(spec)
        if not spec.get("user") and not spec.get("groups"):
            causes.append(
                Cause.invalid("spec.user", "", "at least one of user or group must be specified")
            )
        _raise_invalid(causes)
        asked = UserInfo(
            spec.get("user") or "",
            spec.get("uid") or "",
            tuple(spec.get("groups") or ()),
            {key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
        )
        return {**body, "status": self._decision(cluster, spec, asked)}

    def _local_access_review(
        self, cluster: str, namespace: str, body: Json, user: UserInfo
    ) -> Json:
        wanted = (body["spec"].get("resourceAttributes") or {}).get("namespace", "")
        if body["spec"].get("resourceAttributes") and wanted != namespace:
            _raise_invalid(
                [
                    Cause.invalid(
                        "spec.resourceAttributes.namespace",
                        wanted,
                        "must match metadata.namespace",
                    )
                ]
            )
        return self._access_review(cluster, namespace, body, user)

    def _self_access_review(self, cluster: str, namespace: str, body: Json, user: UserInfo) -> Json:
        _raise_invalid(_attribute_causes(body["spec"]))
        return {**body, "status": self._decision(cluster, body["spec"], user)}

    def _decision(self, cluster: str, spec: Json, user: UserInfo) -> Json:
        wanted = spec.get("resourceAttributes")
        if wanted is not None:
            fields = {key: str(wanted.get(key) or "") for key in _FIELDS}
            attributes = Attributes(**fields, cluster=cluster)
        else:
            bare = spec["nonResourceAttributes"]
            attributes = Attributes(
                bare.get("verb") or "", path=bare.get("path") or "", cluster=cluster
            )
        decision = self._authorizer.authorize(user, attributes)
        status: Json = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _rules_review(self, cluster: str, namespace: str, body: Json, user: UserInfo) -> Json:
        wanted = body["spec"].get("namespace") or ""
        if not wanted:
            raise bad_request("no namespace on request")
        missing: list[str] = []
        resources: list[Json] = []
        paths: list[Json] = []
        for grant in self._authorizer.grants(user, cluster, wanted, missing):
            rule = grant.rule
            if rule.get("resources"):
                keys = ("verbs", "apiGroups", "resources", "resourceNames")
                resources.append({key: rule[key] for key in keys if rule.get(key)})
            if rule.get("nonResourceURLs") and grant.cluster_wide:
                paths.append({key: rule[key] for key in ("verbs", "nonResourceURLs")})
        status: Json = {
            "resourceRules": resources,
            "nonResourceRules": paths,
            "incomplete": bool(missing),
        }
        if missing:
            status["evaluationError"] = ", ".join(missing)
        return {**body, "spec": {}, "status": status}


def _user_info(user: UserInfo) -> Json:
    info: Json = {"username": user.username}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _attribute_causes(spec: Json) -> list[Cause]:
    resource, bare = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and bare is not None:
        shown = {"Path": bare.get("path", ""), "Verb": bare.get("verb", "")}
        detail = "cannot be specified in combination with resourceAttributes"
        return [Cause.invalid("spec.nonResourceAttributes", shown, detail)]
    if resource is None and bare is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [Cause.invalid("spec.resourceAttributes", None, detail)]
    return []


def _raise_invalid(causes: list[Cause]) -> None:
    if causes:
        raise invalid("", _AUTHZ, "", causes)


def _check_duration(seconds: int) -> None:
    detail = ""
    if seconds < _MIN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > _MAX_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
    if detail:
        cause = Cause.invalid("spec.expirationSeconds", seconds, detail)
        raise invalid("TokenRequest", _AUTHN, "", [cause])
