"""kill -9 of the real process at many points: nothing is lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import S3Server
from tests.kills.proof import Proof, new_runner, prove
from tests.kills.trial import Kill, Runner, Trial

SEED = 20_261

CALM = Trial(
    seed=SEED,
    plain=False,
    group=3,
    marker="tag",
    fail_rate=0.0,
    latency_ms=10,
    replay="on",
    existing="off",
    kills=(),
)


def killed(*kills: Kill, plain: bool = False) -> Trial:
    return replace(CALM, kills=kills, plain=plain)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = new_runner(tmp_path / "kills", SEED, None)
    yield made
    made.close()


def test_runs_killed_amid_a_request_and_amid_a_write_leave_each_file_once(runner: Runner) -> None:
    trial = killed(Kill("body.half", 2), Kill("disk.torn", 9), Kill("settle.look:after"))
    verdict = runner.carry_out(trial)
    assert verdict.wrong == []
    assert verdict.struck[0][0] == "body.half"


def test_a_trial_can_be_done_again_from_its_text() -> None:
    trial = killed(Kill("disk.link:after", 3), Kill("delay", 1, 0.25), plain=True)
    assert Trial.read(str(trial)) == trial


def test_a_file_that_is_there_twice_fails_its_trial(runner: Runner) -> None:
    with runner.case(CALM) as case:
        assert case.forked(runner.warm)[0] == 0
        assert case.forked(runner.warm)[0] == 0
        assert case.differences(runner.expected) == []
        held = case.fake.ledger()["attachables"][0]
        ref = {"EntityRef": held["refs"][0]}
        twice = {"FileName": held["FileName"], "AttachableRef": [ref], "text": "twice"}
        case.fake.company.control.seed(twice, case.fake.realm)
        assert any("2 times" in sentence for sentence in case.differences(runner.expected))


def covers_each_phase(proof: Proof) -> bool:
    left = {state for _, state in proof.struck}
    return {
        "before the first segment",
        "intent, no effect, no outcome",
        "intent, effect, no outcome",
        "intent, effect and answer, no outcome",
        "all intents have outcomes, run log not ended",
        "run log ended, tables being derived",
    } <= left


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_150_kills_with_the_log_on_disk_lose_and_double_nothing(tmp_path: Path) -> None:
    proof = prove(150, SEED, tmp_path, plain=40)
    print(proof.told())
    assert not proof.failed, proof.told()
    assert covers_each_phase(proof), proof.told()


@pytest.mark.proof
@pytest.mark.s3
@pytest.mark.timeout(600)
def test_50_kills_with_everything_on_s3_lose_and_double_nothing(
    tmp_path: Path, s3_weed: S3Server
) -> None:
    proof = prove(50, SEED, tmp_path, plain=10, server=s3_weed)
    print(proof.told())
    assert not proof.failed, proof.told()
    assert covers_each_phase(proof), proof.told()
