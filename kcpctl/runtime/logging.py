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
import time
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
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


def _pairs(record: logging.LogRecord) -> dict[str, object]:
    """Return what is told beside the message; what went wrong is called ``err``, as by klog."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    pairs = {"err" if key == "error" else key: value for key, value in fields.items()}
    if record.exc_info and (error := record.exc_info[1]) is not None:
        pairs["err"] = f"{type(error).__name__}: {error}"
    return pairs


class TextFormatter(logging.Formatter):
    """klog's lines: ``I1121 12:00:00.000000    4242 pool.py:88] "Message" key="value" count=3``.

    Detail is I too; klog knows I, W, E and F only. A traceback follows when asked for.
    """

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line (or lines, with a traceback)."""
        # Of one reading of the clock: msecs is rounded, and may be of the next second.
        seconds, micros = divmod(int(record.created * 1_000_000), 1_000_000)
        clock = time.strftime("%m%d %H:%M:%S", time.localtime(seconds))
        line = (
            f"{_LETTERS.get(record.levelno, 'I')}{clock}.{micros:06d} {record.process or 0:7d} "
            f"{record.filename}:{record.lineno}] {_quoted(record.getMessage())}"
        )
        for key, value in _pairs(record).items():
            plain = isinstance(value, int | float) and not isinstance(value, bool | Enum)
            line += f" {key}={value if plain else _quoted(_text(value))}"
        if self._tracebacks and record.exc_info and record.exc_info[1] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


_LETTERS = {logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (milliseconds), level, caller, msg, v, then the fields, err.

    ``v`` is 4 for detail that ``-v`` shows, else 0.
    """

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "ts": round(record.created * 1000, 3),
            "level": record.levelname.lower(),
            "caller": f"{'/'.join(PurePath(record.pathname).parts[-2:])}:{record.lineno}",
            "msg": record.getMessage(),
            "v": 0 if record.levelno > logging.DEBUG else 4,
            **_pairs(record),
        }
        if self._tracebacks and record.exc_info and record.exc_info[1] is not None:
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
