"""A zip archive on S3: read by ranges, each of about what is asked for."""

from __future__ import annotations

import os

import pytest

from qbo_attach.storage.files import SourceChangedError, Store
from qbo_attach.storage.place import SMALL_BYTES
from tests.conftest import S3Server
from tests.storage.faulty import faulty_proxy
from tests.storage.test_archive import rows, zipped
from tests.storage.test_store import listed, put, read


@pytest.mark.proof
def test_a_member_costs_one_request_of_about_its_size(s3_server: S3Server, s3_bucket: str) -> None:
    bodies = {f"Attach/C/Txn/80{n}/a.pdf": os.urandom(50_000) for n in range(200)}
    big = os.urandom(SMALL_BYTES + 1)
    data = zipped(("big", big), *bodies.items())
    plain = Store(s3_bucket, s3_server.options)
    put(plain, "Attach.zip", data)
    with faulty_proxy(s3_server.endpoint) as proxy:
        options = {**s3_server.options, "endpoint_url": proxy.endpoint}
        places: dict[str, dict[str, object]] = {
            f"{s3_bucket}/Attach.zip": options,
            f"zip://Attach::{s3_bucket}/Attach.zip": {"s3": options},
        }
        for url, given in places.items():
            store = Store(url, given)
            proxy.seen.clear()
            found = rows(store)
            assert proxy.seen == ["HEAD", "GET"]
            proxy.seen.clear()
            for path, row in list(found.items())[-20:]:
                assert read(store, row) == bodies[f"Attach/{path.removeprefix('Attach/')}"]
            assert proxy.seen == ["GET"] * 20
            if "big" in found:
                assert read(store, found["big"]) == big


def test_an_archive_that_is_replaced_is_noticed(s3_server: S3Server, s3_bucket: str) -> None:
    plain = Store(s3_bucket, s3_server.options)
    put(plain, "Attach.zip", zipped(("a", b"old")))
    store = Store(f"{s3_bucket}/Attach.zip", s3_server.options)
    file = listed(store, "a")
    put(plain, "Attach.zip", zipped(("a", b"new")))
    with pytest.raises(SourceChangedError, match="archive was replaced"):
        read(store, file)


def test_a_directory_longer_than_a_range_is_read(s3_moto: S3Server) -> None:
    bucket = s3_moto.new_bucket()
    names = [f"Attach/{'long folder name ' * 12}/{n}.pdf" for n in range(18_000)]
    data = zipped(*((name, b"x") for name in names), method=0)
    put(Store(bucket, s3_moto.options), "a.zip", data)
    store = Store(f"{bucket}/a.zip", s3_moto.options)
    found = rows(store)
    assert list(found) == names
    assert read(store, found[names[12_345]]) == b"x"
