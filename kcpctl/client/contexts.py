"""One context of a kubeconfig: from the loader's nodes to a configuration."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kcpctl.client.config import ClientConfig, ExecPlugin, Impersonation, split_server_url
from kcpctl.client.proxies import check_proxy_url, proxy_from_environment
from kcpctl.client.tls import tls_context
from kcpctl.errors import ConfigError

__all__ = ["ContextReader"]

_FILE_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class ContextReader:
    """Reads one context of a kubeconfig whose shape has been checked.

    ``node`` is a ``ConfigNode`` of the ``kubernetes`` package. Every problem is a ConfigError
    that begins with ``source``. No file is written and no plugin is run.
    """

    def __init__(
        self,
        node: Any,
        source: str,
        context: str | None,
        *,
        allow_files: bool,
        allow_exec: bool | Collection[str],
    ) -> None:
        self._node = node
        self._source = source
        self._allow_files = allow_files
        self._allow_exec = allow_exec
        self._context_name = context or self._text(node, "current-context")
        self._context = self._selected_context()
        self._cluster = self._named("clusters", "cluster")
        self._user = self._named("users", "user") if self._context.get("user") else None

    def read(self, environ: Mapping[str, str]) -> ClientConfig:
        """Return the configuration, with its certificates checked."""
        self._check_allowed()
        url = self._text(self._cluster, "server")
        server, logical_cluster = split_server_url(url, source=self._source)
        proxy = self._text(self._cluster, "proxy-url")
        insecure = self._cluster.safe_get("insecure-skip-tls-verify") is True
        ca = self._data(self._cluster, "certificate-authority")
        if insecure and ca is not None:
            raise ConfigError(
                f"{self._source}: the cluster has a certificate authority and "
                "insecure-skip-tls-verify; remove one of the two"
            )
        config = ClientConfig(
            server=server,
            cluster=logical_cluster,
            ca=ca,
            ca_file=self._file(self._cluster, "certificate-authority"),
            insecure=insecure,
            server_name=self._text(self._cluster, "tls-server-name"),
            proxy_url=check_proxy_url(proxy, source=self._source)
            if proxy
            else proxy_from_environment(server, environ),
            default_namespace=str(self._context.get("namespace") or "default"),
            source=self._source,
            **self._identity(),
        )
        if config.ca or config.client_cert:
            # Bad PEM is said now and not at the first request.
            tls_context(
                ca=config.ca,
                client_cert=config.client_cert,
                client_key=config.client_key,
                insecure=insecure,
                source=self._source,
            )
        return config

    def _selected_context(self) -> Mapping[str, Any]:
        """Have the loader select the context; it knows all names already."""
        names = [entry["name"] for entry in self._node.value["contexts"]]
        known = f"it has {', '.join(names)}" if names else "it has none"
        if not self._context_name:
            raise ConfigError(
                f"{self._source} has no current-context; choose a context with --context ({known})"
            )
        if self._context_name not in names:
            raise ConfigError(f"{self._source} has no context {self._context_name!r}; {known}")
        entry = self._node["contexts"].get_with_name(self._context_name)
        context: Mapping[str, Any] = entry.value.get("context") or {}
        return context

    def _named(self, section: str, what: str) -> Any:
        name = self._context.get(what)
        entry = self._node[section].get_with_name(name, safe=True) if name else None
        if entry is None:
            names = [known["name"] for known in self._node.value[section]]
            missing = f"names {what} {name!r}" if name else f"names no {what}"
            raise ConfigError(
                f"{self._source}: context {self._context_name!r} {missing}, but "
                + (f"there is only {', '.join(names)}" if names else f"there are no {section}")
            )
        return entry[what]

    def _check_allowed(self) -> None:
        user: Mapping[str, Any] = self._user.value if self._user is not None else {}
        who = f"{self._source}: user {self._context.get('user')!r}"
        if user.get("auth-provider"):
            raise ConfigError(
                f"{who} uses an auth-provider, which would have to write its tokens back into the "
                "kubeconfig; use a token, a client certificate or an exec plugin (for OIDC there "
                "is kubelogin)"
            )
        if plugin := user.get("exec"):
            if not isinstance(plugin, Mapping):
                raise ConfigError(f"{who}: exec must be a mapping")
            self._check_plugin(str(plugin.get("command", "")), who)
        named = {**self._cluster.value, **user}
        if not self._allow_files and (files := [key for key in _FILE_KEYS if named.get(key)]):
            raise ConfigError(
                f"{self._source} names files ({', '.join(files)}), which only exist where it was "
                "written; put the data in (kubectl config view --flatten --minify)"
            )

    def _check_plugin(self, command: str, who: str) -> None:
        """AU-09: plugins run as we do, so whoever loads a kubeconfig says which may."""
        allowed = self._allow_exec
        if allowed is False:
            raise ConfigError(
                f"{who} runs a credential plugin (exec), which is not done for kubeconfigs from "
                "elsewhere; use a token or a client certificate"
            )
        if allowed is not True and command not in allowed:
            raise ConfigError(
                f"{who} runs the credential plugin {command!r}, which is not one of those allowed "
                f"({', '.join(sorted(allowed)) or 'none'}); allow it or use a token"
            )

    def _identity(self) -> dict[str, Any]:
        user = self._user
        if user is None:
            return {}
        cert, key = self._data(user, "client-certificate"), self._data(user, "client-key")
        if (cert is None) != (key is None):
            has, lacks = ("key", "certificate") if cert is None else ("certificate", "key")
            raise ConfigError(
                f"{self._source}: user {self._context['user']!r} has a client {has} but no "
                f"client {lacks}; both are needed"
            )
        identity: dict[str, Any] = {
            "client_cert": cert,
            "client_cert_file": self._file(user, "client-certificate"),
            "client_key": key,
            "client_key_file": self._file(user, "client-key"),
            "impersonate": self._impersonation(user),
        }
        if user.safe_get("tokenFile"):
            identity["token_file"] = self._existing_file(user, "tokenFile")
        elif token := self._text(user, "token"):
            identity["token"] = token
        elif user.safe_get("exec"):
            plugin = ExecPlugin(user.value["exec"], self._cluster.value, _base(user))
            identity["exec_plugin"] = plugin
        elif username := self._text(user, "username"):
            identity["username"] = username
            identity["password"] = str(user.safe_get("password") or "")
        return identity

    def _impersonation(self, user: Any) -> Impersonation | None:
        name = self._text(user, "as")
        if not name:
            return None
        groups, extra = user.value.get("as-groups") or [], user.value.get("as-user-extra") or {}
        lists = isinstance(extra, Mapping) and [groups, *extra.values()]
        if not lists or not all(isinstance(one, list) for one in lists):
            raise ConfigError(
                f"{self._source}: as-groups must be a list, and as-user-extra a mapping to lists"
            )
        return Impersonation(
            user=name,
            uid=self._text(user, "as-uid"),
            groups=tuple(map(str, groups)),
            extra=tuple((str(key), tuple(map(str, values))) for key, values in extra.items()),
        )

    def _text(self, node: Any, key: str) -> str:
        """Return a value that is one line of text; never quoted, it may be a secret."""
        value = node.safe_get(key)
        if value is None:
            return ""
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ConfigError(f"{self._source}: {key} must be text")
        text = str(value).strip()
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ConfigError(f"{self._source}: {key} has a line break or control character in it")
        return text

    def _data(self, node: Any, key: str) -> bytes | None:
        """Return the bytes of ``key-data`` (base64) or of the file ``key``."""
        from kubernetes.config.kube_config import FileOrData

        if not node.safe_get(f"{key}-data"):
            if not node.safe_get(key):
                return None
            # An empty key-data is as good as none.
            node.value.pop(f"{key}-data", None)
            self._existing_file(node, key)
        try:
            text = FileOrData(node, key, file_base_path=str(_base(node) or "")).as_data()
            return base64.b64decode("".join(str(text).split()), validate=True)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self._source}: the file of {key} is not PEM") from error
        except ValueError as error:
            raise ConfigError(
                f"{self._source}: {key}-data is not base64 ({error}); encode the PEM file with "
                "base64 -w0"
            ) from error

    def _file(self, node: Any, key: str) -> Path | None:
        """Return the file that ``key`` names, unless its data are in the kubeconfig itself."""
        if node.safe_get(f"{key}-data") or not node.safe_get(key):
            return None
        return Path(os.path.normpath((_base(node) or Path()) / str(node[key])))

    def _existing_file(self, node: Any, key: str) -> Path:
        file = Path(os.path.normpath((_base(node) or Path()) / str(node[key])))
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(
                f"{self._source}: {key} {file} cannot be read ({error.strerror}); a relative path "
                "counts from the kubeconfig"
            ) from error
        return file


def _base(node: Any) -> Path | None:
    """Return the directory that relative paths of a node count from."""
    return Path(node.path).absolute().parent if node.path else None
