"""``--config FILE``: the flags of a command as a YAML file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click
import yaml
from click.core import ParameterSource

from kcpctl.cli.options import FILE, flag
from kcpctl.errors import UsageError

__all__ = ["ConfigFile", "config_flag"]

F = TypeVar("F", bound=Callable[..., Any])
# What click has for "nothing given, and no default": None before 8.3, then an object of its own.
_UNSET: Final = click.Option(["--unset"]).default
_NULL: Final = "tag:yaml.org,2002:null"
_NOT_IN_FILES: Final = frozenset({"config", "help"})


def config_flag(command: F) -> F:
    """Add ``--config``: its value is a :class:`ConfigFile`, or None."""
    return flag(
        "--config",
        group="Manager",
        type=FILE,
        is_eager=True,
        callback=_take,
        help="YAML file of flags by their long names, as in `workers: 8`. A flag or environment "
        "variable that is given wins. Changes of verbose, logging-format, kube-api-qps, "
        "kube-api-burst, syncer-image, force-delete-after and of what begins with sync-target- "
        "are followed within 10 s; the rest needs a restart.",
    )(command)


def _take(ctx: click.Context, _param: click.Parameter, path: Path | None) -> ConfigFile | None:
    """Read the file before all other flags: it is what gives their defaults."""
    if path is None:
        return None
    return ConfigFile(path, ctx)


class _Content(NamedTuple):
    """What a file says: values as they are written and their lines, by parameter."""

    text: str
    values: Mapping[str, str]
    lines: Mapping[str, int]


class ConfigFile:
    """A file of flags, and what it said when it was last taken.

    Raises UsageError for a file that cannot be read, and with file, line and key for each thing in
    it that is no flag or no value for it. Whether the values go together is the command's matter:
    :meth:`located` adds file and line to what it finds.

    Values are read as they are written, not as YAML types them: ``no`` may be a name, and ``1:30``
    is not 90.
    """

    def __init__(self, path: Path, ctx: click.Context) -> None:
        self.path = path
        self._ctx = ctx
        self._params = {
            option[2:]: param
            for param in ctx.command.params
            if param.name not in _NOT_IN_FILES
            for option in param.opts
            if option.startswith("--")
        }
        self._take(self._parse(self._read()))

    @property
    def values(self) -> Mapping[str, str]:
        """What the file sets, as it is written, by the name of the parameter."""
        return self._content.values

    def _take(self, content: _Content) -> None:
        self._content = content
        self._ctx.default_map = dict(content.values)

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(
                f"--config {self.path} cannot be read: {why}; correct it or leave the flag out"
            ) from error

    def reread(self, check: Callable[[], object]) -> bool:
        """Read the file again; return whether it says something else than before.

        Raises UsageError as the constructor does, and when ``check``, which is called with the new
        values in force, raises it; what was taken last stays.
        """
        text, before = self._read(), self._content
        if text == before.text:
            return False
        self._take(self._parse(text))
        try:
            check()
        except UsageError as error:
            located = self.located(error)
            self._take(before)
            raise located from error
        return self.values != before.values

    def located(self, error: UsageError) -> UsageError:
        """Return the error with the line of the first flag in it that the file decides."""
        for key in re.findall(r"--([a-z][a-z-]+)", str(error)):
            name = self._params[key].name if key in self._params else None
            if name and name in self._content.lines and self.decides(name):
                return UsageError(f"{self.path}:{self._content.lines[name]}: {error}")
        return error

    def decides(self, name: str) -> bool:
        """Whether neither the command line nor the environment has this parameter."""
        return self._ctx.get_parameter_source(name) not in {
            ParameterSource.COMMANDLINE,
            ParameterSource.ENVIRONMENT,
        }

    def value(self, name: str) -> Any:
        """Return a parameter as the file has it now, or else its default."""
        (param,) = (param for param in self._params.values() if param.name == name)
        raw, _ = param.consume_value(self._ctx, {})
        return None if raw is _UNSET else param.type_cast_value(self._ctx, raw)

    def key(self, name: str) -> str:
        """Return what the file calls a parameter."""
        return next(key for key, param in self._params.items() if param.name == name)

    def _parse(self, text: str) -> _Content:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise UsageError(f"{self.path}{line}: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{self.path}: {error}") from error
        if root is None:
            return _Content(text, {}, {})
        if not isinstance(root, yaml.MappingNode):
            raise UsageError(f"{self.path}:1: write one flag a line, as in `workers: 8`")
        values: dict[str, str] = {}
        lines: dict[str, int] = {}
        problems = []
        for key_node, value_node in root.value:
            line = key_node.start_mark.line + 1
            try:
                name, value = self._item(key_node, value_node)
                if name in values:
                    raise ValueError("is there twice")
                values[name], lines[name] = value, line
            except ValueError as error:
                key = getattr(key_node, "value", "") if _is_scalar(key_node) else "the key"
                problems.append(f"{self.path}:{line}: {key} {error}")
        if problems:
            raise UsageError("; ".join(problems))
        return _Content(text, values, lines)

    def _item(self, key_node: yaml.Node, value_node: yaml.Node) -> tuple[str, str]:
        """Return the parameter's name and its value; raises ValueError with what is wrong."""
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None:
            raise ValueError("is not a flag's name")
        param = self._params.get(key)
        if param is None or param.name is None:
            raise ValueError(f"is no flag of this command{_did_you_mean(key, self._params)}")
        text = _text(value_node)
        try:
            param.type_cast_value(self._ctx, text)
        except click.BadParameter as error:
            raise ValueError(f"is wrong: {error.message.rstrip('.')}") from error
        return param.name, text


def _text(node: yaml.Node) -> str:
    """Return a value as it is written; a list as a flag has it, with commas."""
    if isinstance(node, yaml.SequenceNode) and all(_is_scalar(one) for one in node.value):
        return ",".join(one.value for one in node.value)
    if not _is_scalar(node):
        raise ValueError("takes one value or a list of them")
    if node.tag == _NULL:
        raise ValueError("has no value; give it one or leave it out")
    text: str = node.value
    return text


def _is_scalar(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _did_you_mean(key: str, known: Mapping[str, object]) -> str:
    dashed = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", key).replace("_", "-").lower().lstrip("-")
    near = [dashed] if dashed in known else difflib.get_close_matches(dashed, known, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
