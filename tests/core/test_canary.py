"""Which attachments are sent first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qbo_attach.core.canary import choose_canary
from qbo_attach.core.tables import PlanRow


def plan_row(entity_type: str, name: str, size: int, action: str = "send") -> PlanRow:
    return PlanRow("", "", "", name, name, entity_type, "1", action, "", name, size_bytes=str(size))


def test_every_type_comes_before_a_second_of_one() -> None:
    rows = [plan_row("Bill", f"{n}.pdf", 10) for n in range(50)]
    rows += [plan_row("Invoice", "i.png", 1_000), plan_row("Vendor", "v.docx", 99_999)]
    assert choose_canary(rows, 3) == [0, 50, 51]


def test_endings_and_sizes_follow_types() -> None:
    rows = [plan_row("Bill", "a.pdf", 10), plan_row("Bill", "b.pdf", 11)]
    rows += [plan_row("Bill", "c.pdf", 10_000), plan_row("Bill", "d.png", 10)]
    assert choose_canary(rows, 3) == [0, 2, 3]


def test_rows_that_are_not_sent_are_not_counted() -> None:
    rows = [plan_row("Bill", "a.pdf", 1, "skip"), plan_row("Bill", "b.pdf", 1)]
    assert choose_canary(rows, 5) == [0]
    assert choose_canary([], 5) == []


rows_of = st.lists(
    st.builds(
        plan_row,
        st.sampled_from(["Bill", "Invoice", "Vendor"]),
        st.sampled_from(["a.pdf", "a.png", "a.csv"]),
        st.integers(1, 10**8),
        st.sampled_from(["send", "send", "skip"]),
    ),
    max_size=40,
)


@given(rows_of, st.integers(1, 50))
def test_a_choice_is_as_many_as_asked_for_each_once_and_covers_the_types(
    rows: list[PlanRow], count: int
) -> None:
    sending = [row for row in rows if row.action == "send"]
    chosen = choose_canary(rows, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(sending))
    types = {row.qbo_entity_type for row in sending}
    assert len({sending[n].qbo_entity_type for n in chosen}) == min(len(types), len(chosen))
