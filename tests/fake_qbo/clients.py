"""Raw requests as real client libraries send them, byte for byte, built here for any file.

Each writer names the library, its version and the source file in which each peculiarity stands.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

REALM = "1234567890"
NS = 'xmlns="http://schema.intuit.com/finance/v3"'
UUID = "0b1c7a3e-52f4-4d0e-9c55-3f6d2a1b8e90"


@dataclass(frozen=True)
class File:
    """What a client is told to upload."""

    name: str
    kind: str
    data: bytes = field(repr=False)
    entity: tuple[str, str] = ("Invoice", "75")


Writer = Callable[[str, list[File]], bytes]
"""From the server's host and port, and the files, to the bytes of one upload request."""


def message(
    method: str, target: str, headers: list[str], body: bytes = b"", *, length: bool = True
) -> bytes:
    if length:
        headers = [*headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *headers, "", ""]).encode() + body


def _json(file: File) -> str:
    kind, value = file.entity
    ref = {"EntityRef": {"value": value, "type": kind}}
    return json.dumps({"AttachableRef": [ref], "FileName": file.name, "ContentType": file.kind})


def java(coding: str = "gzip") -> Writer:
    """Intuit's Java SDK 6.x, ipp-v3-java-devkit (79b5a3c), package interceptors.

    - intuit-default-config.xml: JSON, and gzip for requests as for answers, on GET, too.
    - PrepareRequestInterceptor: `requestid` and `minorversion`, each with `&` behind it; suffixes
      of five characters of two UUIDs; no Content-Transfer-Encoding; `content-type` in lower case.
    - UploadRequestElements: a line end before the first boundary, two before the second, a blank
      between `name="..."` and `; filename`.
    - CompressionInterceptor: nothing at all behind the file's last byte.
    - HTTPBatchClientConnectionInterceptor: several files are one gzip member each.
    """

    def write(host: str, files: list[File]) -> bytes:
        codings: dict[str, Callable[[bytes], bytes]]
        codings = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
        encode = codings[coding]
        body = b""
        for number, file in enumerate(files):
            suffix = f"{UUID[:5]}_{number:05x}"
            text = (
                f'\r\n--{UUID}\r\nContent-Disposition: form-data; name="file_metadata_{suffix}"'
                f"\r\nContent-Type: application/json\r\n\r\n{_json(file)}\r\n\r\n--{UUID}\r\n"
                f'Content-Disposition: form-data; name="file_content_{suffix}" ; '
                f'filename="{file.name}"\r\nContent-Type: {file.kind}\r\n\r\n'
            )
            body += encode(text.encode() + file.data)
        target = f"/v3/company/{REALM}/upload?requestid={UUID.replace('-', '')}&minorversion=73&"
        return message("POST", target, [*_java_headers(host, coding), f"content-type: multipart/form-data; boundary={UUID}"], body)  # fmt: skip

    return write


def _java_headers(host: str, coding: str = "gzip") -> list[str]:
    coded = [f"Content-Encoding: {coding}"] if coding else []
    return [*coded, "Accept-Encoding: gzip", "Accept: application/json", "User-Agent: V3JavaSDK-6.5.0", "Authorization: Bearer t", f"Host: {host}", "Connection: Keep-Alive"]  # fmt: skip


def dotnet(coding: str = "gzip", metadata: str = "xml") -> Writer:
    """Intuit's .NET SDK 14.7 (859c320).

    - Intuit.Ipp.Core/Configuration/JsonFileConfigurationProvider.cs: without a configuration the
      request is XML, the answer JSON, and both are gzip.
    - Intuit.Ipp.Utility/Compression/DeflateCompressor.cs: deflate without zlib's header.
    - Intuit.Ipp.DataService/DataService.cs, `Upload`: suffix 0, a GUID for boundary,
      Content-Transfer-Encoding of the content alone, and a last boundary without its `--`.
    - Intuit.Ipp.Core/RestCalls/RestHandler.cs: `Accept` only where JSON is to be answered.
    - .NET's HttpWebRequest asks for `100 Continue` before it sends a body.
    """

    def write(host: str, files: list[File]) -> bytes:
        (file,) = files
        kind, value = file.entity
        text = _json(file)
        if metadata == "xml":
            text = (
                '<?xml version="1.0"?>\r\n<Attachable xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
                f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" {NS}>\r\n'
                f'  <AttachableRef>\r\n    <EntityRef type="{kind}">{value}</EntityRef>\r\n'
                f"  </AttachableRef>\r\n  <FileName>{escape(file.name)}</FileName>\r\n"
                f"  <ContentType>{file.kind}</ContentType>\r\n</Attachable>"
            )
        head = (
            f'--{UUID}\r\nContent-Disposition: form-data; name="file_metadata_0"\r\n'
            f"Content-Type: application/{metadata}\r\n\r\n{text}\r\n"
            f'--{UUID}\r\nContent-Disposition: form-data; name="file_content_0"; '
            f'filename="{file.name}"\r\nContent-Type: {file.kind}\r\n'
            "Content-Transfer-Encoding: binary\r\n\r\n"
        )
        body = head.encode() + file.data + f"\r\n--{UUID}".encode()
        coded = [f"Content-Encoding: {coding}"] if coding else []
        if coding == "deflate":
            bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = bare.compress(body) + bare.flush()
        elif coding:
            body = gzip.compress(body)
        target = f"/v3/company/{REALM}/upload?minorversion=75&requestid={UUID.replace('-', '')}"
        return message("POST", target, [f"Content-Type: multipart/form-data; boundary={UUID}", "Accept: application/json", *coded, "Accept-Encoding: gzip", "Authorization: Bearer t", "User-Agent: V3DotNetSDK14.7.1.4", f"Host: {host}", "Expect: 100-continue", "Connection: Keep-Alive"], body)  # fmt: skip

    return write


def php(host: str, files: list[File]) -> bytes:
    """Intuit's PHP SDK 6.3.1 (5bb480b); compared with what it sends when it is run.

    - src/DataService/DataService.php, `Upload`: suffix 0, XML that ends with LF where the rest of
      the form has CRLF, base64 in lines of 76, an empty line after the last boundary.
    - src/Core/HttpClients/SyncRestHandler.php: `accept:*/*` though only XML is read, no blank
      behind a header's colon, no port in Host, the connection is closed.
    """
    (file,) = files
    kind, value = file.entity
    mark = "9b2f0c4f6d1f4d0f8f4f3a1c0e5d7b6a"
    lines = base64.b64encode(file.data).decode()
    wrapped = "".join(lines[at : at + 76] + "\r\n" for at in range(0, len(lines), 76))
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file_metadata_0"\r\n'
        "Content-Type: application/xml; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ns0:Attachable {NS.replace("xmlns", "xmlns:ns0")}>'
        f'\n  <ns0:AttachableRef>\n    <ns0:EntityRef type="{kind}">{value}</ns0:EntityRef>\n'
        f"  </ns0:AttachableRef>\n  <ns0:FileName>{escape(file.name)}</ns0:FileName>\n"
        f'</ns0:Attachable>\n--{mark}\r\nContent-Disposition: form-data; name="file_content_0"; '
        f'filename="{file.name}"\r\nContent-Type: {file.kind}\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{wrapped}\r\n--{mark}--\r\n\r\n"
    )
    kind = f"content-type:multipart/form-data; boundary={mark}"
    return _php("POST", "upload", host, kind, body.encode(), accept="*/*")


def _php(
    method: str, path: str, host: str, kind: str, body: bytes = b"", *, accept: str
) -> bytes:  # fmt: skip
    mark = "&" if "?" in path else "?"
    target = f"/v3/company/{REALM}/{path}{mark}minorversion=75"
    bare = host.rpartition(":")[0]
    return message(method, target, [f"Host:{bare}", "Authorization:Bearer t", "user-agent:V3PHPSDK6.3.1", f"accept:{accept}", "connection:close", kind, f"content-length:{len(body)}"], body, length=False)  # fmt: skip


def quickbooks_ruby(host: str, files: list[File]) -> bytes:
    """quickbooks-ruby 2.x on Faraday 1 and multipart-post; compared with what it sends when run.

    - lib/quickbooks/service/base_service.rb, `do_http_file_upload`: the content stands before its
      metadata, suffix 0, XML only; `file_metadata_0` has a made-up filename.
    - multipart-post, parts.rb: Content-Length and `binary` in every part; an empty line after the
      last boundary. The boundary begins with eleven dashes of its own.
    - ROXML writes what is not ASCII as character references.
    """
    (file,) = files
    kind, value = file.entity
    mark = "-----------RubyMultipartPost-5f540a8261b042d9f78c16c5959043c1"
    name = escape(file.name).encode("ascii", "xmlcharrefreplace").decode()
    xml = (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Attachable {NS} sparse="false">'
        f'\n<AttachableRef>\n<EntityRef type="{kind}">{value}</EntityRef>\n</AttachableRef>\n'
        f"<FileName>{name}</FileName>\n<ContentType>{file.kind}</ContentType>\n</Attachable>"
    )
    body = _ruby_part(mark, f'name="file_content_0"; filename="{file.name}"', file.kind, file.data)
    metadata = 'name="file_metadata_0"; filename="local.path"'
    body += _ruby_part(mark, metadata, "application/xml", xml.encode())
    headers = ["User-Agent: Faraday v1.1.0", f"Content-Type: multipart/form-data; boundary={mark}", "Accept: application/xml", "Accept-Encoding: gzip, deflate", "Authorization: Bearer t", f"Host: {host}"]  # fmt: skip
    tail = f"--{mark}--\r\n\r\n".encode()
    return message("POST", f"/v3/company/{REALM}/upload?minorversion=47", headers, body + tail)


def qbo_api(host: str, files: list[File]) -> bytes:
    """minimul's qbo_api on faraday-multipart.

    - lib/qbo_api/attachment.rb: suffix 01, JSON named attachment.json, metadata first.
    - spec/vcr/attachment/create_for_invoice.yml: the parts' headers as recorded.
    """
    (file,) = files
    mark = "-----------RubyMultipartPost-c2b6f64ef4d0a1b0cf4c0e6c3b8d7a55"
    metadata = 'name="file_metadata_01"; filename="attachment.json"'
    body = _ruby_part(mark, metadata, "application/json", _json(file).encode())
    body += _ruby_part(mark, f'name="file_content_01"; filename="{file.name}"', file.kind, file.data)  # fmt: skip
    headers = [f"Content-Type: multipart/form-data; boundary={mark}", "Accept: application/json", "Authorization: Bearer t", "User-Agent: Faraday v2.9.0", "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", f"Host: {host}"]  # fmt: skip
    tail = f"--{mark}--\r\n".encode()
    return message("POST", f"/v3/company/{REALM}/upload", headers, body + tail)


def _ruby_part(mark: str, names: str, kind: str, data: bytes) -> bytes:
    return (
        f"--{mark}\r\nContent-Disposition: form-data; {names}\r\nContent-Length: {len(data)}\r\n"
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    ).encode() + data + b"\r\n"  # fmt: skip


def python_quickbooks(host: str, files: list[File]) -> bytes:
    """python-quickbooks 0.9, quickbooks/client.py, `make_request`.

    A line end before the first boundary, LF only, base64 in one line with an empty line behind it,
    the content part without a file name.
    """
    (file,) = files
    mark = "-------------PythonMultipartPost"

    def part(name: str, kind: str, *rest: str) -> list[str]:
        named = f'Content-Disposition: form-data; name="{name}"'
        return [f"--{mark}", named, f"Content-Type: {kind}", *rest, ""]

    encoded = base64.b64encode(file.data).decode()
    lines = ["", *part("file_metadata_01", "application/json", "", _json(file))]
    lines += part("file_content_01", file.kind, "Content-Transfer-Encoding: base64", "", encoded)
    body = "\n".join([*lines, f"--{mark}--", ""]).encode()
    headers = [f"Host: {host}", "User-Agent: python-quickbooks V3 library", "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", "Accept: application/json", "Connection: close", f"Content-Type: multipart/form-data; boundary={mark}", "Authorization: Bearer t"]  # fmt: skip
    target = f"/v3/company/{REALM}/upload?minorversion=75"
    return message("POST", target, headers, body)


def node_quickbooks(host: str, files: list[File]) -> bytes:
    """node-quickbooks 2, index.js, `upload`, on the form-data package: chunked, no metadata.

    It links the attachable afterwards by a full update.
    """
    (file,) = files
    mark = "--------------------------608514571346842359152741"
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file_content_01"; '
        f'filename="{file.name}"\r\nContent-Type: {file.kind}\r\n\r\n'
    ).encode()
    pieces = [head, file.data[:1000], file.data[1000:], f"\r\n--{mark}--\r\n".encode()]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    headers = ["Accept: application/json", f"Content-Type: multipart/form-data; boundary={mark}", "Request-Id: 6f1ed002-ab5b-11e9-8bb0-99e3b6b9f5a2", "User-Agent: node-quickbooks: version 2.0.46", "Authorization: Bearer t", f"Host: {host}", "Connection: close", "Transfer-Encoding: chunked"]  # fmt: skip
    target = f"/v3/company/{REALM}/upload?minorversion=75&format=json"
    return message("POST", target, headers, chunks, length=False)


def quickbooks_go(host: str, files: list[File]) -> bytes:
    """rwestlund's quickbooks-go, attachable.go, `UploadAttachable`, on Go's mime/multipart.

    Go writes a part's headers in alphabetical order, and a boundary of 60 hexadecimal digits.
    """
    (file,) = files
    mark = "7c0f2d9a1b" * 6
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file_metadata_01"; '
        f'filename="attachment.json"\r\nContent-Type: application/json\r\n\r\n{_json(file)}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file_content_01"; '
        f'filename="{file.name}"\r\nContent-Type: {file.kind}\r\n\r\n'
    ).encode() + file.data + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
    headers = [f"Host: {host}", "User-Agent: Go-http-client/1.1", "Accept: application/json", "Authorization: Bearer t", f"Content-Type: multipart/form-data; boundary={mark}", "Accept-Encoding: gzip"]  # fmt: skip
    return message("POST", f"/v3/company/{REALM}/upload?minorversion=75", headers, body)


UPLOADS: dict[str, Writer] = {
    "java gzip": java(),
    "java plain": java(""),
    "java deflate": java("deflate"),
    "dotnet xml gzip": dotnet(),
    "dotnet json gzip": dotnet(metadata="json"),
    "dotnet xml deflate": dotnet("deflate"),
    "dotnet json plain": dotnet("", "json"),
    "php": php,
    "quickbooks-ruby": quickbooks_ruby,
    "qbo_api": qbo_api,
    "python-quickbooks": python_quickbooks,
    "node-quickbooks": node_quickbooks,
    "quickbooks-go": quickbooks_go,
}

UNLINKED = frozenset({"node-quickbooks"})
"""They send no metadata."""

XML_ONLY = frozenset({"php", "quickbooks-ruby"})
"""They can read no other answer."""


def php_call(method: str, path: str, host: str, body: bytes = b"") -> bytes:
    """A call of the PHP SDK other than an upload: XML both ways."""
    kind = "content-type:application/xml"
    return _php(method, path, host, kind, body, accept="application/xml")


def php_query(statement: str, host: str) -> bytes:
    """DataService.php, `Query`: POST of application/text, `accept:*/*`, XML is read."""
    kind = "content-type:application/text"
    return _php("POST", "query", host, kind, statement.encode(), accept="*/*")


def java_query(statement: str, host: str) -> bytes:
    """DataService.java, `prepareQuery`: POST beyond 200 characters; a GET says gzip, too."""
    tail = f"requestid={UUID.replace('-', '')}&minorversion=73&"
    path = f"/v3/company/{REALM}/query?"
    if len(statement) <= 200:
        target = f"{path}query={quote_plus(statement)}&{tail}"
        headers = ["content-type: application/json", *_java_headers(host)]
        return message("GET", target, headers, length=False)
    body = gzip.compress(statement.encode())
    return message("POST", path + tail, ["content-type: application/text", *_java_headers(host)], body)  # fmt: skip


def java_download(one_id: str, host: str) -> bytes:
    """PrepareRequestInterceptor: no `Accept` for a download."""
    headers = [h for h in _java_headers(host) if not h.startswith("Accept:")]
    target = f"/v3/company/{REALM}/download/{one_id}?requestid=1&minorversion=73&"
    return message("GET", target, ["content-type: application/json", *headers], length=False)


def dotnet_query(statement: str, host: str, *, accept: bool) -> bytes:
    """QueryService.cs: always POST of application/text; set to XML, it sends no `Accept` at all."""
    headers = ["Content-Type: application/text", *(["Accept: application/json"] if accept else []), "Content-Encoding: gzip", "Accept-Encoding: gzip", "Authorization: Bearer t", f"Host: {host}", "Expect: 100-continue"]  # fmt: skip
    target = f"/v3/company/{REALM}/query?minorversion=75&requestid={UUID.replace('-', '')}"
    return message("POST", target, headers, gzip.compress(statement.encode()))


def ruby_query(statement: str, host: str) -> bytes:
    """base_service.rb, `url_for_query`: GET, application/xml, STARTPOSITION before MAXRESULTS."""
    asked = quote(f"{statement} STARTPOSITION 1 MAXRESULTS 20", safe="")
    return _ruby("GET", f"query?query={asked}&minorversion=47", host)


def ruby_delete(one_id: str, host: str) -> bytes:
    """service_crud.rb, `delete_by_query_string`: the record as XML."""
    body = (
        f'<?xml version="1.0" encoding="utf-8"?>\n<Attachable {NS} sparse="false">\n<Id>{one_id}'
        "</Id>\n<SyncToken>0</SyncToken>\n</Attachable>"
    )
    return _ruby("POST", "attachable?operation=delete&minorversion=47", host, body.encode())


def _ruby(method: str, path: str, host: str, body: bytes = b"") -> bytes:
    headers = ["Content-Type: application/xml", "Accept: application/xml", "Accept-Encoding: gzip, deflate", "Authorization: Bearer t", f"Host: {host}"]  # fmt: skip
    return message(method, f"/v3/company/{REALM}/{path}", headers, body, length=method == "POST")
