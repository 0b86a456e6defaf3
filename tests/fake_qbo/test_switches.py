"""Questions that only a sandbox can answer: the fake answers each of them either way."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from qbo_attach.fake_qbo.entities import Entities, Mapped
from qbo_attach.fake_qbo.options import Behaviour
from tests.fake_qbo.asking import Asking, File, code, codes, items, ref, said

PDF = ("a.pdf", b"%PDF-1.4", ref("Invoice", "75"))
FORM = "/oauth2/v1/tokens/bearer"

PLAIN = {
    "latency_ms": "a figure, no question",
    "clock_offset_s": "a figure, no question",
    "book_close_date": "a fact of the company, no question",
    "company_name": "a fact of the company, no question",
    "access_token_s": "a documented figure",
    "refresh_token_s": "a documented figure",
    "auto_consent": "for rehearsals without a browser",
}


def test_each_switch_is_named_where_its_question_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sandbox-questions.md").read_text("utf-8")
    missing = [f.name for f in fields(Behaviour) if f.name not in PLAIN and f"`{f.name}`" not in text]  # fmt: skip
    assert missing == []


def test_a_refused_request_uses_its_requestid_up_or_does_not() -> None:
    for remembered in (False, True):
        asking = Asking(replay_refusals=remembered)
        refused = asking.upload(raw=b"no form", requestid="r")
        assert (refused.status, code(refused)) == (400, "2010")
        again = asking.upload(PDF, requestid="r")
        assert again.status == (400 if remembered else 200)
        assert len(asking.ledger()) == (0 if remembered else 1)


def test_a_large_file_is_refused_alone_where_there_is_a_bound() -> None:
    asking = Asking(max_file_bytes=10)
    assert codes(asking.upload(PDF, ("b.pdf", b"x" * 11, {}))) == ["", "6041"]
    assert codes(Asking().upload(("b.pdf", b"x" * 11, {}))) == [""]


def test_files_beyond_a_count_are_passed_over_where_there_is_one() -> None:
    files: list[File] = [(f"{n}.pdf", b"x", {}) for n in range(1, 6)]
    asking = Asking(max_files=3)
    assert len(items(asking.upload(*files))) == 3
    assert [row["FileName"] for row in asking.ledger()] == ["1.pdf", "2.pdf", "3.pdf"]
    assert len(items(Asking().upload(*files))) == 5


def test_a_character_may_be_forbidden_in_names() -> None:
    asking = Asking(refused_characters="<>%")
    assert codes(asking.upload(("50%.pdf", b"x", {}), PDF)) == ["2040", ""]
    assert codes(Asking().upload(("50%.pdf", b"x", {}))) == [""]


def test_types_are_compared_with_case_or_without() -> None:
    sent = ("a.pdf", b"x", ref("invoice", "75"))
    assert codes(Asking().upload(sent)) == [""]
    asking = Asking(types_with_case=True)
    assert codes(asking.upload(sent, PDF)) == ["6050", ""]


@pytest.mark.parametrize(("rows", "pages"), [(1000, [5, 0]), (2, [2, 2, 1, 0]), (0, [5, 5])])
def test_the_mapping_tables_pages_are_long_short_or_none(rows: int, pages: list[int]) -> None:
    mapped = [Mapped(str(n), f"{n}-1", "BILL", "BILL") for n in range(5)]
    asking = Asking(entities=Entities(mapped), qbdt_page_rows=rows)
    start, seen = 1, []
    for _ in pages:
        statement = f"select * from QbdtEntityIdMapping startposition {start} maxresults 1000"
        page = asking.query(statement).get("QbdtEntityIdMapping", [])
        seen.append(len(page))
        start += len(page)
    assert seen == pages


def test_a_refresh_token_used_twice_is_refused_or_ends_all_of_its_company() -> None:
    for answer, alive in (("refuse", True), ("revoke", False)):
        asking = Asking(rotation="always", reused_refresh=answer)
        oauth = asking.company.oauth
        first = oauth.issue("refresh", "1234567890", 1000).value

        def refresh(token: str, asking: Asking = asking) -> dict[str, str]:
            body = f"grant_type=refresh_token&refresh_token={token}&client_id=c".encode()
            answered: dict[str, str] = said(asking.call("POST", FORM, body))
            return answered

        second = refresh(first)["refresh_token"]
        assert refresh(first)["error"] == "invalid_grant"
        assert ("access_token" in refresh(second)) is alive


def test_a_refused_request_counts_into_the_window_or_does_not() -> None:
    for counts, served in ((False, 200), (True, 429)):
        asking = Asking(limits="exact", refusals_count=counts)
        for _ in range(10):
            assert asking.call("GET", "companyinfo/1").status == 200
        asking.clock.now += 0.9
        assert asking.call("GET", "companyinfo/1").status == 429
        for _ in range(9):
            asking.call("GET", "companyinfo/1")
        asking.clock.now += 0.2
        assert asking.call("GET", "companyinfo/1").status == served
