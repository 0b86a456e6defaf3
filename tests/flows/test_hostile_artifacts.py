"""What the Prefect UI shows is Markdown: no name that somebody gave becomes markup in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from flows.companies import Company
from flows.portfolio import Ended
from flows.reconcile import reconcile
from qbo_attach.fake_qbo import Behaviour
from tests.flows.case import REALM, Case, artifacts

MARKUP = "![p](evil.example)[c](evil.example)<img src=x>|a|\n\n# big"
NAMES = ("![p](evil.example).exe", "[c](evil.example)<img src=x>.exe", "a|b\n\n# big.pdf")


def harmless(text: str) -> None:
    """No picture, no HTML, and no link but to a file of ours."""
    for token in _all(MarkdownIt("commonmark").enable("table").parse(text)):
        assert token.type not in {"image", "html_inline", "html_block"}, text
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith("file:///"), text
        if token.type == "heading_open":
            assert "# big" not in text.replace("\\# big", ""), text


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or [])


def shown(state: Any) -> str:
    """Every artifact's words; strings of tables are cells, and Markdown as well."""
    text = ""
    for one in artifacts(state).values():
        data = one.data
        if isinstance(data, str) and data.startswith("["):
            data = json.loads(data)
        cells = data if isinstance(data, list) else [{"": data}]
        texts = [str(value) for row in cells for value in row.values()]
        for each in (*texts, one.description or ""):
            harmless(each)
            text += each
    return text


@pytest.mark.prefect
@pytest.mark.timeout(180)
def test_no_name_of_a_file_or_company_is_markup_in_an_artifact(case: Case) -> None:
    state = case.company.company.state
    state.behaviour = Behaviour(company_name=f"Acme {MARKUP}")
    sent = next(Path(case.sample.files_dir, "Attach").rglob("Txn/*/*.pdf"))
    for name in NAMES:
        sent.with_name(name).write_bytes(b"%PDF-1.4")
    assert "evil.example" in shown(case.run(dry_run=True)) + shown(case.run())

    theirs = state.ledger.all()[0]
    renamed = {**theirs.fields, "FileName": MARKUP.replace("\n", " ")}
    state.save(replace(theirs, fields=renamed))
    folders = {"files_dir": case.sample.files_dir, "data_dir": case.sample.data_dir}
    given: dict[str, Any] = {**folders, "log_dir": case.log_dir, "realm_id": REALM, "sample": 0}
    assert "evil.example" in shown(reconcile(**given, return_state=True))


def test_no_company_of_a_portfolio_is_markup_in_its_table() -> None:
    company = Company(f"Acme {MARKUP}", REALM, "/f", "/d", "/l")
    for value in (
        Ended(company, "Failed", f"{MARKUP} stopped", completed=False, runs=1).row().values()
    ):
        harmless(str(value))
