"""What S3 errors mean for the person, and for a file: a table of codes."""

from __future__ import annotations

import asyncio
import concurrent.futures

from botocore.exceptions import (
    BotoCoreError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from qbo_attach.core.errors import StorageError
from qbo_attach.storage.place import (
    SourceChangedError,
    SourceError,
    SourceMissingError,
    SourceUnreadableError,
)

S3Failure = (OSError, BotoCoreError, asyncio.TimeoutError, concurrent.futures.TimeoutError)
"""All that a call through s3fs may raise; no response (no network, no credentials) included."""

EXISTS = frozenset({"PreconditionFailed", "412"})
"""A conditional put met an object. s3fs has FileExistsError only where the server names the
condition, and OSError(EINVAL) elsewhere, so the code is what counts."""
CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
"""Two conditional puts met; this one may have to be repeated."""
_PASSING = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"})
_NO_KEY = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
_OUT_OF_RANGE = frozenset({"InvalidRange", "416"})
_CHANGED = EXISTS | _OUT_OF_RANGE
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "403"})
_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; check its name and the endpoint",
    "InvalidBucketName": "this is no valid bucket name; check the URL",
    "InvalidAccessKeyId": "the server does not know this access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong for this access key; check "
    "AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired; get new credentials",
    "ExpiredTokenException": "the session token has expired; get new credentials",
    "InvalidToken": "the session token is not valid; check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION",
    "NotImplemented": "this S3 server cannot create an object exactly once (no If-None-Match); "
    "put LOG_DIR on a server that can, or on a local disk",
    "SlowDown": "the server asks for fewer requests and did not recover in time; run again later",
}


def code_of(error: BaseException) -> str:
    """S3's own error code behind what s3fs raised; "" where there was no answer."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def is_missing_key(error: BaseException) -> bool:
    """Whether the bucket answered that it has no such object."""
    return code_of(error) in _NO_KEY


def is_out_of_range(error: BaseException) -> bool:
    """Whether a range lies behind the object's end; for the first range, the object is empty."""
    return code_of(error) in _OUT_OF_RANGE


def may_have_happened(error: BaseException) -> bool:
    """Whether a put may have taken effect, or may do so when it is repeated."""
    code = code_of(error)
    if code:
        return code in EXISTS | CONFLICT | _PASSING or code.startswith("5")
    return not isinstance(error, BotoCoreError) or isinstance(error, HTTPClientError)


def explained(url: str, error: BaseException, deadline_s: float) -> StorageError:
    """The one sentence that a person needs."""
    code = code_of(error)
    if code in _REMEDIES:
        return StorageError(url, _REMEDIES[code])
    if code in _DENIED:
        return StorageError(
            url, f"access is denied ({code}); give these credentials the right to it"
        )
    if isinstance(error, EndpointConnectionError):
        return StorageError(
            url, f"the S3 endpoint cannot be reached ({error}); check AWS_ENDPOINT_URL and the net"
        )
    if isinstance(error, ProfileNotFound):
        return StorageError(url, f"{error}; check AWS_PROFILE")
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StorageError(
            url, "no S3 credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or AWS_PROFILE"
        )  # fmt: skip
    if isinstance(error, (asyncio.TimeoutError, concurrent.futures.TimeoutError, HTTPClientError)):
        return StorageError(
            url, f"the S3 endpoint gave no whole answer within {deadline_s:g} s; run again later"
        )
    reason = f"{code}: {error}" if code else f"{type(error).__name__}: {error}"
    return StorageError(url, f"the S3 server refused: {reason}")


def for_source(path: str, error: BaseException) -> SourceError | None:
    """The error of one listed file, or None where it is the place that failed."""
    code = code_of(error)
    if code in _NO_KEY:
        return SourceMissingError(path, "is not there any more")
    if code in _CHANGED:
        return SourceChangedError(path, "was replaced after it was listed; run inventory again")
    if code in _DENIED:
        return SourceUnreadableError(path, f"may not be read with these credentials ({code})")
    if code == "InvalidObjectState":
        return SourceUnreadableError(path, "is in an archive; restore it first")
    return None
