"""What only S3 has: keys of folders, archives, credentials, a network that fails."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from qbo_attach.core.errors import StorageError
from qbo_attach.core.model import ListedFile
from qbo_attach.storage.files import SourceUnreadableError, Store
from qbo_attach.storage.place import PIECE_BYTES, SMALL_BYTES
from tests.conftest import S3_SECRET, S3Server
from tests.storage.faulty import faulty_proxy, silent_server
from tests.storage.test_store import put, read


def bucket_of(url: str) -> str:
    return url.removeprefix("s3://").split("/")[0]


def fill(server: S3Server, bucket: str, keys: list[str]) -> None:
    """Many small objects, quickly: behind moto's HTTP, or by threads."""
    if server.name == "moto":
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]
        for key in keys:
            backend.put_object(bucket, key, key.encode())
        return
    client = server.client()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: client.put_object(Bucket=bucket, Key=k, Body=k.encode()), keys))


class TestListing:
    def test_many_pages_are_the_rows_that_plain_s3fs_lists(
        self, s3_server: S3Server, s3_bucket: str
    ) -> None:
        count = 1_100  # a page has 1,000
        clients = ["Käse & Co", "b+c", "d#e", "f"]
        keys = [f"root/Attach/{clients[n % 4]}/Txn/80{n % 50}/file {n}.pdf" for n in range(count)]
        keys += ["root/Attach/loose.pdf", "root/Attach/f/also loose.pdf", "other/x.pdf"]
        fill(s3_server, bucket_of(s3_bucket), keys)
        plain = s3fs.S3FileSystem(
            **s3_server.options, skip_instance_cache=True, use_listings_cache=False
        )
        root = f"{bucket_of(s3_bucket)}/root"
        expected = {
            name.removeprefix(f"{root}/"): (entry["size"], entry["ETag"].strip('"'))
            for name, entry in plain.find(root, detail=True).items()
        }
        rows = list(Store(f"{s3_bucket}/root", s3_server.options).list_files())
        assert len(rows) == len(expected) == count + 2
        assert {row.path: (row.size_bytes, row.etag) for row in rows} == expected
        if s3_server.name == "weed":  # moto takes seconds for it
            whole_bucket = list(Store(s3_bucket, s3_server.options).list_files())
            assert sorted(row.path for row in whole_bucket) == sorted(keys)

    def test_a_level_of_more_than_a_page_of_folders_is_listed_through(
        self, s3_moto: S3Server
    ) -> None:
        url = s3_moto.new_bucket()
        keys = [f"Attach/Company/Txn/{n}/f.pdf" for n in range(1500)] + ["Attach/Company/List/1/f"]
        fill(s3_moto, bucket_of(url), keys)
        rows = list(Store(f"{url}/Attach", s3_moto.options).list_files())
        assert sorted(f"Attach/{row.path}" for row in rows) == sorted(keys)

    def test_keys_of_folders_are_no_files_unless_they_hold_bytes(self, s3_store: Store) -> None:
        put(s3_store, "dir/f", b"x")
        put(s3_store, "dir/", b"")
        put(s3_store, "empty/", b"")
        assert [row.path for row in s3_store.list_files()] == ["dir/f"]
        assert s3_store.list_names("empty") == []

    def test_a_key_of_a_folder_with_bytes_is_a_row_with_its_problem(
        self, s3_moto: S3Server
    ) -> None:
        store = Store(f"{s3_moto.new_bucket()}/root", s3_moto.options)
        put(store, "dir/", b"bytes")
        put(store, "", b"bytes")
        rows = {row.path: row for row in store.list_files()}
        assert set(rows) == {"dir/", "/"}
        assert all("holds bytes" in row.problem for row in rows.values())

    def test_archived_objects_are_rows_with_their_problem(self, s3_moto: S3Server) -> None:
        url = s3_moto.new_bucket()
        for name in ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"):
            s3_moto.client().put_object(
                Bucket=bucket_of(url), Key=name, Body=b"x", StorageClass=name
            )
        store = Store(url, s3_moto.options)
        problems = {row.path: row.problem for row in store.list_files()}
        assert problems == {
            "GLACIER": "is archived (GLACIER); restore it to the class STANDARD",
            "DEEP_ARCHIVE": "is archived (DEEP_ARCHIVE); restore it to the class STANDARD",
            "GLACIER_IR": "",
            "STANDARD_IA": "",
        }
        with pytest.raises(SourceUnreadableError, match=r"archive"):
            read(store, ListedFile("GLACIER", 1))

    def test_another_writers_changes_are_seen_at_once(self, s3_store: Store) -> None:
        put(s3_store, "f", b"1")
        assert [row.size_bytes for row in s3_store.list_files()] == [1]
        other = Store(s3_store.url, s3_store._place._options)  # type: ignore[attr-defined]
        put(other, "f", b"22")
        put(other, "g", b"x")
        assert sorted((r.path, r.size_bytes) for r in s3_store.list_files()) == [("f", 2), ("g", 1)]
        assert s3_store.read_bytes("f") == b"22"
        other.remove("f")
        assert s3_store.info("f") is None


class TestPlaceThatIsNotThere:
    def test_a_missing_bucket_is_told_by_every_way_in(self, s3_server: S3Server) -> None:
        store = Store("s3://no-such-bucket-here/root", s3_server.options)
        reading_only = s3_server.name == "weed"  # SeaweedFS makes a bucket for who writes to it
        for way in ways_in(store, write=not reading_only):
            with pytest.raises(StorageError, match=r"no such bucket; check its name"):
                way()

    def test_a_missing_prefix_is_an_error_not_an_empty_listing(self, s3_store: Store) -> None:
        put(s3_store, "there/f", b"x")
        missing = Store(s3_store.child_url("ther"), s3_store._place._options)  # type: ignore[attr-defined]
        with pytest.raises(StorageError, match=r"nothing in the bucket has this prefix"):
            list(missing.list_files())

    def test_an_existing_empty_bucket_or_folder_has_no_rows(
        self, s3_server: S3Server, s3_bucket: str
    ) -> None:
        assert list(Store(s3_bucket, s3_server.options).list_files()) == []
        if s3_server.name == "moto":  # SeaweedFS does not list the key of an empty folder
            folder = Store(f"{s3_bucket}/root", s3_server.options)
            put(folder, "", b"")
            assert list(folder.list_files()) == []


def ways_in(store: Store, *, write: bool = True) -> list[Callable[[], object]]:
    ways: list[Callable[[], object]] = [
        lambda: list(store.list_files()),
        lambda: store.list_names("log"),
        lambda: store.read_bytes("f"),
        lambda: read(store, ListedFile("f", 1)),
        lambda: read(store, ListedFile("f", SMALL_BYTES + 1)),
    ]
    if write:
        ways += [lambda: put(store, "f", b"x"), lambda: store.create_once("log/1", b"x")]
    return ways


@pytest.mark.s3
class TestCredentials:
    @pytest.mark.parametrize(
        ("key", "secret", "sentence"),
        [
            ("AKIDFORTESTS", "wrong", "the secret key is wrong .* AWS_SECRET_ACCESS_KEY"),
            ("NOBODY", S3_SECRET, "does not know this access key; check AWS_ACCESS_KEY_ID"),
        ],
        ids=["wrong secret", "unknown key"],
    )
    def test_wrong_credentials_stop_every_way_in(
        self, s3_weed: S3Server, key: str, secret: str, sentence: str
    ) -> None:
        url = s3_weed.new_bucket()
        store = Store(url, {**s3_weed.options, "key": key, "secret": secret})
        for way in ways_in(store):
            with pytest.raises(StorageError, match=sentence):
                way()

    def test_a_denied_read_is_the_files_own_problem_and_a_denied_write_is_the_places(
        self, s3_weed: S3Server
    ) -> None:
        url = s3_weed.new_bucket()
        put(Store(url, s3_weed.options), "f", b"x")
        lister = {**s3_weed.options, "key": "lister", "secret": "secret-of-lister"}
        store = Store(url, lister)
        (file,) = store.list_files()
        with pytest.raises(SourceUnreadableError, match=r"^f: may not be read"):
            read(store, file)
        for way in (
            lambda: store.read_bytes("f"),
            lambda: put(store, "g", b"x"),
            lambda: store.create_once("g", b"x"),
            lambda: store.probe_create_once(""),
        ):
            with pytest.raises(StorageError, match=r"access is denied"):
                way()

    def test_a_denied_listing_is_never_an_empty_one(self, s3_weed: S3Server) -> None:
        url = s3_weed.new_bucket()
        store = Store(url, {**s3_weed.options, "key": "writer", "secret": "secret-of-writer"})
        put(store, "f", b"x")
        with pytest.raises(StorageError, match=r"access is denied"):
            list(store.list_files())


def test_no_credentials_at_all_are_told(
    s3_moto: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = Store("s3://bucket/root", {"endpoint_url": s3_moto.endpoint})
    for way in ways_in(store):
        with pytest.raises(
            StorageError, match=r"no S3 credentials were found; set AWS_ACCESS_KEY_ID"
        ):
            way()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"nobody.*check AWS_PROFILE"):
        list(Store("s3://bucket/root").list_files())


def test_the_usual_variables_are_enough(
    s3_server: S3Server, s3_bucket: str, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(s3_server)
    put(Store(s3_bucket), "f", b"x")
    assert [row.path for row in Store(s3_bucket).list_files()] == ["f"]


def test_fsspecs_variables_are_enough_even_where_the_key_is_a_number(s3_moto: S3Server) -> None:
    url = s3_moto.new_bucket()
    put(Store(url, s3_moto.options), "f", b"x")
    script = (
        "import sys; from qbo_attach.storage.files import Store; "
        "print([f.path for f in Store(sys.argv[1]).list_files()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url],
        env={
            "FSSPEC_S3_ENDPOINT_URL": s3_moto.endpoint,
            "FSSPEC_S3_KEY": "1234567890",
            "FSSPEC_S3_SECRET": "1234567890",
            "FSSPEC_S3_CONFIG_KWARGS": '{"s3": {"addressing_style": "path"}}',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "['f']\n", done.stderr


class TestNetwork:
    def test_a_dead_endpoint_is_told(self) -> None:
        options = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"}
        store = Store("s3://bucket/root", options, deadline_s=20)
        with ThreadPoolExecutor(8) as pool:
            for error in pool.map(error_of, ways_in(store)):
                assert "the S3 endpoint cannot be reached" in str(error)

    def test_a_silent_server_ends_every_way_in_at_the_deadline(self) -> None:
        with silent_server() as endpoint:
            options = {"endpoint_url": endpoint, "key": "k", "secret": "s"}
            store = Store("s3://bucket/root", options, deadline_s=1)
            with ThreadPoolExecutor(8) as pool:
                started = time.monotonic()
                errors = list(pool.map(error_of, ways_in(store)))
                took_s = time.monotonic() - started
        assert {str(e).split(": ", 1)[1] for e in errors} == {
            "the S3 endpoint gave no whole answer within 1 s; run again later"
        }
        assert took_s < 5

    def test_a_lost_answer_to_create_once_is_read_back(self, s3_server: S3Server) -> None:
        url = s3_server.new_bucket()
        with faulty_proxy(s3_server.endpoint) as proxy:
            store = Store(url, {**s3_server.options, "endpoint_url": proxy.endpoint})
            proxy.faults += [("PUT", "lose")] * 2
            assert store.create_once("log/1", b"ours, nonce 1")
            assert proxy.faults == []
            assert store.create_once("log/2", b"theirs")
            proxy.faults += [("PUT", "lose")] * 2
            assert not store.create_once("log/2", b"ours, nonce 2")
            assert proxy.faults == []
        assert Store(url, s3_server.options).read_bytes("log/1") == b"ours, nonce 1"
        assert Store(url, s3_server.options).read_bytes("log/2") == b"theirs"

    def test_a_cut_answer_is_asked_for_again(self, s3_moto: S3Server) -> None:
        url = s3_moto.new_bucket()
        body = b"0123456789" * ((SMALL_BYTES + PIECE_BYTES) // 10)
        direct = Store(url, s3_moto.options)
        put(direct, "small", b"0123456789" * 10_000)
        put(direct, "large", body)
        rows = {row.path: row for row in direct.list_files()}
        with faulty_proxy(s3_moto.endpoint) as proxy:
            store = Store(url, {**s3_moto.options, "endpoint_url": proxy.endpoint})
            proxy.faults += [("GET", "cut"), ("GET", "cut")]
            assert read(store, rows["small"]) == b"0123456789" * 10_000
            proxy.faults += [("GET", "cut"), ("GET", "lose"), ("GET", "refuse")]
            assert read(store, rows["large"]) == body
            proxy.faults += [("GET", "cut"), ("GET", "refuse")]
            assert {row.path for row in store.list_files()} == {"small", "large"}
            assert proxy.faults == []

    def test_half_a_page_that_calls_itself_whole_is_asked_for_again(
        self, s3_moto: S3Server
    ) -> None:
        url = s3_moto.new_bucket()
        keys = [f"file {n}" for n in range(40)]
        fill(s3_moto, bucket_of(url), keys)
        with faulty_proxy(s3_moto.endpoint) as proxy:
            proxy.faults += [("GET", "halve")]
            store = Store(url, {**s3_moto.options, "endpoint_url": proxy.endpoint})
            assert sorted(row.path for row in store.list_files()) == sorted(keys)
            assert proxy.seen == ["GET", "GET"]

    def test_a_small_file_costs_one_request(self, s3_moto: S3Server) -> None:
        url = s3_moto.new_bucket()
        with faulty_proxy(s3_moto.endpoint) as proxy:
            store = Store(url, {**s3_moto.options, "endpoint_url": proxy.endpoint})
            put(store, "f", b"x" * 50_000)
            (file,) = store.list_files()
            proxy.seen.clear()
            assert len(read(store, file)) == 50_000
            assert proxy.seen == ["GET"]


def error_of(way: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        way()
    return caught.value
