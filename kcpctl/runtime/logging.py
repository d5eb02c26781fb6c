"""Logs: a constant message plus key=value pairs, as text or JSON.

``get_logger(__name__).info("Synced", cluster="root", name="east")``. Fields that hold for a whole
piece of work (controller, cluster, reconcileID) are set once with :func:`log_fields`.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import IO, Any, Literal

__all__ = [
    "JsonFormatter",
    "Logger",
    "TextFormatter",
    "configure",
    "current_fields",
    "get_logger",
    "log_fields",
    "set_log_fields",
]

_fields: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar("log_fields")
_ExcInfo = bool | BaseException | tuple[type[BaseException], BaseException, TracebackType | None]


class Logger:
    """``logging.Logger`` with key=value fields. Configured by the program, never at import."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def _write(self, level: int, message: str, exc_info: Any, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            everything = {**_fields.get({}), **fields}
            self._logger.log(
                level, message, exc_info=exc_info, extra={"fields": everything}, stacklevel=3
            )

    def debug(self, message: str, *, exc_info: _ExcInfo | None = None, **fields: object) -> None:
        """Log detail that ``-v`` shows."""
        self._write(logging.DEBUG, message, exc_info, fields)

    def info(self, message: str, *, exc_info: _ExcInfo | None = None, **fields: object) -> None:
        """Log a change of state; rare."""
        self._write(logging.INFO, message, exc_info, fields)

    def warning(self, message: str, *, exc_info: _ExcInfo | None = None, **fields: object) -> None:
        """Log what somebody may want to look into."""
        self._write(logging.WARNING, message, exc_info, fields)

    def error(self, message: str, *, exc_info: _ExcInfo | None = None, **fields: object) -> None:
        """Log what failed and is not going to be retried, or a bug."""
        self._write(logging.ERROR, message, exc_info, fields)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(name))


@contextlib.contextmanager
def log_fields(**fields: object) -> Iterator[None]:
    """Add ``fields`` to every line logged inside the block by this task or thread."""
    token = _fields.set({**_fields.get({}), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def set_log_fields(fields: Mapping[str, object]) -> None:
    """Let every line that this task or thread logs from now on have ``fields`` and no others.

    For loops that own their thread: cheaper than :func:`log_fields`, and the mapping is not looked
    into before a line is logged.
    """
    _fields.set(fields)


def current_fields() -> Mapping[str, object]:
    """Return the fields that hold for what this task or thread logs now."""
    return _fields.get({})


def _record_fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


class TextFormatter(logging.Formatter):
    """``I 12:00:00.000 kcpctl.module: Message key=value``; a traceback only when asked for."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line (or lines, with a traceback)."""
        clock = self.formatTime(record, "%H:%M:%S")
        line = (
            f"{record.levelname[0]} {clock}.{int(record.msecs):03d} {record.name}: "
            f"{record.getMessage()}"
        )
        for key, value in _record_fields(record).items():
            text = str(value)
            line += f" {key}={json.dumps(text) if not text or set(text) & _QUOTED else text}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if self._tracebacks:
                line += "\n" + self.formatException(record.exc_info)
            else:
                line += f" error={json.dumps(f'{type(error).__name__}: {error}')}"
        return line


_QUOTED = set(' "=\n\t')


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (seconds), level, logger, msg, then the fields."""

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_record_fields(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            entry["error"] = f"{type(error).__name__}: {error}"
            if self._tracebacks:
                entry["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(
    *,
    style: Literal["text", "json"] = "text",
    verbosity: int = 0,
    stream: IO[str] | None = None,
) -> None:
    """Send kcpctl's logs to ``stream`` (standard error).

    ``verbosity`` 0 shows INFO and errors in one line; 1 and more shows DEBUG and tracebacks; -1
    shows warnings and errors only.
    """
    formatter = {"text": TextFormatter, "json": JsonFormatter}[style](tracebacks=verbosity > 0)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    logger = logging.getLogger("kcpctl")
    logger.handlers[:] = [handler]
    levels = (logging.INFO, logging.DEBUG, logging.WARNING)  # of 0, 1 and -1
    logger.setLevel(levels[max(-1, min(verbosity, 1))])
    logger.propagate = False
