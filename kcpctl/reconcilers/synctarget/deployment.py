"""Ensuring the syncer's deployment: its identity upstream, its objects downstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from kcpctl.apis.naming import syncer_id
from kcpctl.apis.resource import SECRETS
from kcpctl.apis.synctarget_deployment import DEFAULT_BURST, Deployment, RetryBackoff, Syncer
from kcpctl.apis.workload import SyncTarget, SyncTargetSpec
from kcpctl.client import Client
from kcpctl.controller.by_key import ByKey
from kcpctl.errors import NotFound
from kcpctl.reconcilers.credentials import Cache
from kcpctl.reconcilers.synctarget.image_pull import image_pull_problem
from kcpctl.reconcilers.synctarget.installation import (
    RENEW_AFTER,
    apply,
    install,
    make_identity,
    with_token,
)
from kcpctl.reconcilers.synctarget.manifests import (
    KUBECONFIG_KEY,
    TOKEN_RENEW_ANNOTATION,
    TOKEN_SECRET_ANNOTATION,
    SyncerInputs,
    config_hash,
    secret_object,
    syncer_replicas,
)
from kcpctl.reconcilers.synctarget.moving import cluster_uid, is_elsewhere, lock_out
from kcpctl.reconcilers.synctarget.options import (
    AUTH_CERTIFICATE,
    AUTH_EXTERNAL,
    SyncTargetOptions,
)
from kcpctl.reconcilers.synctarget.rollout import Rollout
from kcpctl.reconcilers.synctarget.token_secret import has_ended
from kcpctl.reconcilers.synctarget.validation import image_of
from kcpctl.reconcilers.workspaces import is_being_deleted
from kcpctl.runtime import Clock, get_logger, parse_time

__all__ = ["Deployed", "Rollouts", "SyncerDeployer", "syncer_inputs", "syncer_namespace"]

_log = get_logger(__name__)

# While a syncer rolls out (2.2 has 5 to 30 s): nothing but its Pods tells that an image is missing.
_LOOK_AT_PODS_SECONDS: Final = 10.0


class Rollouts(Protocol):
    """What is needed of a :class:`RolloutWatch`."""

    def observe(self, key: str, client: Client, namespace: str, name: str) -> Rollout | None:
        """Return the state of a Deployment."""

    def applied(self, key: str, deployment: Mapping[str, Any]) -> Rollout:
        """Take what the server answered to a write."""

    def stop(self, key: str) -> None:
        """Stop watching."""

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Stop watching all keys that belong, without waiting for it."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """How the deployment stands.

    ``again_in_seconds`` is when a token of ours is due, or the Pods of a syncer that does not run
    yet are to be looked at again; None without. ``updated`` tells that a syncer which ran was
    given another configuration, ``moved`` that one on another cluster was locked out.
    """

    rollout: Rollout
    again_in_seconds: float | None
    updated: bool = False
    moved: bool = False


def syncer_namespace(target: SyncTarget) -> str:
    """Return the syncer's namespace on the physical cluster."""
    own = target.spec.deployment.namespace if target.spec.deployment is not None else ""
    return own or syncer_id(target.metadata.name, target.metadata.uid)


def syncer_inputs(
    target: SyncTarget, cluster: str, options: SyncTargetOptions, upstream: Client
) -> SyncerInputs:
    """Return what the manifests of the target's syncer depend on; no token yet."""
    url = upstream.url
    if override := options.upstream_server_url.rstrip("/"):
        # Another way to the same server still has to name the logical cluster.
        path = url.removeprefix(upstream.server)
        url = override if "/clusters/" in override else override + path
    return SyncerInputs(
        id=syncer_id(target.metadata.name, target.metadata.uid),
        name=target.metadata.name,
        uid=target.metadata.uid,
        cluster=cluster,
        namespace=syncer_namespace(target),
        image=image_of(target.spec, options.syncer_image),
        server=url,
        ca=options.upstream_ca_data or b"",
        insecure=options.upstream_insecure,
        server_name=options.upstream_server_name,
        external_secret=options.syncer_auth == AUTH_EXTERNAL,
        certificate=options.syncer_auth == AUTH_CERTIFICATE,
        deployment=target.spec.deployment or Deployment(),
        arguments=_arguments(target.spec),
    )


def _arguments(spec: SyncTargetSpec) -> tuple[str, ...]:
    """Return the syncer's flags for what the spec sets; the rest is the syncer's own default."""
    syncer = spec.syncer or Syncer()
    retry = syncer.retry_backoff or RetryBackoff()
    flags = {
        "--heartbeat-interval": syncer.heartbeat_interval,
        "--sync-interval": syncer.sync_interval,
        "--retry-initial-interval": retry.initial_interval,
        "--retry-max-interval": retry.max_interval,
        "--retry-multiplier": retry.multiplier,
        "--downstream-namespace-clean-delay": syncer.downstream_namespace_clean_delay,
        "--workers": syncer.workers,
        "--qps": syncer.qps,
        "--burst": _burst(syncer),
    }
    given = tuple(f"{flag}={value}" for flag, value in flags.items() if value)
    # There is one level above the usual one; so 3 instead of 2 is no other configuration.
    verbose = spec.deployment is not None and (spec.deployment.log_level or 0) > 0
    return (*given, "--verbose") if verbose else given


def _burst(syncer: Syncer) -> int | None:
    """A burst that nobody set follows a qps above its default."""
    return syncer.burst or (syncer.qps if (syncer.qps or 0) > DEFAULT_BURST else None)


def _is_current(found: Rollout, inputs: SyncerInputs, digest: str) -> bool:
    """Whether the Deployment is what would be applied, also after somebody has edited it."""
    return (
        found.config_hash == digest
        and found.image == inputs.image
        and found.desired == syncer_replicas(inputs)
    )


def _missing_secret(downstream: Client, inputs: SyncerInputs) -> str:
    """Return what somebody else has yet to do so that the syncer can start, "" for nothing."""
    where = f"The Secret {inputs.id!r} in namespace {inputs.namespace!r} of the cluster"
    todo = f"put a kubeconfig for {inputs.server} there under the key {KUBECONFIG_KEY!r}"
    why = "the controllers run with --syncer-auth external"
    try:
        secret = downstream.resource(SECRETS).get(inputs.id, namespace=inputs.namespace)
    except NotFound:
        return f"{where} does not exist; {todo} ({why})"
    data = secret.get("data")
    if isinstance(data, Mapping) and data.get(KUBECONFIG_KEY):
        return ""
    return f"{where} has no key {KUBECONFIG_KEY!r}; {todo} ({why})"


def _with_pods(deployed: Deployed, downstream: Client, inputs: SyncerInputs) -> Deployed:
    """Look at the Pods of a syncer that should run by now and does not."""
    rollout = deployed.rollout
    if rollout.complete or rollout.waiting or not rollout.observed:
        return deployed
    missing = image_pull_problem(downstream, inputs.namespace, inputs.id, inputs.image)
    planned = deployed.again_in_seconds
    again = _LOOK_AT_PODS_SECONDS if planned is None else min(planned, _LOOK_AT_PODS_SECONDS)
    found = replace(rollout, missing_image=missing)
    return replace(deployed, rollout=found, again_in_seconds=again)


@dataclass(frozen=True, slots=True)
class _Token:
    """Whose token it is, the monotonic time at which it is renewed, and from which Secret it is."""

    uid: str
    renew_at: float
    secret_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """One look at one syncer: whose it is, what it should be, and both sides of it."""

    key: str
    target: SyncTarget
    inputs: SyncerInputs
    options: SyncTargetOptions
    upstream: Client
    downstream: Client

    @property
    def namespace(self) -> str:
        """Where the syncer's identity is, upstream."""
        return self.options.credentials_namespace


class SyncerDeployer:
    """Brings syncers to their clusters and keeps them there.

    ``ensure`` writes only what differs: a Deployment that is there with the right hash costs no
    request, a token that is due, or was ended, changes its Secret alone. Everything is applied
    server-side by our own field manager, the Deployment last, so an interrupted pass is simply
    done again.
    With ``syncer_auth`` external no token is made, and the Secret is somebody else's: it is only
    looked at, while the syncer does not run.
    Raises what the clients raise. Worker threads; one key at a time.
    """

    def __init__(self, rollouts: Rollouts, *, secrets: Cache, clock: Clock) -> None:
        self._rollouts = rollouts
        self._secrets = secrets
        self._clock = clock
        self._tokens: ByKey[_Token] = ByKey()
        # What the last hash was of: a quarter of a pass is to render all that once more.
        self._hashes: ByKey[tuple[SyncerInputs, str]] = ByKey()

    def ensure(
        self,
        key: str,
        target: SyncTarget,
        cluster: str,
        upstream: Client,
        downstream: Client,
        options: SyncTargetOptions,
    ) -> Deployed:
        """Deploy the target's syncer as ``options`` have it now, and say how far it is."""
        inputs = syncer_inputs(target, cluster, options, upstream)
        work = _Pass(
            key=key,
            target=target,
            inputs=inputs,
            options=options,
            upstream=upstream,
            downstream=downstream,
        )
        found = self._rollouts.observe(key, downstream, inputs.namespace, inputs.id)
        digest = self._hash(key, inputs)
        current = found if found is not None and _is_current(found, inputs, digest) else None
        if inputs.external_secret:
            deployed = self._with_their_secret(work, current)
        else:
            deployed = self._with_our_token(work, current)
        updated = found is not None and current is None
        return replace(_with_pods(deployed, downstream, inputs), updated=updated)

    def forget(self, key: str) -> None:
        """Stop watching and drop what is known of a key."""
        self._rollouts.stop(key)
        self._tokens.forget(key)
        self._hashes.forget(key)

    def remove(self, belongs: Callable[[str], bool]) -> None:
        """Do the same for all keys that belong, without waiting for the watches' ends."""
        self._rollouts.remove(belongs)
        self._tokens.remove(belongs)
        self._hashes.remove(belongs)

    def _hash(self, key: str, inputs: SyncerInputs) -> str:
        known = self._hashes.get(key)
        if known is None or known[0] != inputs:
            known = self._hashes.keep(key, (inputs, config_hash(inputs)))
        return known[1]

    def _with_their_secret(self, work: _Pass, current: Rollout | None) -> Deployed:
        rollout = current
        if rollout is None:
            # Also the record that something may exist downstream; its rights are of use to others.
            make_identity(work.upstream, work.target, work.inputs, work.namespace)
            rollout = self._install(work)
        waiting = "" if rollout.complete else _missing_secret(work.downstream, work.inputs)
        return Deployed(replace(rollout, waiting=waiting), None)

    def _with_our_token(self, work: _Pass, current: Rollout | None) -> Deployed:
        token = None if current is None else self._token(work)
        if current is None or token is None:
            work = _with_cluster_uid(work)
            moved = lock_out(work.upstream, work.inputs, work.namespace)
            work, life_seconds = self._with_token(work)
            rollout = self._install(work)
            token = self._remember(work, RENEW_AFTER * life_seconds, work.inputs.token_secret_uid)
            return Deployed(rollout, self._renew_after(token), moved=moved)
        if token.renew_at <= self._clock.monotonic() or self._has_ended(work, token):
            work, life_seconds = self._with_token(_with_cluster_uid(work))
            apply(work.downstream, secret_object(work.inputs))
            # Not before: a token that never got there is to be asked for again.
            token = self._remember(work, RENEW_AFTER * life_seconds, work.inputs.token_secret_uid)
            _log.info("Renewed a syncer's token", until=work.inputs.token_renew_at)
        return Deployed(current, self._renew_after(token))

    def _renew_after(self, token: _Token) -> float:
        return max(token.renew_at - self._clock.monotonic(), 0.0)

    def _token(self, work: _Pass) -> _Token | None:
        """Return what is known of the running syncer's token; None: it has none that counts."""
        inputs = work.inputs
        known = self._tokens.get(work.key)
        if known is not None and known.uid == inputs.uid:
            return known
        try:
            secret = work.downstream.resource(SECRETS).get(inputs.id, namespace=inputs.namespace)
        except NotFound:
            return None
        if is_elsewhere(work.upstream, work.downstream, inputs, work.namespace):
            return None
        marks = secret["metadata"].get("annotations") or {}
        try:
            left = parse_time(marks.get(TOKEN_RENEW_ANNOTATION, "")) - self._clock.time()
        except ValueError:
            left = 0.0
        return self._remember(work, left, marks.get(TOKEN_SECRET_ANNOTATION, ""))

    def _remember(self, work: _Pass, renew_after_seconds: float, secret_uid: str) -> _Token:
        # Never trusted for longer than one of our own would be: clocks may have jumped.
        seconds = min(renew_after_seconds, RENEW_AFTER * work.options.token_seconds)
        token = _Token(work.inputs.uid, self._clock.monotonic() + seconds, secret_uid)
        return self._tokens.keep(work.key, token)

    def _has_ended(self, work: _Pass, token: _Token) -> bool:
        """Whether somebody has deleted what a token without an end depends on.

        In a workspace that goes as a whole everything does, and nothing is to be made there anew.
        """
        uid, upstream = token.secret_uid, work.upstream
        return (
            bool(uid)
            and has_ended(upstream, self._secrets, work.inputs, work.namespace, uid)
            and not is_being_deleted(upstream)
        )

    def _install(self, work: _Pass) -> Rollout:
        inputs = work.inputs
        applied = install(work.downstream, inputs)
        _log.info("Deployed a syncer", target=inputs.name, namespace=inputs.namespace)
        return self._rollouts.applied(work.key, applied)

    def _with_token(self, work: _Pass) -> tuple[_Pass, float]:
        """Make the syncer's identity in the workspace, and a token; return its life in seconds."""
        make_identity(work.upstream, work.target, work.inputs, work.namespace)
        inputs, life_seconds = with_token(
            work.upstream,
            work.inputs,
            work.namespace,
            seconds=work.options.token_seconds,
            clock=self._clock,
        )
        return replace(work, inputs=inputs), life_seconds


def _with_cluster_uid(work: _Pass) -> _Pass:
    return replace(work, inputs=replace(work.inputs, cluster_uid=cluster_uid(work.downstream)))
