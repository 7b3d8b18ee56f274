"""The doors of the gateway that are fuzzed, each with a maker of cases.

A case is decided by (seed, entry, number) alone, so that it can be made again. What a case owes:
`answers` says how many answers a server must give to it; None where the bytes are no request that a
server must answer.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from backports import zstd

from tests.fuzz import corpus
from tests.fuzz.mutate import (
    NUMBERS,
    TEXTS,
    mutate_bytes,
    mutate_message,
    mutate_value,
    varint,
    write_json,
)

SLOW_PAUSE_S = 0.02
SERVICE = "/gosight.IngestService/"
TOKEN_CHARACTERS = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
Transport = Literal["http", "grpc", "http2"]


@dataclass(frozen=True, slots=True)
class Case:
    """One input. `parts` are sent one after the other with `pause_s` between them."""

    entry: str
    number: int
    parts: tuple[bytes, ...]
    answers: int | None = 1
    transport: Transport = "http"
    pause_s: float = 0.0
    method: str = "SendBatch"
    metadata: tuple[tuple[str, str], ...] = ()

    def wire(self) -> bytes:
        """All bytes, as they are kept in the file of a finding."""
        return b"".join(self.parts)


Maker = Callable[[Random, str], Case]


def make_case(entry: str, seed: int, number: int, key: str) -> Case:
    """The case of this entry, seed and number; `key` is a write key that is valid now."""
    chance = Random(f"{seed}:{entry}:{number}")
    made = ENTRIES[entry](chance, key)
    return Case(
        entry,
        number,
        made.parts,
        made.answers,
        made.transport,
        made.pause_s,
        made.method,
        made.metadata,
    )


def _post(
    chance: Random,
    body: bytes,
    key: str,
    content_type: str,
    *,
    path: str = "/v1/events",
    headers: tuple[tuple[str, str], ...] = (),
) -> Case:
    """A well-formed request, with a length or in chunks of any size."""
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Content-Type: {content_type}"]
    if key:
        lines.append(f"X-GoSight-Key: {key}")
    lines += [f"{name}: {value}" for name, value in headers]
    if chance.random() < 0.85:
        lines.append(f"Content-Length: {len(body)}")
        content = body
    else:
        lines.append("Transfer-Encoding: chunked")
        content = _chunked(chance, body)
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    if chance.random() < 0.97:
        return Case("", 0, (head + content,))
    cut = chance.randint(0, len(content))
    parts = (head[: len(head) // 2], head[len(head) // 2 :], content[:cut], content[cut:])
    return Case("", 0, parts, pause_s=SLOW_PAUSE_S)


def _chunked(chance: Random, body: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(body):
        size = chance.choice((1, 7, 1000, 65536)) if len(body) < 5000 else 65536
        part = body[at : at + size]
        extension = b";a=b" if chance.random() < 0.1 else b""
        out += b"%x%s\r\n%s\r\n" % (len(part), extension, part)
        at += size
    return bytes(out + b"0\r\n\r\n")


def _message(chance: Random) -> bytes:
    body = chance.choice(corpus.batches())
    return mutate_message(chance, body) if chance.random() < 0.95 else body


def protobuf(chance: Random, key: str) -> Case:
    """Bodies of protobuf batches."""
    content_type = chance.choice(("application/x-protobuf", "text/plain", ""))
    return _post(chance, _message(chance), key, content_type)


def json_body(chance: Random, key: str) -> Case:
    """Bodies of JSON batches."""
    value = chance.choice(corpus.json_batches())
    for _ in range(chance.randint(0, 3)):
        value = mutate_value(chance, value)
    content_type = chance.choice(("application/json", "application/json; charset=utf-8", ""))
    return _post(chance, write_json(chance, value), key, content_type)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "zstd": lambda body: zstd.compress(body),
    "deflate": lambda body: zlib.compress(body, 1),
    "raw": lambda body: zlib.compress(body, 1, wbits=-15),
}


def _packed(name: str) -> Maker:
    def make(chance: Random, key: str) -> Case:
        pack = PACKERS["raw" if name == "deflate" and chance.random() < 0.3 else name]
        match chance.randrange(8):
            case 0:
                plain = b"\x12\x00" * chance.choice((10, 501, 1_000_000))
            case 1:
                plain = chance.choice((bytes(1), b" ", b"[", b"{}")) * chance.choice(
                    (10, 3_000_000)
                )
            case 2:
                plain = pack(chance.choice(corpus.batches()))
            case _:
                plain = _message(chance)
        body = pack(plain)
        match chance.randrange(6):
            case 0:
                body = mutate_bytes(chance, body)
            case 1:
                body = body * chance.choice((2, 16, 17, 3000))
            case 2:
                body = body[: chance.randint(0, len(body))]
            case 3:
                body += chance.randbytes(chance.choice((1, 8, 100)))
        body = body[: 300 * 1024]
        announced = chance.choice((name, name, name, name.upper(), "gzip", "zstd", "deflate", ""))
        headers = (("Content-Encoding", announced),) if announced else ()
        return _post(chance, body, key, "application/x-protobuf", headers=headers)

    return make


def _frame(chance: Random, payload: bytes, flag: int | None = None) -> bytes:
    length = len(payload)
    if chance.random() < 0.1:
        length = chance.choice((0, 1, length + 1, 2**31, 2**32 - 1))
    if flag is None:
        flag = chance.choice((0, 0, 0, 0, 1, 2, 0x80, 0x81, 0xFF))
    return bytes((flag,)) + length.to_bytes(4) + payload


def grpc_web(chance: Random, key: str) -> Case:
    """Frames of gRPC-Web, binary and text."""
    message = _message(chance)
    body = _frame(chance, PACKERS["gzip"](message), 1) if chance.random() < 0.2 else b""
    body = body or _frame(chance, message)
    for _ in range(chance.choice((0, 0, 0, 1, 2, 200))):
        body += _frame(chance, chance.choice((b"", b"grpc-status:0\r\n", message[:50])))
    if chance.random() < 0.2:
        body = mutate_bytes(chance, body)
    is_text = chance.random() < 0.4
    if is_text:
        body = base64.b64encode(body)
        if chance.random() < 0.2:
            body = mutate_bytes(chance, body, (b"====", b"\r\n", b"!!"))
    names = ("application/grpc-web-text", "application/grpc-web-text+proto")
    if not is_text:
        names = ("application/grpc-web", "application/grpc-web+proto")
    encodings = ("gzip", "identity", "zstd", "br", "gzip,identity", "")
    headers = [("X-Grpc-Web", "1")]
    if chance.random() < 0.3:
        headers.append(("grpc-encoding", chance.choice(encodings)))
    if chance.random() < 0.2:
        headers.append(("Content-Encoding", chance.choice(encodings)))
        if chance.random() < 0.5:
            body = PACKERS["gzip"](body)
    return _post(
        chance,
        body,
        key,
        chance.choice(names),
        path=SERVICE + "SendBatch",
        headers=tuple(headers),
    )


def grpc(chance: Random, key: str) -> Case:
    """Messages and metadata of gRPC by its own library, and now and then raw HTTP/2."""
    if chance.random() < 0.1:
        return _http2(chance)
    method = chance.choice(("SendBatch", "SendBatch", "SendEvents", "SendReplay", "Nothing"))
    count = 1 if method == "SendBatch" else chance.randint(0, 4)
    source = corpus.chunks() if method == "SendReplay" else corpus.batches()
    parts = tuple(
        chance.randbytes(chance.choice((0, 1, 50, 5000)))
        if chance.random() < 0.2
        else mutate_message(chance, chance.choice(source))
        for _ in range(count)
    )
    metadata = [("x-gosight-key", key if chance.random() < 0.95 else "gs_live_" + "0" * 32)]
    if chance.random() < 0.2:
        name = chance.choice(("origin", "dnt", "sec-gpc", "x-forwarded-for", "grpc-encoding-x"))
        metadata.append((name, chance.choice(("1", "null", "https://evil.example", "a" * 4000))))
    return Case("", 0, parts, 1, "grpc", method=method, metadata=tuple(metadata))


def _http2(chance: Random) -> Case:
    wire = bytearray(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    for _ in range(chance.randint(0, 20)):
        payload = chance.randbytes(chance.choice((0, 4, 8, 100)))
        length = len(payload) if chance.random() < 0.8 else chance.choice((0, 2**24 - 1))
        wire += length.to_bytes(3) + chance.randbytes(2)
        wire += chance.choice((0, 1, 3, 2**31)).to_bytes(4) + payload
    if chance.random() < 0.3:
        wire = bytearray(mutate_bytes(chance, bytes(wire)))
    return Case("", 0, (bytes(wire),), None, "http2")


def replay(chance: Random, key: str) -> Case:
    """Bodies of replay chunks, JSON and protobuf, with damaged and swollen data inside."""
    headers: tuple[tuple[str, str], ...] = ()
    if chance.random() < 0.5:
        value = dict(chance.choice(corpus.json_chunks()))
        if chance.random() < 0.5 and "data" in value:
            value["data"] = base64.b64encode(_replay_data(chance)).decode()
            value["codec"] = chance.choice(("gzip", "zstd", "none", "", "br"))
        if chance.random() < 0.6:
            value = mutate_value(chance, value)
        body, content_type = write_json(chance, value), "application/json"
    else:
        body, content_type = chance.choice(corpus.chunks()), "application/x-protobuf"
        if chance.random() < 0.5:
            data = _replay_data(chance)
            body += varint(10 << 3 | 2) + varint(len(data)) + data
        body = mutate_message(chance, body) if chance.random() < 0.7 else body
    if chance.random() < 0.2:
        body, headers = PACKERS["gzip"](body), (("Content-Encoding", "gzip"),)
    return _post(chance, body, key, content_type, path="/v1/replay", headers=headers)


def _replay_data(chance: Random) -> bytes:
    count = chance.choice((0, 1, 1999, 2000, 2001, 20_000, 400_000, 1_600_000))
    unit = chance.choice((b'{"type":1}', b"{}", b"[]", b"1", b'{"type":3,"data":[[],[]]}', b" "))
    plain = b"[" + b",".join([unit] * (count % 1_000_000)) + b"]"
    data = chance.choice((PACKERS["gzip"], PACKERS["zstd"], bytes))(plain)
    return mutate_bytes(chance, data) if chance.random() < 0.2 else data


ODD_HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "X-GoSight-Key",
        ("", "gs_live_", "gs_live_" + "a" * 31 + "é", "a" * 7000, "\x7f", "Bearer x"),
    ),
    ("Origin", ("null", "https://[bad", "http://é.example", "https://" + "a" * 5000, "\udcff")),
    (
        "Content-Type",
        ("application/json; charset=utf-16", "text/plain;;;", "a/b/c", "\udcff", "*/*"),
    ),
    ("Content-Encoding", ("gzip, gzip", "br", "GZIP", "\udcff", "identity;q=0", "none")),
    ("X-Forwarded-For", ("1.2.3.4", "::1, [::1]:80", "a" * 6000, ", ,,", "\udcff", "256.1.1.1")),
    ("X-Real-IP", ("127.0.0.1", "nobody")),
    ("User-Agent", ("", "a" * 8000, "\udc80\udcff", "😀")),
    ("DNT", ("1", "0", "\udcff")),
    ("Sec-GPC", ("1", "2")),
    ("Expect", ("100-continue", "200-ok")),
    ("Connection", ("close", "keep-alive", "Upgrade", "keep-alive, Upgrade", "TE")),
    ("Upgrade", ("websocket", "h2c")),
    ("Cookie", ("a=b; " * 200, "\udcff")),
    ("Accept-Encoding", ("gzip", "*")),
    ("Range", ("bytes=0-", "bytes=-1")),
    ("If-Modified-Since", ("Thu, 99 Foo 2020", "0")),
    ("Access-Control-Request-Method", ("POST", "\udcff")),
)
PATHS = (
    "/v1/events",
    "/v1/replay",
    "/v1/config",
    "/health",
    "/ready",
    "/metrics",
    "/v1/events?key=%FF&f=json",
    "/v1/events?f=é&c=gzip",
    "/v1/events?" + "a=b&" * 1500,
    "/v1/events?c=gzip&c=zstd&f=pb&beacon=1",
    "/v1/config?key=%00",
    "//v1/events",
    "/v1/../v1/events",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/events/%00",
)


def headers(chance: Random, key: str) -> Case:
    """Well-formed requests with odd headers, many of them, and odd paths."""
    body = chance.choice(corpus.batches())
    found: list[tuple[str, str]] = []
    for name, values in chance.sample(ODD_HEADERS, chance.randint(0, 6)):
        found += [(name, chance.choice(values))] * chance.choice((1, 1, 1, 2))
    for number in range(chance.choice((0,) * 12 + (20, 60, 200))):
        found.append((f"X-Odd-{number}", chance.choice(TEXTS[1:8]).replace("\x00", "0")))
    method = chance.choice(("POST", "POST", "POST", "GET", "OPTIONS", "PUT", "HEAD", "DELETE"))
    path = chance.choice(PATHS)
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway"]
    if chance.random() < 0.6:
        lines.append(f"X-GoSight-Key: {key}")
    lines += [f"{name}: {value}" for name, value in found]
    if method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    content = body if method in ("POST", "PUT") else b""
    # 200 headers, bytes above 127 in a path or a waiting Expect may end the connection.
    return Case("", 0, (head + content,), 1 if len(found) < 100 else None)


def raw_http(chance: Random, key: str) -> Case:
    """Bytes on a connection: damaged requests, lies about lengths, pipelines, slow ones."""
    body = chance.choice(corpus.batches())[:2000]
    usual = f"Host: gateway\r\nX-GoSight-Key: {key}\r\n".encode()
    good = b"POST /v1/events HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (usual, len(body), body)
    health = b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n"
    match chance.randrange(11):
        case 8:
            fake = chance.choice(
                (b"X-Content-Length: ", b"Content-Length: 0\r\nX-Content-Length: ")
            )
            fake += b"%d\r\nContent-Type: application/json\r\n\r\n" % len(health)
            return Case("", 0, (b"POST /v1/events HTTP/1.1\r\n" + usual + fake, health), 2)
        case 9:
            head = good[: good.index(b"\r\n\r\n")] + b"\r\nContent-Type: application/json"
            more = b"".join(
                head.replace(b"%d" % len(body), b"%d" % size) + b"\r\n\r\n" + b"{" * size
                for size in (1, 0, 10, len(body))
            )
            return Case("", 0, (more,), 4)
        case 0:
            count = chance.choice((2, 5, 30))
            return Case("", 0, (chance.choice((good, health)) * count,), count)
        case 1:
            return Case("", 0, (health * chance.choice((100, 3000)),), None)
        case 2:
            length = chance.choice(
                (*(str(number) for number in NUMBERS), "-1", "1e3", "0x10", "", " 5")
            )
            lines = b"Content-Length: " + length.encode() + b"\r\n"
            lines *= chance.choice((1, 1, 2))
            return Case(
                "", 0, (b"POST /v1/events HTTP/1.1\r\n" + usual + lines + b"\r\n" + body,), None
            )
        case 3:
            wire = b"POST /v1/events HTTP/1.1\r\n" + usual + b"Transfer-Encoding: chunked\r\n"
            if chance.random() < 0.4:
                wire += b"Content-Length: 5\r\n"
            chunks = _chunked(chance, body)
            chunks = mutate_bytes(chance, chunks) if chance.random() < 0.8 else chunks
            size = chance.choice(
                (b"", b"fffffffffffffffff\r\n", b"-1\r\n", b"0;" + b"a" * 9000 + b"\r\n")
            )
            return Case("", 0, (wire + b"\r\n" + size + chunks,), None)
        case 4:
            return Case("", 0, (good[: chance.randint(0, len(good) - 1)],), None)
        case 5:
            step = max(1, len(good) // 6)
            parts = tuple(good[at : at + step] for at in range(0, len(good), step))
            return Case("", 0, parts, 1, pause_s=SLOW_PAUSE_S)
        case 6:
            method = bytes(chance.choice(TOKEN_CHARACTERS) for _ in range(chance.randint(1, 300)))
            target = chance.choice(
                (b"*", b"/", b"http://x/v1/events", b"x:443", b"/" + b"a" * 9000)
            )
            version = chance.choice((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1.1 x", b""))
            return Case("", 0, (b"%s %s %s\r\n%s\r\n" % (method, target, version, usual),), None)
        case 7:
            return Case("", 0, (chance.randbytes(chance.choice((1, 20, 3000))),), None)
        case _:
            return Case("", 0, (mutate_bytes(chance, good, (health, b"\r\n", b"\n", b":")),), None)


ENTRIES: dict[str, Maker] = {
    "raw_http": raw_http,
    "headers": headers,
    "protobuf": protobuf,
    "json": json_body,
    "gzip": _packed("gzip"),
    "zstd": _packed("zstd"),
    "deflate": _packed("deflate"),
    "grpc_web": grpc_web,
    "grpc": grpc,
    "replay": replay,
}
