"""The benchmarks themselves: that they are whole, and that their smallest subject runs."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import joining, packing, planning, results, sampled
from benchmarks.__main__ import SUBJECTS
from benchmarks.bench import Bench, at_most
from benchmarks.ground import Company
from benchmarks.plot import growth_plot
from qbo_attach.core.uploading import LADDER


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_can_be_measured(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)


def test_the_join_agrees_with_the_bare_script_and_lands_on_the_page(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "scratch", quick=True, runs=1)
    out = tmp_path / "results.md"
    results.write({"joining": joining.measure(bench)}, bench, out, "no peers")
    page = out.read_text("utf-8")
    assert "A quick run" in page
    assert page.count("| bare csv + dict |") == 2
    assert "not at this size" in page


@pytest.mark.proof
def test_a_second_run_and_the_bare_script_come_to_the_same_tables(tmp_path: Path) -> None:
    section = planning.measure(Bench(tmp_path / "scratch", quick=True, runs=1))
    assert [goal.met for goal in section.goals] == [None, True]
    assert "the bare script's time" in section.notes[0]
    log, out = tmp_path / "scratch" / "tree-1000" / "log", tmp_path / "scratch/bare-second-run"
    assert planning.difference(log, out) == ""
    told = out / "told.csv"
    told.write_text(told.read_text("utf-8").replace("success", "error", 1), "utf-8")
    assert "differ in row 2" in planning.difference(log, out)


def test_other_sizes_than_the_figures_name_decide_nothing(tmp_path: Path) -> None:
    assert Bench(tmp_path).decides
    assert not Bench(tmp_path, quick=True).decides
    half = Bench(tmp_path, scale=0.5)
    assert not half.decides
    assert half.size(170_000, 10) == 85_000


def test_a_stack_that_ends_in_no_frame_is_read_as_far_as_it_goes() -> None:
    assert sampled.room({"no": "frame"}) == "other"


def test_a_goal_is_met_at_its_bound_and_undecided_at_another_size() -> None:
    assert at_most("x", 1.3, 1.3, "", decides=True).met is True
    assert at_most("x", 1.3, 1.31, "", decides=True).met is False
    assert at_most("x", 1.3, 9.0, "", decides=False).met is None


def test_another_seed_is_another_company_and_the_same_seed_the_same() -> None:
    one, again, other = (list(Company(70, seed).rows()) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert len({row.file_path for row in one}) == 70


@pytest.mark.parametrize("mbit_s", packing.MBITS)
@pytest.mark.parametrize("size_bytes", packing.SIZES.values())
def test_no_group_of_the_ladder_nears_the_deadline_by_the_model(
    size_bytes: int, mbit_s: int
) -> None:
    found = [packing.modelled(size_bytes, mbit_s, group) for group in LADDER]
    assert max(cell.request_s for cell in found) < packing.DEADLINE_S / 2
    rates = [cell.files_a_minute for cell in found]
    assert rates == sorted(rates)


def test_the_plot_is_an_image_with_a_line_a_series() -> None:
    series = {"a": [(10, 1.0, 5.0), (100, 2.0, 6.0)], "b": [(10, 0.0, 0.0), (100, 0.5, 1.0)]}
    image = ET.fromstring(growth_plot(series))
    lines = [node for node in image.iter() if node.tag.endswith("polyline")]
    assert len(lines) == 2 * len(series)
