"""report.html and report.md: true, small, harmless whatever files are called."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_attach.core import tables
from qbo_attach.core.tables import RunLogRow, VerificationRow
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.stages.reconcile import Depth, run_reconcile
from qbo_attach.stages.report import run_report
from qbo_attach.stages.report_page import plain_markdown, render_page, render_ticket, size_text
from qbo_attach.stages.verify import run_verify
from qbo_attach.storage.artifacts import read_table_at
from qbo_attach.storage.files import Store
from tests.conftest import S3Server
from tests.stages.books import Books
from tests.stages.browser import Page, browsing
from tests.stages.case import Case, opened, plan_only
from tests.stages.report_case import RUN, Seen, gathered, made, settings_of
from tests.stages.undoing import undone

HOSTILE = [
    "<script>alert(1)</script>",
    "</style></title><img src=https://evil.example/x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' onfocus='alert(1)",
    "{{ settings }}{% raw %}",
    "&lt;b&gt; &amp;",
    "--><!-- ]]>",
    "\u202egpj.exe\u202c \u2066\u200f\u200b",
    "a\x00b\x07c\x1b[31md\r\ne\tf\x85",
    "javascript:alert(1)//",
    "\ufffe\udcff",
    "=cmd|'/C calc'!A0",
    "x" * 5_000,
]


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path)


def page_of(case: Case) -> str:
    return Path(case.sample.log_dir, "report.html").read_text("utf-8")


def ticket_of(case: Case) -> str:
    return Path(case.sample.log_dir, "report.md").read_text("utf-8")


def test_a_run_leaves_a_page_whose_sums_are_those_of_the_tables(case: Case) -> None:
    refused = case.sent_file().name
    case.fake.company.plan.add(
        [Rule("item_fault", endpoint="upload", file_name=refused, code="6041")]
    )
    summary = case.run(files_per_request=1)
    page = Seen(page_of(case)).text
    assert page.count("✓ holds") == 4
    assert "does not hold" not in page
    assert f"{summary.outcomes['success']:,} files are in QuickBooks Online" in page
    assert "6041" in page
    assert "open it, or save it as PDF" in page
    assert "Not reconciled." in page
    for run in {
        row.run_id for row in read_table_at(f"{case.sample.log_dir}/{tables.RUNLOG}", RunLogRow)
    }:
        assert run in page
    assert summary.files["report.html"].endswith("/report.html")


def test_every_table_has_its_digest_on_the_page(case: Case) -> None:
    case.run()
    page = page_of(case)
    log, data = Path(case.sample.log_dir), Path(case.sample.data_dir)
    files = [
        *log.glob("*.csv"),
        *data.glob("*.csv"),
        *log.glob("runlog/*/plan-*"),
        case.segments()[-1],
    ]
    assert len(files) >= 8
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in page, file


def test_links_lead_to_files_beside_the_page_or_to_places_on_it(case: Case) -> None:
    case.run()
    seen = Seen(page_of(case))
    for link in seen.links:
        if link.startswith("#"):
            assert link[1:] in seen.ids
        elif not link.startswith("data:"):
            assert Path(case.sample.log_dir, link).is_file(), link
    assert len(seen.ids) == len(set(seen.ids))


def test_what_was_compared_with_qbo_stands_on_the_page(case: Case) -> None:
    case.run()
    run_reconcile(case.settings(), Depth(20, 1))
    run_report(case.settings())
    assert "20 drawn of" in Seen(page_of(case)).text
    assert "20 drawn of" in ticket_of(case)

    books = Books(case)
    books.delete(books.one())
    run_reconcile(case.settings(), Depth(0))
    run_report(case.settings())
    assert "QBO differs from the run log in 1" in page_of(case)


def test_a_comparison_from_before_the_latest_run_is_called_so(case: Case) -> None:
    case.run()
    run_reconcile(case.settings(), Depth(0))
    case.sent_file().write_bytes(b"other bytes")
    case.run()
    assert "reconcile again" in page_of(case)


def test_what_an_undo_took_back_is_not_told_as_in_qbo(case: Case) -> None:
    run = case.run()
    undone(case, run.run_id)
    page = page_of(case)
    # With them those that were not sent because their content was there.
    gone = run.outcomes["success"] + run.outcomes["duplicate_content"]
    assert f"Taken back: {gone}" in page
    assert f"Undo of {run.run_id}" in page


def test_a_verification_after_the_run_breaks_the_sum_and_says_what_to_do(case: Case) -> None:
    case.run()
    added = case.sent_file()
    added.with_name("one more.pdf").write_bytes(b"new")
    plan_only(case.settings())
    run_report(case.settings())
    page = page_of(case)
    assert "The sums do not hold" in page
    assert "the verification log is newer than the latest run" in page


def test_without_any_run_the_page_says_that_nothing_was_sent(case: Case) -> None:
    settings = case.settings()
    run_report(settings)
    assert "Nothing was sent yet" in page_of(case)
    plan_only(settings)
    run_verify(settings)
    run_report(settings)
    rows = list(read_table_at(f"{case.sample.log_dir}/{tables.VERIFICATION}", VerificationRow))
    assert f"<dd>{len(rows)}</dd>" in page_of(case)


def test_the_page_is_made_on_s3_as_well_and_says_what_it_could_not_read(
    s3_moto: S3Server, use_s3: Callable[[S3Server], None]
) -> None:
    use_s3(s3_moto)
    log_dir = f"{s3_moto.new_bucket()}/log"
    Store(log_dir).create_once("odd.json", b"{}")
    result = run_report(settings_of(log_dir=log_dir, data_dir="s3://no-such-bucket/data"))
    page = Store(log_dir).read_bytes("report.html").decode()
    assert [artifact.name for artifact in result.artifacts][-2:] == ["report.html", "report.md"]
    assert hashlib.sha256(b"{}").hexdigest() in page
    assert "DATA_DIR could not be read" in page


def test_no_secret_is_on_the_page() -> None:
    settings = settings_of(
        qbo_access_token="token-1", qbo_client_secret="secret-2", mapping_source="https://h/m?sig=hidden-3",
        storage_options={"key": "hidden-4", "secret": "hidden-5", "client_kwargs": {"region_name": "eu-1"}},
        files_dir="sftp://ann:hidden-6@host/f",
    )  # fmt: skip
    context = made(settings, 40)
    for text in (render_page(context), render_ticket(context)):
        assert not [word for word in ("token-1", "secret-2", "hidden-") if word in text]
    assert "eu-1" in render_page(context)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_or_cell_changes_what_the_page_is_made_of(text: str) -> None:
    settings = settings_of(
        mapping_overrides=f"/t/{text[:50]}".replace("\0", ""), exclude_names=(text,)
    )
    harmless = Seen(
        render_page(made(settings_of(mapping_overrides="/t/x", exclude_names=("x",)), 60))
    )
    page = render_page(made(settings, 60, text))
    seen = Seen(page)
    assert seen.tags == harmless.tags
    assert [
        link
        for link in seen.links
        if not link.startswith(("#", "data:", "https://app.sandbox.qbo"))
    ] == [link for link in seen.links if link.endswith(".csv")]
    assert all(c.isprintable() or c == "\n" for c in page)
    assert page.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_makes_markup_in_the_ticket(text: str) -> None:
    ticket = render_ticket(made(settings_of(), 60, text))
    plain = render_ticket(made(settings_of(), 60))
    assert len(ticket.splitlines()) == len(plain.splitlines())
    assert ticket.count("<") == ticket.count("\\<")
    assert "](" not in ticket.replace("\\](", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](http://b)", "\\[a\\](http://b)"),
        ("# big", "\\# big"),
        ("- item", "\\- item"),
        ("1. item", "\\1. item"),
        ("a|b", "a\\|b"),
        ("_it_ snake_case", "\\_it\\_ snake_case"),
        ("two\nlines", "two\\\\nlines"),
    ],
)
def test_markdown_is_shown_letter_by_letter(text: str, shown: str) -> None:
    assert plain_markdown(text) == shown


def test_a_link_into_qbo_is_made_of_a_plain_id_alone() -> None:
    page = render_page(made(settings_of(), 400))
    links = [link for link in Seen(page).links if link.startswith("http")]
    assert len(links) > 15
    assert all(link.startswith("https://app.sandbox.qbo.intuit.com/app/") for link in links)
    rehearsal = render_page(made(settings_of(), 400, environment="other"))
    assert not [link for link in Seen(rehearsal).links if link.startswith("http")]


def test_headings_skip_no_level_and_tables_and_pictures_have_names() -> None:
    page = render_page(made(settings_of(), 400))
    seen = Seen(page)
    assert all(
        after - before <= 1 for before, after in zip(seen.headings, seen.headings[1:], strict=False)
    )
    assert seen.headings.count(1) == 1
    assert all(
        "aria-label" in names or "aria-hidden" in names for tag, names in seen.tags if tag == "svg"
    )
    assert ("html", ("lang",)) in seen.tags
    assert not {tag for tag, _ in seen.tags} & {"script", "iframe", "object", "form", "input"}
    assert not [names for _, names in seen.tags if "style" in names]


def test_sizes_are_told_as_people_say_them() -> None:
    assert [size_text(n) for n in (0, 999, 1_000, 4_400_000, 10**13)] == [
        "0 bytes", "999 bytes", "1.0 KB", "4.4 MB", "10.0 TB",
    ]  # fmt: skip


@pytest.mark.proof
def test_the_page_of_170_000_files_is_small_and_so_is_the_memory_for_it() -> None:
    tracemalloc.start()
    try:
        facts = gathered(170_000, "a name as files have it")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts.whereabouts.total() == 170_000
    assert peak_bytes < 50 * 2**20
    page = render_page(made(settings_of(), 170_000, "a name as files have it, and a long one " * 4))
    assert len(page.encode()) < 300_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.mark.proof
@pytest.mark.parametrize("rows", [300, 170_000])
@pytest.mark.parametrize("width", [1_200, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_chromium_shows_the_page_asks_for_nothing_and_complains_of_nothing(
    browser: Page, tmp_path: Path, rows: int, width: int, dark: bool
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_text(rows), "utf-8")
    browser.open(file, width=width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.styleSheets[0].cssRules.length") > 50
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) is dark
    assert browser.picture(tmp_path / "page.png").startswith(b"\x89PNG")
    browser.print(tmp_path / "page.pdf")
    assert 3 <= (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") <= 25
    assert (browser.requests, browser.complaints) == ([], [])


@pytest.mark.proof
def test_chromium_names_every_part_of_the_page_for_a_screen_reader(
    browser: Page, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page_text(300), "utf-8")
    browser.open(file, width=1_200)
    nodes: list[dict[str, Any]] = browser.call("Accessibility.getFullAXTree")["nodes"]
    parts = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    ]
    for role in ("region", "image", "navigation", "link", "heading"):
        named = [name for kind, name in parts if kind == role]
        assert named, role
        assert all(named), role
    assert ("main", "") in parts
    assert sum(kind == "table" for kind, _ in parts) >= 10


_PAGES: dict[int, str] = {}


def page_text(rows: int) -> str:
    if rows not in _PAGES:
        _PAGES[rows] = render_page(
            made(settings_of(), rows, "مرفق \u202e <script>alert(1)</script>")
        )
        assert RUN in _PAGES[rows]
    return _PAGES[rows]
