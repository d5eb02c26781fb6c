"""Where a configuration comes from: files, a Secret's bytes, or the Pod that we run in.

Kubeconfigs are read through the loader of the official ``kubernetes`` package, imported inside
the functions because it costs 0.3 s and 30 MiB. It merges files, selects the context and reads
files or data; what it would do besides (temporary files with keys, plugins run while reading) is
not asked of it. What is wrong is said here, in one sentence: what, where, and how to go on.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import yaml

from kcpctl.client.config import ClientConfig
from kcpctl.client.contexts import ContextReader
from kcpctl.errors import ConfigError

__all__ = ["config_from_kubeconfig", "load_config"]

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECTIONS: Final = ("clusters", "contexts", "users")
# Reading YAML costs up to 6 us a byte, and anybody with a Secret can ask for it.
_MAX_FOREIGN_BYTES: Final = 262_144


def load_config(
    path: str | Path | None = None,
    context: str | None = None,
    *,
    allow_exec: bool | Collection[str] = True,
    environ: Mapping[str, str] | None = None,
    service_account: Path = _SERVICE_ACCOUNT,
) -> ClientConfig:
    """Return the configuration of a context, by default the current one.

    Looked for like kubectl: ``path``, else the files of $KUBECONFIG, else ``~/.kube/config``,
    else the ServiceAccount of the Pod that we run in. ``allow_exec`` says whether credential
    plugins may run, or which commands, as the kubeconfig writes them (AU-09). Raises ConfigError
    with one sentence.
    """
    environ = os.environ if environ is None else environ
    if path is not None:
        return _from_files([Path(path).expanduser()], context, environ, allow_exec)
    if listed := [Path(part) for part in environ.get("KUBECONFIG", "").split(":") if part]:
        # Like kubectl: of several files some may be missing, but not all.
        found = [file for file in listed if file.exists()]
        return _from_files(found or listed, context, environ, allow_exec)
    default = Path(environ.get("HOME") or Path.home()) / ".kube" / "config"
    if default.exists():
        return _from_files([default], context, environ, allow_exec)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return _in_cluster(service_account, environ)
    raise ConfigError(
        f"no kubeconfig: $KUBECONFIG is not set, {default} does not exist and this is not a Pod; "
        "name one with --kubeconfig"
    )


def config_from_kubeconfig(
    data: bytes,
    *,
    source: str,
    context: str | None = None,
    allow_exec: bool | Collection[str] = False,
) -> ClientConfig:
    """Return the configuration of a context of kubeconfig bytes, for example from a Secret.

    Nothing is written, run or connected to. Bytes from elsewhere must not name our files, which
    could have our own token sent to their server, and run no plugin unless ``allow_exec`` says so.
    Raises ConfigError that names ``source``.
    """
    from kubernetes.config.kube_config import ConfigNode

    if len(data) > _MAX_FOREIGN_BYTES:
        raise ConfigError(
            f"{source} is longer than {_MAX_FOREIGN_BYTES // 1024} KiB; leave one context in it "
            "(kubectl config view --flatten --minify)"
        )
    node = ConfigNode(source, _parse(data, source))
    reader = ContextReader(node, source, context, allow_files=False, allow_exec=allow_exec)
    return reader.read(os.environ)


def _from_files(
    files: Sequence[Path],
    context: str | None,
    environ: Mapping[str, str],
    allow_exec: bool | Collection[str],
) -> ClientConfig:
    from kubernetes.config.kube_config import ConfigNode, KubeConfigMerger

    documents = [_parse(_read_file(file), f"kubeconfig {file}") for file in files]
    if len(files) == 1:
        # The merger takes a path with a colon for two.
        node = ConfigNode(str(files[0]), documents[0], str(files[0]))
    else:
        node = KubeConfigMerger(":".join(map(str, files))).config
        # The first file that has one decides, as in kubectl; the merger takes the last.
        current = (document.get("current-context") for document in documents)
        context = context or next(filter(None, current), None)
    source = "kubeconfig " + ":".join(map(str, files))
    reader = ContextReader(node, source, context, allow_files=True, allow_exec=allow_exec)
    return reader.read(environ)


def _in_cluster(directory: Path, environ: Mapping[str, str]) -> ClientConfig:
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    token_file, ca_file = directory / "token", directory / "ca.crt"
    found = SimpleNamespace(api_key={})
    try:
        InClusterConfigLoader(
            token_filename=str(token_file), cert_filename=str(ca_file), environ=environ
        ).load_and_set(found)
        ca = ca_file.read_bytes()
    except (ConfigException, OSError) as error:
        raise ConfigError(
            f"the Pod's ServiceAccount in {directory} cannot be used: {error}; is it mounted "
            "(automountServiceAccountToken)?"
        ) from error
    namespace = directory / "namespace"
    return ClientConfig(
        server=found.host,
        ca=ca,
        ca_file=ca_file,
        token_file=token_file,
        default_namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        source=f"the Pod's ServiceAccount in {directory}",
    )


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"kubeconfig {file} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise ConfigError(f"kubeconfig {file} is a directory; name the file in it") from error
    except OSError as error:
        raise ConfigError(
            f"kubeconfig {file} cannot be read ({error.strerror}); check its permissions"
        ) from error


def _parse(data: bytes, source: str) -> Mapping[str, Any]:
    """Return the document, checked to have the shape that the loader takes for granted."""
    if not data.strip():
        raise ConfigError(f"{source} is empty; it must hold a kubeconfig")
    try:
        document = _document(data)
    except Exception as error:  # noqa: BLE001 - also what int() and date() say, and RecursionError
        # The error's own text quotes the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{source} is not YAML{where}; write it again") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{source} is not a kubeconfig but {_kind_of(document)}")
    if document.get("kind", "Config") != "Config" or not any(map(document.get, _SECTIONS)):
        kind = document.get("kind", "nothing with clusters and contexts")
        raise ConfigError(f"{source} is not a kubeconfig but {kind}; kind must be Config")
    for section in _SECTIONS:
        _check_section(document, section, source)
    return document


def _document(data: bytes) -> Any:
    """Return what JSON or YAML says: most JSON is YAML, and 2 ms faster to read as what it is."""
    if data.lstrip().startswith(b"{"):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(data)
    # Not libyaml, which takes a third of the time: a hundred thousand brackets overflow its stack,
    # and that ends the process.
    return yaml.safe_load(data.decode())


def _check_section(document: dict[str, Any], section: str, source: str) -> None:
    entries = document[section] = document.get(section) or []
    inner = section.removesuffix("s")
    if not isinstance(entries, list):
        raise ConfigError(f"{source}: {section} must be a list, not {_kind_of(entries)}")
    names = set()
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ConfigError(f"{source}: {section}[{number}] has no name")
        if entry["name"] in names:
            raise ConfigError(f"{source}: {section} has two of the name {entry['name']!r}")
        names.add(entry["name"])
        entry[inner] = entry.get(inner) or {}
        if not isinstance(entry[inner], dict):
            raise ConfigError(f"{source}: {section}[{number}].{inner} must be a mapping")


def _kind_of(value: object) -> str:
    names: dict[type, str] = {list: "a list", str: "plain text", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)
