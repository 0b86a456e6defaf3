"""A sample and a fake company brought together, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qbo_attach.core.tables import RUNLOG, VERIFICATION, RunLogRow, VerificationRow
from qbo_attach.fake_qbo import FakeOptions, running
from qbo_attach.fake_qbo.server import RunningFake
from qbo_attach.sample import Sample, compare, make_sample, read_expected
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.inventory import run_inventory
from qbo_attach.stages.mapping import run_mapping
from qbo_attach.stages.plan import run_plan
from qbo_attach.stages.verify import run_verify
from qbo_attach.stages.whole import RunSummary, run_all
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store

REALM = "1234567890"
FILES = 120


@dataclass
class Case:
    """A sample, a fake company, and settings that bring them together."""

    sample: Sample
    fake: RunningFake

    def settings(self, **given: Any) -> Settings:
        chosen = {
            "files_dir": self.sample.files_dir,
            "data_dir": self.sample.data_dir,
            "log_dir": self.sample.log_dir,
            "legacy_clients": "*",
            "qbo_base_url": self.fake.base_url,
            "qbo_realm_id": REALM,
            "qbo_access_token": "any",
            "qbo_requests_per_min": 60_000,
            "qbo_settle_s": 0,
        }
        return load_settings({**chosen, **given}, env_file=None)

    def run(self, **given: Any) -> RunSummary:
        return run_all(self.settings(**given), lambda *_: None, lambda _: None)

    def attachables(self) -> list[dict[str, Any]]:
        held: list[dict[str, Any]] = self.fake.ledger()["attachables"]
        return held

    def differences(self, **how: bool) -> list[str]:
        log = Store(self.sample.log_dir)
        return compare(
            read_expected(self.sample.expected_url),
            read_table(log, VERIFICATION, VerificationRow),
            read_table(log, RUNLOG, RunLogRow),
            self.attachables(),
            **how,
        )

    def sent_file(self) -> Path:
        """An ordinary file that the first run is to send."""
        row = next(
            row
            for row in read_expected(self.sample.expected_url)
            if row.outcome == "success" and not row.note
        )
        return Path(self.sample.files_dir, row.file_path)

    def segments(self) -> list[Path]:
        return sorted(Path(self.sample.log_dir, "runlog", REALM).glob("*.jsonl"))


def opened(tmp_path: Path, files: int = FILES, **options: Any) -> Iterator[Case]:
    sample = make_sample(str(tmp_path / "sample"), files=files)
    with running(FakeOptions(mapping=sample.mapping_url, limits="off", **options)) as fake:
        yield Case(sample, fake)


def plan_only(settings: Settings) -> None:
    for stage in (run_inventory, run_mapping, run_verify, run_plan):
        stage(settings)
