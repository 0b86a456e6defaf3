"""Names that storage tools are known to lose, and where each can exist at all."""

from __future__ import annotations

ODD_PATHS = [
    "with space/a b.pdf",
    " leading and trailing space ",
    "trailing dots...",
    "hash#question?percent%plus+amp&.pdf",
    "Smith & Sons +1/R&amp;D/a&b.pdf",
    "percent%20encoded%2Bplus%2Fslash.pdf",
    "entity&lt;&amp;.pdf",
    "single'double\"back`quotes.pdf",
    "globs/[1]*?.pdf",
    "globs/1.pdf",
    "globs/{a,b}.pdf",
    "semi;colon,comma=equals@at:colon.pdf",
    "angle<less>greater|pipe^caret~tilde.pdf",
    "$dollar!bang(paren).pdf",
    "version?versionId=abc.pdf",
    "chain::colons.pdf",
    "-dash first.pdf",
    ".hidden",
    "..two dots first",
    "é NFC.pdf",
    "e\u0301 NFD.pdf",
    "日本語/請求書.pdf",
    "emoji 📎.pdf",
    "zero\u200bwidth\u202eright-to-left.pdf",
    "tab\there.pdf",
    "bell\x07here.pdf",
    "return\rhere.pdf",
    "newline\nhere.pdf",
    "back\\slash.pdf",
    "x" * 251 + ".pdf",
    "CASE.pdf",
    "case.pdf",
]
EMPTY_PATH = "empty file.txt"

ONLY_ON_S3 = ["double//slash.pdf", "/leading slash.pdf", "both", "both/file and folder.pdf"]
"""No disk can hold these."""

IMPOSSIBLE = {
    "disk": set(ONLY_ON_S3),
    "memory": set(ONLY_ON_S3),
    # moto loses what follows a line end; SeaweedFS collapses // and turns \ into /, since its
    # keys are paths.
    "moto": {"newline\nhere.pdf"},
    "weed": {*ONLY_ON_S3, "back\\slash.pdf"},
}


def odd_paths(kind: str) -> list[str]:
    """The odd paths that a kind of place can hold."""
    return [p for p in [*ODD_PATHS, *ONLY_ON_S3, EMPTY_PATH] if p not in IMPOSSIBLE[kind]]
