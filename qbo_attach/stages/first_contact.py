"""Is it the right company? Asked before anything is sent to it for the first time."""

from __future__ import annotations

import json
from collections.abc import Callable

from qbo_attach.core.errors import NotStartedError, SettingError
from qbo_attach.settings import Settings
from qbo_attach.stages.connection import environment_name
from qbo_attach.storage.files import Store

NAME_FILE = "company_name.json"
"""In LOG_DIR: the name of the company that was approved."""


def approve_company(
    settings: Settings, log: Store, name: str, ask: Callable[[str], bool] | None
) -> list[str]:
    """See that the company of this name is the one that is meant; returns what a person is told.

    EXPECT_COMPANY_NAME decides where it is set. Else a person is asked, once for a LOG_DIR (and
    again if the company's name is another one). With nobody to ask, only a run at Intuit's
    production address is refused.

    Args:
        settings: all of them.
        log: LOG_DIR.
        name: as CompanyInfo has it.
        ask: shows a question, True for a yes; None: nobody is there.

    Raises:
        SettingError: EXPECT_COMPANY_NAME is another name.
        NotStartedError: a person said no, or has to say yes first.
    """
    expected = settings.expect_company_name
    if expected:
        check_expected(settings, name)
    elif _approved(log) == name:
        return []
    elif ask is not None:
        question = (
            f"Attachments are about to be sent to the company {name!r} "
            f"(realm {settings.realm_id}, {environment_name(settings)}) for the first time from "
            f"{settings.log_dir}. Is it the right one?"
        )
        if not ask(question):
            raise NotStartedError(f"{name!r} is not the right company: nothing was sent")
    elif environment_name(settings) == "production":
        raise NotStartedError(
            f"realm {settings.realm_id} is the company {name!r} in production, and nobody is there "
            f"to say that it is the right one: set EXPECT_COMPANY_NAME={name!r} if it is. Nothing "
            "was sent"
        )
    with log.writing(NAME_FILE) as stream:
        stream.write(json.dumps({"company": name}).encode() + b"\n")
    return [f"The company is {name!r} (realm {settings.realm_id})."]


def check_expected(settings: Settings, name: str) -> None:
    """EXPECT_COMPANY_NAME, where set, must be the company's name.

    Raises:
        SettingError: it is not; names both.
    """
    expected = settings.expect_company_name
    if expected and expected.strip() != name.strip():
        raise SettingError(
            "EXPECT_COMPANY_NAME",
            expected,
            f"but realm {settings.realm_id} is the company {name!r}: correct one of EXPECT_COMPANY_"
            "NAME, QBO_REALM_ID and the login. Nothing was sent",
        )


def _approved(log: Store) -> str:
    try:
        there = json.loads(log.read_bytes(NAME_FILE))
    except (FileNotFoundError, ValueError):
        return ""
    return str(there.get("company", "")) if isinstance(there, dict) else ""
