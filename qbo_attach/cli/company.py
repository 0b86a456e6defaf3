"""Commands about the company and its settings: `login`, `config`."""

from __future__ import annotations

import sys

from qbo_attach.cli.terminal import Flag, app, plain, settings_given


@app.command
def login(*, redirect_uri: str = "", port: int = 8766, from_refresh_token: Flag = False) -> int:
    """Log in to the company at Intuit; tokens are kept in QBO_TOKENS, private.

    Args:
        redirect_uri: an https redirect address of the app (production keys need one): the page is
            printed, and the address it led to is asked for.
        port: to receive the redirect on this machine; http://localhost:PORT/callback must be
            among the app's redirect URIs at Intuit. 0 takes a free one (a fake company asks not).
        from_refresh_token: read a refresh token of Intuit's OAuth Playground from stdin.
    """
    from qbo_attach.stages.login import import_refresh_token, log_in

    settings = settings_given()
    if from_refresh_token:
        realm = import_refresh_token(settings, _secret_line("Refresh token: "))
    else:
        realm = log_in(
            settings,
            show=lambda line: print(f"Open this page:\n{line}", file=sys.stderr),
            ask=input,
            redirect_uri=redirect_uri,
            port=port,
        )
    print(f"Logged in to company {realm}: set QBO_REALM_ID={realm}")
    return 0


def _secret_line(prompt: str) -> str:
    """A line of standard input that a terminal does not show."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    import getpass

    return getpass.getpass(prompt).strip()


@app.command
def config() -> int:
    """Print the effective settings and where each came from; secrets are masked."""
    from qbo_attach.settings import load_settings, misspelt, provenance

    for name, value, source in provenance(load_settings()):
        print(f"{name}={plain(value)}  ({source})")
    for sentence in misspelt():
        print(plain(sentence), file=sys.stderr)
    return 0
