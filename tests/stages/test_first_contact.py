"""Is it the right company? Before anything is sent to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.settings import PRODUCTION_URL, Settings, load_settings
from qbo_attach.stages.first_contact import approve_company
from qbo_attach.stages.status import run_status
from qbo_attach.stages.undo import find_undoable
from qbo_attach.storage.files import Store
from tests.stages.case import REALM, Case, opened, plan_only
from tests.stages.command import in_terminal

NAME = f"Fake Company {REALM}"


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def settings_for(tmp_path: Path, **given: str) -> Settings:
    chosen = {"log_dir": str(tmp_path), "qbo_realm_id": REALM, **given}
    return load_settings(chosen, env_file=None)


def refuse_to_ask(question: str) -> bool:
    pytest.fail(f"asked: {question}")


def test_another_company_than_the_expected_one_gets_nothing(case: Case) -> None:
    with pytest.raises(SettingError) as refused:
        case.run(expect_company_name="Acme Inc.")
    assert "Acme Inc." in str(refused.value)
    assert NAME in str(refused.value)
    assert refused.value.exit_status == 2
    assert case.attachables() == []
    assert case.segments() == []
    summary = case.run(expect_company_name=NAME)
    assert summary.outcomes["success"] == len(case.attachables())
    with pytest.raises(SettingError, match="Acme Inc"):
        find_undoable(case.settings(expect_company_name="Acme Inc."), summary.run_id)


def test_without_a_terminal_the_name_is_told_and_recorded(case: Case) -> None:
    summary = case.run()
    assert any(NAME in note for note in summary.notes)
    assert run_status(case.settings()).company == NAME
    assert not any(NAME in note for note in case.run().notes)


def test_production_without_a_terminal_needs_the_expected_name(tmp_path: Path) -> None:
    log = Store(str(tmp_path))
    settings = settings_for(tmp_path, qbo_environment="production")
    assert settings.base_url == PRODUCTION_URL
    with pytest.raises(NotStartedError, match="EXPECT_COMPANY_NAME='Acme'"):
        approve_company(settings, log, "Acme", None)
    named = settings_for(tmp_path, qbo_environment="production", expect_company_name="Acme")
    approve_company(named, log, "Acme", refuse_to_ask)
    # It is known in this LOG_DIR from now on.
    assert approve_company(settings, log, "Acme", None) == []


def test_a_person_is_asked_once_and_again_when_the_name_is_another(tmp_path: Path) -> None:
    log = Store(str(tmp_path))
    settings = settings_for(tmp_path)
    asked: list[str] = []

    def yes(question: str) -> bool:
        asked.append(question)
        return True

    for name in ("Acme", "Acme", "Other", "Other"):
        approve_company(settings, log, name, yes)
    assert [("Acme" in question, "Other" in question) for question in asked] == [
        (True, False),
        (False, True),
    ]
    with pytest.raises(NotStartedError, match="not the right company"):
        approve_company(settings, log, "Third", lambda _: False)
    approve_company(settings, log, "Other", refuse_to_ask)


def test_a_no_in_the_terminal_sends_nothing(case: Case) -> None:
    status, shown = in_terminal(case, "run", answers={"Type yes": "no"})
    assert status == 2
    assert NAME in shown
    assert case.attachables() == []
    assert case.segments() == []


def test_the_answer_is_kept_and_the_second_run_does_not_ask(case: Case) -> None:
    plan_only(case.settings())
    status, shown = in_terminal(case, "upload", answers={"Type yes": "yes"})
    assert status == 1
    kept = json.loads(Path(case.sample.log_dir, "company_name.json").read_text())
    assert kept == {"company": NAME}
    case.sent_file().with_name("new.pdf").write_bytes(b"%PDF-1.4 new")
    status, shown = in_terminal(case, "run")
    assert status == 1
    assert "Type yes" not in shown
