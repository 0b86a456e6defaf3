"""MAPPING_SOURCE=qbo against the fake company, over a socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbo_attach.core.errors import NotStartedError
from qbo_attach.core.tables import MAPPING, MappingRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.sample import make_sample
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.company_mapping import run_mapping_stage
from qbo_attach.storage.artifacts import read_table_at


def _settings(base_url: str, data_dir: Path) -> Settings:
    given = {
        "qbo_base_url": base_url,
        "qbo_realm_id": "1234567890",
        "qbo_access_token": "any",
        "qbo_requests_per_min": "60000",
        "mapping_source": "qbo",
        "data_dir": str(data_dir),
    }
    return load_settings(given, env_file=None)


def _pairs(url: str) -> set[tuple[str, str]]:
    rows = read_table_at(url, MappingRow)
    return {(row.legacy_txnid_norm.strip().upper(), row.qbo_entity_id) for row in rows}


@pytest.mark.timeout(120)
def test_qbos_own_table_becomes_the_mapping(tmp_path: Path) -> None:
    sample = make_sample(str(tmp_path / "sample"), files=130)
    with running(FakeOptions(mapping=sample.mapping_url)) as company:
        run_mapping_stage(_settings(company.base_url, tmp_path / "data"))
    assert _pairs(str(tmp_path / "data" / MAPPING)) == _pairs(sample.mapping_url)


@pytest.mark.timeout(120)
def test_a_company_without_the_table_says_why_and_leaves_no_mapping(tmp_path: Path) -> None:
    with (
        running(FakeOptions(qbdt_mapping=False)) as company,
        pytest.raises(NotStartedError, match="QbdtEntityIdMapping"),
    ):
        run_mapping_stage(_settings(company.base_url, tmp_path / "data"))
    assert not (tmp_path / "data" / MAPPING).exists()
