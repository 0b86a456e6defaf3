"""The flow with a mapping made by matching."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbo_attach.core.tables import VERIFICATION, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import make_sample
from qbo_attach.storage.artifacts import read_table_at
from tests.flows.case import Case, task_states

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(180)]


def test_the_flow_uploads_by_a_matched_mapping_and_matches_again_in_each_run(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = make_sample(
        str(tmp_path / "sample"), files=30, awkward=False, with_desktop_export=True
    )
    with running(FakeOptions(entities=sample.qbo_records_url, qbdt_mapping=False)) as company:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "QBO_BASE_URL": company.base_url,
            "QBO_ACCESS_TOKEN": "any",
            "QBO_REQUESTS_PER_MIN": "6000",
            "LEGACY_CLIENTS": "*",
            "DESKTOP_EXPORT": sample.desktop_export_url,
        }.items():
            monkeypatch.setenv(name, value)
        case = Case(sample, str(tmp_path / "log"), company)
        state = case.run(mapping_source="match")
        assert state.is_completed(), state.message
        assert case.uploads() == sample.outcome_counts["success"]
        log = read_table_at(str(tmp_path / "log" / VERIFICATION), VerificationRow)
        assert all(row.match_rule for row in log)
        # The mapping of matching is no file whose digest could stand for it.
        assert task_states(case.run(mapping_source="match"))["mapping"] == "Completed"
