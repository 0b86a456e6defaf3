"""Places as people write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.errors import StorageError
from qbo_attach.storage.files import Store, absolute_url, is_absolute
from qbo_attach.storage.urls import join, split

pytestmark = pytest.mark.skipif(os.name == "nt", reason="paths as on POSIX")


@pytest.mark.parametrize(
    ("given_url", "absolute"),
    [
        ("/data/Attach", "/data/Attach"),
        ("/data/Attach/", "/data/Attach"),
        ("/", "/"),
        ("/data/a::b", "/data/a::b"),
        ("/data/50%20#?x", "/data/50%20#?x"),
        ("file:///data/Attach/", "/data/Attach"),
        ("FILE:///data", "/data"),
        ("local:///data", "/data"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a b#?%20+/", "s3://bucket/a b#?%20+"),
        ("S3://Bucket/Key", "s3://Bucket/Key"),
        ("s3a://bucket/x", "s3://bucket/x"),
        ("memory://", "memory://"),
        ("memory://x/", "memory://x"),
        ("gs://bucket/x", "gs://bucket/x"),
        ("zip://Attach::/data/a.zip", "zip://Attach::/data/a.zip"),
        ("zip://::s3://bucket/a.zip", "zip://::s3://bucket/a.zip"),
        ("zip::file:///data/a.zip", "zip::/data/a.zip"),
        ("simplecache::s3://bucket/x", "simplecache::s3://bucket/x"),
    ],
)
def test_a_place_gets_one_absolute_form(given_url: str, absolute: str) -> None:
    assert absolute_url(given_url) == absolute
    assert absolute_url(absolute) == absolute
    assert is_absolute(given_url)


def test_relative_places_are_resolved_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for url, absolute in {
        "data": f"{tmp_path}/data",
        "./data/../x": f"{tmp_path}/x",
        ".": str(tmp_path),
        "~/Attach": f"{tmp_path}/home/Attach",
        "file://data": f"{tmp_path}/data",
        "file://~/data": f"{tmp_path}/home/data",
        "zip://x::a.zip": f"zip://x::{tmp_path}/a.zip",
    }.items():
        assert absolute_url(url) == absolute
        assert not is_absolute(url)


def test_a_windows_path_is_absolute_and_refused_on_another_system() -> None:
    for url in ("C:\\Attach", "c:/Attach", "file://C:/Attach"):
        assert is_absolute(url)
        with pytest.raises(StorageError, match=r"Windows path"):
            absolute_url(url)
    assert is_absolute("\\\\server\\share")


@pytest.mark.parametrize("url", ["", "  ", "s3://", "s3:///"])
def test_a_place_without_a_name_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match=r"no place is given|names no bucket"):
        absolute_url(url)


@pytest.mark.parametrize(
    ("url", "child"),
    [
        ("/", "/a b/c"),
        ("/data", "/data/a b/c"),
        ("memory://", "memory://a b/c"),
        ("s3://bucket", "s3://bucket/a b/c"),
        ("s3://bucket/x", "s3://bucket/x/a b/c"),
        ("zip://Attach::/d/a.zip", "zip://Attach/a b/c::/d/a.zip"),
        ("zip://::s3://b/a.zip", "zip://a b/c::s3://b/a.zip"),
        ("simplecache::s3://b/x", "simplecache::s3://b/x/a b/c"),
    ],
)
def test_a_path_is_joined_where_it_belongs(url: str, child: str) -> None:
    assert Store(url).child_url("a b/c") == child


@given(
    st.sampled_from(
        ["/", "/data", "memory://", "memory://x", "s3://b", "zip://::/d/a.zip", "zip://x::/d/a.zip"]
    ),
    st.text(min_size=1).filter(
        lambda name: "/" not in name and "::" not in name and ":" not in name
    ),
)
def test_split_undoes_join(url: str, name: str) -> None:
    assert split(join(url, name)) == (url, name)
