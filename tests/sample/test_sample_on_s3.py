"""On S3 the sample has every case but those that no key, or not this server, can hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qbo_attach.sample import make_sample, read_expected
from qbo_attach.storage.files import Store
from tests.conftest import S3Server

MAY_BE_LEFT_OUT = {"not_utf8", "new_line", "control_character"}


@pytest.mark.timeout(120)
def test_a_listing_shows_exactly_the_expected_files(
    s3_server: S3Server, s3_bucket: str, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(s3_server)
    sample = make_sample(f"{s3_bucket}/a folder", files=200, size_kb=(1, 2))
    assert {"not_utf8"} <= set(sample.left_out) <= MAY_BE_LEFT_OUT
    listed = {file.path: file.size_bytes for file in Store(sample.files_dir).list_files()}
    rows = read_expected(sample.expected_url)
    assert sorted(listed) == sorted(row.file_path for row in rows)
    assert len(rows) == sample.files == 200
    twins = [row for row in rows if row.note in {"twins_unicode", "twins_case"}]
    assert len(twins) == 4
    names = Store(s3_bucket).list_names("a folder/data")
    assert names == ["mapping_export.csv"]
