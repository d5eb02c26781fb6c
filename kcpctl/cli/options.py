"""Flags: Go-style durations, an environment variable for each flag, and help in groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import click

from kcpctl.apis.duration import parse_duration
from kcpctl.apis.kcp import ExportReference
from kcpctl.logicalcluster import is_valid_path

__all__ = [
    "COMMANDS",
    "DIRECTORY",
    "DURATION",
    "EXPORT",
    "FILE",
    "DurationType",
    "GroupedCommand",
    "flag",
]

F = TypeVar("F", bound=Callable[..., Any])
_EXPORT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class DurationType(click.ParamType[float]):
    """``90s``, ``1m30s``, ``500ms``; a bare number is seconds. The value is seconds as a float."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        try:
            return parse_duration(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _CommandsType(click.ParamType[frozenset[str]]):
    """Commands separated by commas; blanks around them do not count."""

    name = "commands"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        """Return the set of them."""
        if isinstance(value, frozenset):
            return value
        return frozenset(filter(None, (part.strip() for part in str(value).split(","))))


class _ExportType(click.ParamType[ExportReference]):
    """``PATH:NAME`` of an APIExport; the path has colons itself."""

    name = "export"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> ExportReference:
        """Return path and name."""
        if isinstance(value, ExportReference):
            return value
        path, _, name = str(value).strip().rpartition(":")
        if not (is_valid_path(path) and _EXPORT_NAME.fullmatch(name)):
            self.fail(
                f"{value!r} is no APIExport; write its workspace and its name, as "
                "root:kcpctl:kcpctl for the export kcpctl in root:kcpctl",
                param,
                ctx,
            )
        return ExportReference(path=path, name=name)


COMMANDS: Final = _CommandsType()
EXPORT: Final = _ExportType()
DURATION: Final = DurationType()
FILE: Final = click.Path(dir_okay=False, path_type=Path)
# Absolute: processes that are started with it work in directories of their own.
DIRECTORY: Final = click.Path(file_okay=False, resolve_path=True, path_type=Path)


class _GroupedOption(click.Option):
    """An option that knows under which heading the help shows it."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose help lists its options under headings, in the order of definition."""

    last_group: ClassVar[str] = "Other"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each group."""
        groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                group = param.group if isinstance(param, _GroupedOption) else self.last_group
                groups[group].append(record)
        for group, records in groups.items():
            with formatter.section(f"{group} flags"):
                formatter.write_dl(records)
        formatter.write_paragraph()
        formatter.write_text("Each flag --some-flag is also read from $KCPCTL_SOME_FLAG.")


def flag(name: str, *aliases: str, group: str, **settings: Any) -> Callable[[F], F]:
    """Return the decorator of one flag.

    The environment variable of ``--some-flag`` is ``KCPCTL_SOME_FLAG``; the flag wins (decision
    18). ``settings`` are click's; the default is shown unless there is none.
    """
    if not settings.get("is_flag"):
        settings.setdefault("show_default", settings.get("default") is not None)
    long = next(part for part in (name, *aliases) if part.startswith("--")).split("/")[0]
    settings.setdefault("envvar", "KCPCTL_" + long[2:].replace("-", "_").upper())
    settings.setdefault("show_envvar", False)
    return click.option(name, *aliases, cls=_GroupedOption, group=group, **settings)
