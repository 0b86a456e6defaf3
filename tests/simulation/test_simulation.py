"""No crash, fault or second process loses or doubles a file: the simulation as tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.uploading import AfterLook, after_settled_look
from qbo_attach.engine import settling
from tests.simulation.campaign import Tally, run_campaign, run_seeds
from tests.simulation.coverage import REACHED
from tests.simulation.through_httpx import run_http_trial
from tests.simulation.trial import run_trial

PROOF_TRIALS = 50_000
HTTP_TRIALS = 2_000


def shown(tally: Tally) -> str:
    """The counts, in the test's output."""
    text = tally.text()
    print(text)
    return text


def test_no_trial_loses_or_doubles_a_file() -> None:
    tally = run_seeds(range(1, 301))
    assert not tally.failed, shown(tally)


def test_no_trial_through_the_http_client_and_a_store_loses_or_doubles_a_file() -> None:
    tally = run_seeds(range(1, 41), run_http_trial)
    assert not tally.failed, shown(tally)


def test_a_seed_decides_everything() -> None:
    def trace() -> list[str]:
        lines: list[str] = []
        run_trial(7, lines.append)
        return lines

    first = trace()
    assert len(first) > 10
    assert trace() == first


def test_a_blind_resend_is_found_and_told_with_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine without its looks: what the simulation is there to find."""

    def blind(files: Sequence[GroupFile], _found: object, **facts: Any) -> AfterLook:
        return after_settled_look(files, {}, **facts)

    monkeypatch.setattr(settling, "after_settled_look", blind)
    tally = run_seeds(range(1, 61))
    assert tally.failed
    seed = min(tally.failures)
    assert f"python -m tests.simulation --seeds {seed}-{seed} --trace" in tally.text()
    assert run_trial(seed).verdict.failures == tally.failures[seed]


@pytest.mark.proof
@pytest.mark.timeout(3_000)
def test_proof_of_fifty_thousand_trials() -> None:
    tally = run_campaign(1_000_001, 1_000_000 + PROOF_TRIALS)
    text = shown(tally)
    assert tally.trials == PROOF_TRIALS
    assert not tally.failed, text
    never = [what for what in REACHED if not tally.seen[what]]
    assert not never, f"no trial went through {never}"


@pytest.mark.proof
@pytest.mark.timeout(3_000)
def test_proof_through_the_http_client_and_a_store() -> None:
    tally = run_campaign(2_000_001, 2_000_000 + HTTP_TRIALS, one=run_http_trial)
    text = shown(tally)
    assert tally.trials == HTTP_TRIALS
    assert not tally.failed, text
