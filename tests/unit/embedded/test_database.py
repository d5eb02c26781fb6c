from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcpctl.embedded.database import Database, DataDirError
from kcpctl.embedded.store import ObjectKey, Store

Dump = dict[tuple[str, ObjectKey], tuple[int, bool, dict[str, Any]]]


def opened(directory: Path, *, workspaces: bool = True) -> Database:
    return Database(directory, workspaces=workspaces, schedule=lambda flush: None)


def dump(store: Store) -> Dump:
    return {
        (resource, key): (stored.revision, stored.is_custom, stored.obj)
        for resource in store.storage_keys()
        for key, stored in store.list(resource)
    }


def read(database: Database) -> Dump:
    return {
        (resource, key): (stored.revision, stored.is_custom, stored.obj)
        for resource, key, stored in database.objects()
    }


def put(store: Store, name: str, **data: Any) -> None:
    obj = {"metadata": {"name": name}, **data}
    store.put("xs", ObjectKey("root", "a", name), obj, is_custom=False)


def with_data(data: dict[str, Any], obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "data": data}


def edit(directory: Path, *statements: str) -> None:
    connection = sqlite3.connect(directory / "objects.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "rewrite", "flush", "reopen", "crash"]),
        st.sampled_from(["xs", "ys"]),
        st.builds(ObjectKey, st.sampled_from(["c1", "c2"]), st.just("n"), st.sampled_from("abc")),
        st.dictionaries(st.text(max_size=3), st.none() | st.integers(-9, 9) | st.text()),
    ),
    max_size=20,
)


@settings(max_examples=50)  # each opens a file several times
@given(OPERATIONS)
def test_any_flushed_operations_are_there_again_and_no_others(
    operations: list[tuple[str, str, ObjectKey, dict[str, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = opened(Path(directory))
        store = Store(10, database)
        kept, revision = dump(store), 0
        for operation, resource, key, data in operations:
            if operation == "put":
                obj = {"metadata": {"name": key.name}, "data": data}
                store.put(resource, key, obj, is_custom=resource == "ys")
            elif operation == "delete":
                store.delete(resource, key)
            elif operation == "rewrite":
                store.rewrite(resource, key.cluster, partial(with_data, data))
            elif operation == "flush":
                store.flush()
            else:
                if operation == "reopen":
                    database.close()
                    kept, revision = dump(store), database.revision
                else:
                    database._connection.close()
                database = opened(Path(directory))
                assert (read(database), database.revision) == (kept, revision)
                store = Store(max(10, database.revision + 1), database)
                for loaded, its_key, stored in database.objects():
                    store.load(loaded, its_key, stored)
            if operation == "flush":
                kept, revision = dump(store), database.revision
        database.close()


def test_the_revision_of_a_deletion_is_kept(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = Store(10, database)
    put(store, "a")
    store.delete("xs", ObjectKey("root", "a", "a"))
    database.close()
    again = opened(tmp_path)
    assert (again.revision, read(again)) == (12, {})
    again.close()


def test_what_a_new_schema_makes_of_objects_is_kept(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = Store(1, database)
    put(store, "a", data=1)
    store.flush()
    store.rewrite("xs", "root", partial(with_data, {"data": 2}))
    database.close()
    again = opened(tmp_path)
    ((revision, _, obj),) = read(again).values()
    assert (revision, obj["data"]) == (2, {"data": 2})
    again.close()


def test_the_port_is_kept(tmp_path: Path) -> None:
    database = opened(tmp_path)
    database.port = 1234
    put(Store(1, database), "a")
    database.close()
    again = opened(tmp_path)
    assert again.port == 1234
    again.close()


def test_what_nobody_waits_for_is_flushed_soon(tmp_path: Path) -> None:
    soon: list[Callable[[], None]] = []
    database = Database(tmp_path, workspaces=True, schedule=soon.append)
    store = Store(1, database)
    put(store, "a")
    put(store, "b")
    assert (len(soon), len(read(database))) == (1, 0)
    soon.pop()()
    assert len(read(database)) == 2
    put(store, "c")
    assert len(soon) == 1
    database.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "data"
    database = opened(directory)
    put(Store(1, database), "a")
    database.flush()
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == {"objects.db": 0o600, "objects.db-wal": 0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    database.close()


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    database = opened(tmp_path)
    with pytest.raises(DataDirError, match=r"objects\.db is in use by another process: end that"):
        opened(tmp_path)
    database.close()
    opened(tmp_path).close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "objects.db"
    file.write_bytes(b"my diary" * 1000)
    with pytest.raises(DataDirError, match=r"objects\.db is not a database of kcpctl: name"):
        opened(tmp_path)
    assert file.read_bytes() == b"my diary" * 1000


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    edit(tmp_path, "CREATE TABLE diary (day TEXT)")
    before = (tmp_path / "objects.db").read_bytes()
    with pytest.raises(DataDirError, match=r"is not a database of kcpctl: name another data"):
        opened(tmp_path)
    assert (tmp_path / "objects.db").read_bytes() == before


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    edit(tmp_path, "PRAGMA user_version = 2")
    with pytest.raises(DataDirError, match=r"has format 2 and this kcpctl knows 1: use the kcpctl"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("written", "served", "words"),
    [
        (True, False, "holds workspaces: run without --plain"),
        (False, True, "holds one ordinary cluster: run it with --plain"),
    ],
)
def test_the_objects_of_the_other_kind_of_server_are_refused(
    tmp_path: Path, written: bool, served: bool, words: str
) -> None:
    opened(tmp_path, workspaces=written).close()
    with pytest.raises(DataDirError, match=words):
        opened(tmp_path, workspaces=served)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = Store(1, database)
    for number in range(200):
        put(store, f"n{number}", data="x" * 500)
    database.close()
    file = tmp_path / "objects.db"
    data = bytearray(file.read_bytes())
    data[8192:20480] = b"\xff" * 12288
    file.write_bytes(data)
    with pytest.raises(DataDirError, match=r"objects\.db is damaged .*: put a copy in its place"):
        opened(tmp_path)


def test_damage_that_no_start_would_meet_is_refused(tmp_path: Path) -> None:
    database = opened(tmp_path)
    put(Store(1, database), "a")
    database.close()
    connection = sqlite3.connect(tmp_path / "objects.db")
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'")
    ((size,),) = connection.execute("PRAGMA page_size")
    connection.close()
    with (tmp_path / "objects.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    with pytest.raises(DataDirError, match=r"objects\.db is damaged"):
        opened(tmp_path)


def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    edit(tmp_path, "DELETE FROM state")
    with pytest.raises(DataDirError, match=r"objects\.db is damaged"):
        opened(tmp_path)


def test_a_damaged_object_is_refused(tmp_path: Path) -> None:
    database = opened(tmp_path)
    put(Store(1, database), "a")
    database.close()
    edit(tmp_path, "UPDATE objects SET object = X'7B7B'")
    database = opened(tmp_path)
    with pytest.raises(DataDirError, match=r"objects\.db is damaged"):
        read(database)
    database.close()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match=r"data/objects\.db cannot be written: Not a directory"):
        opened(tmp_path / "file" / "data")


def test_a_database_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).close()
    connect = sqlite3.connect

    def read_only(path: Path, **settings: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(f"file:{path}?mode=ro", uri=True, **settings)
        return made

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(DataDirError, match=r"objects\.db cannot be written: .*; make room"):
        opened(tmp_path)


def test_after_a_failed_flush_each_one_fails(tmp_path: Path) -> None:
    failures: list[None] = []
    database = Database(
        tmp_path,
        workspaces=True,
        schedule=lambda flush: None,
        on_failure=lambda: failures.append(None),
    )
    store = Store(1, database)
    database._connection.execute("PRAGMA max_page_count = 1")  # as a full disk
    for number in range(20):
        put(store, f"n{number}", data="x" * 4096)
    for _ in range(2):
        with pytest.raises(DataDirError, match=r"cannot be written: database or disk is full; mak"):
            store.flush()
    assert len(failures) == 1
    database.close()
    again = opened(tmp_path)
    assert read(again) == {}
    again.close()
