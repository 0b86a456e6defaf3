"""The list of companies: read in both forms, checked whole, refused by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.companies import COLUMNS, Company, CompanyListError, checked, read_companies
from flows.migrate import migrate
from qbo_attach.core.errors import StorageError

HEADER = "name,realm_id,files_dir,data_dir,log_dir,mapping_source,mapping_overrides\n"
ACME = "Acme,123,/srv/a/files,/srv/a/data,/srv/a/log,,\n"
BOLT = "Bolt,456,s3://b/files,s3://b/data,s3://b/log,qbo,s3://b/overrides.csv\n"
BOTH = [
    Company("Acme", "123", "/srv/a/files", "/srv/a/data", "/srv/a/log"),
    Company(
        "Bolt", "456", "s3://b/files", "s3://b/data", "s3://b/log", "qbo", "s3://b/overrides.csv"
    ),
]


def written(folder: Path, text: str, name: str = "companies.csv") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_csv_and_a_yaml_list_say_the_same(tmp_path: Path) -> None:
    as_yaml = """
- {name: Acme, realm_id: 123, files_dir: /srv/a/files, data_dir: /srv/a/data, log_dir: /srv/a/log}
- name: Bolt
  realm_id: "456"
  files_dir: s3://b/files
  data_dir: s3://b/data
  log_dir: s3://b/log
  mapping_source: qbo
  mapping_overrides: s3://b/overrides.csv
"""
    assert read_companies(written(tmp_path, HEADER + ACME + BOLT)) == BOTH
    assert read_companies(written(tmp_path, as_yaml, "companies.yaml")) == BOTH
    semicolons = (HEADER + ACME + BOLT).replace(",", ";").upper().splitlines(keepends=True)[0]
    rest = (ACME + BOLT).replace(",", ";")
    assert read_companies(written(tmp_path, semicolons + rest, "other.csv")) == BOTH


def test_a_company_says_which_name_it_expects_and_what_it_leaves_empty_is_no_parameter(
    tmp_path: Path,
) -> None:
    text = HEADER.replace("\n", ",Expect_Company_Name\n") + ACME.replace("\n", ',"Acme, Inc."\n')
    (acme,) = read_companies(written(tmp_path, text))
    assert acme.parameters() == {
        "company": "Acme",
        "realm_id": "123",
        "files_dir": "/srv/a/files",
        "data_dir": "/srv/a/data",
        "log_dir": "/srv/a/log",
        "expect_company_name": "Acme, Inc.",
    }


def test_a_text_that_no_run_would_take_is_told_before_any_starts(tmp_path: Path) -> None:
    text = HEADER.replace("\n", ",expect_company_name\n") + ACME.replace("\n", f",{'x' * 501}\n")
    with pytest.raises(CompanyListError) as caught:
        read_companies(written(tmp_path, text))
    told = "row 2, expect_company_name: has 501 characters; at most 500 are taken"
    assert caught.value.problems == [told]


def test_a_list_is_as_strict_as_the_runs_that_it_starts() -> None:
    with pytest.raises(CompanyListError) as caught:
        checked([("row 2", dict.fromkeys(COLUMNS, "9" * 3_000))], "list.csv")
    bounds = {
        {"name": "company"}.get(name, name): f"row 2, {name}: has 3,000 characters; at most "
        for name in COLUMNS
    }
    for parameter, problem in bounds.items():
        most = migrate.parameters.properties[parameter]["maxLength"]
        assert f"{problem}{most:,} are taken" in caught.value.problems


def test_every_problem_of_every_row_is_told_at_once(tmp_path: Path) -> None:
    text = (
        HEADER
        + ACME
        + "Acme,12x,/srv/c/files,/srv/c/data,/srv/a/log/,,\n"
        + ",789,files,/srv/d/data,/srv/d/log,,\n"
    )
    with pytest.raises(CompanyListError) as caught:
        read_companies(written(tmp_path, text))
    assert caught.value.problems == [
        "row 3, realm_id: '12x' is not the digits of a company's id in QuickBooks Online",
        "row 3, name: 'Acme' is that of row 2; each company needs its own",
        "row 3, log_dir: '/srv/a/log' is that of row 2; each company needs its own",
        "row 4, name: is empty; every company needs it",
        "row 4, files_dir: 'files' is relative; write an absolute path or a URL as s3://...",
    ]
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", HEADER, "names no company"),
        ("a.csv", "name,realm\nAcme,1\n", "row 2, realm: is no column"),
        ("a.yaml", "name: Acme\n", "must be a list"),
        ("a.yaml", "- Acme\n", "entry 1, is no mapping"),
        ("a.yaml", "- [", "not readable as YAML"),
        ("a.csv", HEADER + "a,1,/a,/b,/c,,,more\n", "row 2, has more cells"),
    ],
)
def test_a_list_that_is_none_is_refused(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(CompanyListError, match=sentence):
        read_companies(written(tmp_path, text, name))


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere\.csv: there is no such file"):
        read_companies(str(tmp_path / "nowhere.csv"))


def test_no_realm_comes_twice_however_many_there_are(tmp_path: Path) -> None:
    rows = [f"C{n},{n % 90},/f/{n},/d/{n},/l/{n},,\n" for n in range(100)]
    with pytest.raises(CompanyListError) as caught:
        read_companies(written(tmp_path, HEADER + "".join(rows)))
    assert len(caught.value.problems) == 10
    assert all("realm_id" in problem for problem in caught.value.problems)
