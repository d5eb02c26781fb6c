"""The database of a data directory: what the store holds, in one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from kcpctl.embedded.store import ObjectKey, Stored

__all__ = ["DataDirError", "Database"]

_FILE: Final = "objects.db"
_APPLICATION_ID: Final = 0x6B637064  # "kcpd", in the file's header
_FORMAT: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE objects (
    resource TEXT NOT NULL, cluster TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    revision INTEGER NOT NULL, is_custom INTEGER NOT NULL, object BLOB NOT NULL,
    PRIMARY KEY (resource, cluster, namespace, name)
);
CREATE TABLE state (revision INTEGER NOT NULL, workspaces INTEGER NOT NULL, port INTEGER NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT}
"""
_PUT: Final = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)"
_DELETE: Final = (
    "DELETE FROM objects WHERE resource = ? AND cluster = ? AND namespace = ? AND name = ?"
)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


class DataDirError(ValueError):
    """The data directory cannot be used; the message names the file and the way out."""


class Database:
    """The objects of a server in ``directory``, as they were after the last ``flush``.

    Promises: (1) what ``flush`` returned for is there after the process was killed at any point,
    and the records between two flushes are there together or not at all; (2) one process at a
    time. A power cut may lose the last flushes (SQLite's WAL without a sync of each commit), but
    leaves an older consistent state. Once a flush has failed, each later one fails too: memory
    and disk differ from then on. ``port`` is where it was served last, 0 at first; it is written
    with the next flush. Event loop's thread only; ``close`` must be called.

    Parameters
    ----------
    directory: made when it does not exist, for its owner alone.
    workspaces: what the server serves; a database of the other kind is refused.
    schedule: calls its argument soon (``loop.call_soon``), so that what nobody waits for is
        flushed too.
    on_failure: called once, when a flush fails.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workspaces: bool,
        schedule: Callable[[Callable[[], None]], object],
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self.path = directory / _FILE
        self._schedule = schedule
        self._on_failure = on_failure
        self._failure: DataDirError | None = None
        self._pending: dict[tuple[str, ObjectKey], Stored | None] = {}
        try:
            self._connection = _connect(self.path)
        except (OSError, sqlite3.Error) as error:
            raise self._refusal(error) from error
        try:
            self.revision, self.port = self._open(workspaces)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._refusal(error) from error
        except BaseException:
            self._connection.close()
            raise

    def _open(self, workspaces: bool) -> tuple[int, int]:
        """Take the file's lock for good, make or check what is in it; return revision and port."""
        execute = self._connection.execute
        # The lock is kept from the first transaction to the end, however that comes.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")
        (application_id,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not application_id:
            for statement in _SCHEMA.split(";"):
                execute(statement)
            execute("INSERT INTO state VALUES (0, ?, 0)", (workspaces,))
        elif application_id != _APPLICATION_ID:
            raise DataDirError(
                f"{self.path} is not a database of kcpctl: name another data directory, or move "
                "that file away to start empty"
            )
        elif version != _FORMAT:
            raise DataDirError(
                f"{self.path} has format {version} and this kcpctl knows {_FORMAT}: use the "
                "kcpctl that wrote it, or name another data directory"
            )
        execute("COMMIT")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict.splitlines()[-1])
        found = execute("SELECT revision, workspaces, port FROM state").fetchone()
        if found is None:
            raise sqlite3.DatabaseError("it does not say what it holds")
        revision, kind, port = found
        if bool(kind) != workspaces:
            one, other = ("workspaces", "run") if kind else ("one ordinary cluster", "run it")
            way = "without" if kind else "with"
            raise DataDirError(
                f"{self.path} holds {one}: {other} {way} --plain, or name another data directory"
            )
        return int(revision), int(port)

    def _refusal(self, error: Exception) -> DataDirError:
        """Say what is wrong with the file, and what to do."""
        text = (error.strerror if isinstance(error, OSError) else "") or str(error)
        if "locked" in text:
            return DataDirError(
                f"{self.path} is in use by another process: end that, or name another data "
                "directory"
            )
        if "not a database" in text:
            return DataDirError(
                f"{self.path} is not a database of kcpctl: name another data directory, or move "
                "that file away to start empty"
            )
        if isinstance(error, OSError | sqlite3.OperationalError):
            return DataDirError(
                f"{self.path} cannot be written: {text}; make room or give this user the right "
                "to write there, or name another data directory"
            )
        return DataDirError(
            f"{self.path} is damaged ({text}): put a copy in its place, or move it and the "
            f"{_FILE}-wal beside it away to start empty"
        )

    def objects(self) -> Iterator[tuple[str, ObjectKey, Stored]]:
        """Yield the resource, key and object of everything; raises DataDirError."""
        try:
            for row in self._connection.execute("SELECT * FROM objects"):
                resource, cluster, namespace, name, revision, is_custom, data = row
                stored = Stored(_decoder.decode(data), revision, is_custom=bool(is_custom))
                yield resource, ObjectKey(cluster, namespace, name), stored
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._refusal(error) from error

    def record(self, resource: str, key: ObjectKey, stored: Stored | None, revision: int) -> None:
        """Note an object's new version, None for its deletion, for the next flush."""
        if not self._pending:
            self._schedule(self._flush_soon)
        self._pending[resource, key] = stored
        self.revision = revision

    def flush(self) -> None:
        """Write what was recorded; raises DataDirError, from then on always."""
        if self._failure is not None:
            raise self._failure
        if not self._pending:
            return
        try:
            self._write()
        except sqlite3.Error as error:
            self._failure = self._refusal(error)
            self._on_failure()
            raise self._failure from error
        self._pending.clear()

    def _write(self) -> None:
        execute = self._connection.execute
        execute("BEGIN")
        for (resource, key), stored in self._pending.items():
            if stored is None:
                execute(_DELETE, (resource, *key))
            else:
                data = _encoder.encode(stored.obj)
                execute(_PUT, (resource, *key, stored.revision, stored.is_custom, data))
        execute("UPDATE state SET revision = ?, port = ?", (self.revision, self.port))
        execute("COMMIT")

    def _flush_soon(self) -> None:
        # on_failure was called, and whoever waits for a flush gets it too.
        with contextlib.suppress(DataDirError):
            self.flush()

    def close(self) -> None:
        """Write what is left and let the file go."""
        self._flush_soon()
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # There are Secrets in it. SQLite gives the files beside it the mode of this one.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    return sqlite3.connect(path, timeout=0, isolation_level=None)
