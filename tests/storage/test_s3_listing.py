"""The fast listing, against a bucket of values."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.storage.s3_listing import (
    BrokenListingError,
    Entry,
    Page,
    as_listed,
    list_entries,
    read_at_once,
    read_entries,
    read_one_by_one,
    read_page,
    take_entries,
)

PAGE = 3


class FakeBucket:
    """ListObjectsV2 as Amazon describes it, over a set of keys, some keys a page."""

    def __init__(self, keys: set[str], page_size: int = PAGE) -> None:
        self.keys = sorted(keys)
        self.page_size = page_size
        self.requests = 0

    def start_page(self, prefix: str, delimiter: str, token: str) -> Future[Page]:
        self.requests += 1
        items: list[tuple[str, bool]] = []
        for key in self.keys:
            if not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            item = (prefix + head + delimiter, True) if found else (key, False)
            if item not in items:
                items.append(item)
        start = int(token or 0)
        page = items[start : start + self.page_size]
        more = str(start + self.page_size) if len(items) > start + self.page_size else ""
        future: Future[Page] = Future()
        future.set_result(
            Page(
                [Entry(name, 1, "", "", "") for name, folder in page if not folder],
                [name for name, folder in page if folder],
                more,
            )
        )
        return future


names = st.text(alphabet="ab/+& é", min_size=1, max_size=8)


@given(st.sets(names, max_size=60), st.sampled_from(["", "a/", "a//"]))
def test_every_key_is_listed_exactly_once(keys: set[str], prefix: str) -> None:
    listed = [entry.key for entry in list_entries(FakeBucket(keys).start_page, prefix)]
    assert sorted(listed) == sorted(key for key in keys if key.startswith(prefix))


def test_a_tree_of_one_page_costs_one_request() -> None:
    bucket = FakeBucket({f"r/{n}/f" for n in range(10)}, page_size=1000)
    assert len(list(list_entries(bucket.start_page, "r/"))) == 10
    assert bucket.requests == 1


def test_many_folders_in_one_cost_no_request_each() -> None:
    bucket = FakeBucket({f"r/only/{n:04}/f" for n in range(500)}, page_size=50)
    assert len(list(list_entries(bucket.start_page, "r/"))) == 500
    assert bucket.requests < 16


def test_a_listing_that_turns_in_a_circle_is_broken_off() -> None:
    def start_page(prefix: str, delimiter: str, token: str) -> Future[Page]:
        future: Future[Page] = Future()
        future.set_result(Page([Entry("k", 1, "", "", "")], [], "the same token"))
        return future

    with pytest.raises(BrokenListingError, match=r"circle"):
        list(list_entries(start_page, ""))


def test_a_page_cut_off_without_a_token_is_refused() -> None:
    with pytest.raises(BrokenListingError, match=r"without a continuation token"):
        read_page({"IsTruncated": True, "Contents": []})


BODY = (
    b"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>%s"
    b"<KeyCount>1</KeyCount></ListBucketResult>"
)
CONTENTS = (
    b"<Contents><Key>R%26D%2B/Smith+&amp;%20Co</Key><LastModified>2026-01-02T03:04:05.000Z"
    b"</LastModified><ETag>&quot;abc-2&quot;</ETag><Size>7</Size>"
    b"<Owner><ID>1</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
)


def taken(body: bytes, status: int = 200) -> tuple[bytes, object]:
    response: dict[str, object] = {"status_code": status, "body": body}
    answer: dict[str, object] = {}
    take_entries(response_dict=response, customized_response_dict=answer)
    return response["body"], answer.get("_entries")  # type: ignore[return-value]


def test_the_hook_takes_the_entries_and_leaves_the_rest() -> None:
    rest, entries = taken(BODY % (CONTENTS + CONTENTS))
    row = Entry("R&D+/Smith & Co", 7, "2026-01-02T03:04:05Z", "abc-2", "STANDARD")
    assert entries == [row, row]
    assert rest == BODY % b""


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"url", b"none") % CONTENTS,
        BODY % CONTENTS.replace(b"<Size>7</Size>", b""),
        BODY % CONTENTS.replace(b">7<", b">seven<"),
    ],
    ids=["not encoded", "no size", "no number"],
)
def test_a_body_of_another_shape_is_left_to_botocore(body: bytes) -> None:
    assert taken(body) == (body, None)


def test_folders_between_entries_are_left_to_botocore() -> None:
    folder = b"<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
    body = BODY % (CONTENTS + folder + CONTENTS)
    assert taken(body) == (body, None)


cells = st.text(alphabet='aé+% &;#"\n/' + "%20%2F%0A%C3%A9&amp;&#10;&quot;&lt", max_size=12)
ODD_CELLS = st.sampled_from(
    ["a%20b", "a+b", "%2520", "%2%20", "%%2F", "%C3", "%A9x", "%0A", "&#10;", "&amp", "&lt;", "é"]
)


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    """One entry, whose cells stand in any order; etag and storage class may be missing."""

    def text() -> str:
        return "".join(draw(st.lists(ODD_CELLS | cells, max_size=3))).replace("<", "")

    found = [f"<Key>{text()}</Key>", f"<Size>{draw(st.integers(0, 10**13))}</Size>"]
    found.append(f"<LastModified>2026-01-02T03:04:05{draw(FRACTIONS)}Z</LastModified>")
    if draw(st.integers(0, 9)):
        found.append(f"<ETag>{draw(QUOTES)}{text()}{draw(QUOTES)}</ETag>")
    if draw(st.integers(0, 9)):
        found.append(f"<StorageClass>{draw(st.sampled_from(['GLACIER', 'X']))}</StorageClass>")
    return f"<Contents>{''.join(draw(st.permutations(found)))}</Contents>".encode()


FRACTIONS = st.sampled_from(["", ".000", ".120"])
QUOTES = st.sampled_from(['"', "&quot;", "&#34;", ""])


@given(st.lists(entries(), min_size=1, max_size=5))
def test_many_entries_read_at_once_are_what_each_is_alone(contents: list[bytes]) -> None:
    one_by_one = [entry for content in contents for entry in read_one_by_one(content)]
    assert read_entries(b"".join(contents)) == one_by_one


def test_a_page_of_one_shape_is_read_at_once() -> None:
    assert read_at_once(CONTENTS * 2) == read_one_by_one(CONTENTS * 2)


def test_an_error_answer_is_left_to_botocore() -> None:
    assert taken(BODY % CONTENTS, status=500) == (BODY % CONTENTS, None)


def test_a_moment_keeps_its_fraction_only_where_there_is_one() -> None:
    whole = as_listed(Entry("p/f", 1, "2026-01-02T03:04:05Z", "e", ""), "p/")
    assert whole is not None
    assert (whole.path, whole.modified_at) == ("f", "2026-01-02T03:04:05Z")
