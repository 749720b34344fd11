"""A thousand requests that are wrong: each gets a 4xx with a sentence, and the server lives."""

import collections
import io
import itertools
import json
import re
import socket
import struct
import time
import zipfile
import zlib
from urllib.parse import quote

import numpy as np
import pytest

COUNT = 1000
PNG, OCTETS = {"Content-Type": "image/png"}, {"Content-Type": "application/octet-stream"}
LIMIT = 2**20  # of bytes, as conftest starts the server; and 10**6 pixels


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *before, data=None):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * min((width + 1) * height, 10**7) if data is None else data, 9)
    chunks = [chunk(b"IHDR", head), *before, chunk(b"IDAT", body), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bombs(make_picture, make_file):
    """Small files that promise, or decode to, far more than they are."""
    yield png(60000, 60000)
    yield png(1001, 1000)
    yield png(2**31 - 1, 1)
    yield png(8, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 70_000_000, 9)))
    yield png(8, 8, chunk(b"iCCP", b"k\0\0" + zlib.compress(b"x" * 70_000_000, 9)), data=b"")
    gif = bytearray(make_file(make_picture(0), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    yield bytes(gif)
    bmp = bytearray(make_file(make_picture(0), "BMP"))
    bmp[18:26] = struct.pack("<ii", 40000, 40000)
    yield bytes(bmp)
    jpeg = make_file(make_picture(0), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    yield jpeg[: frame + 5] + struct.pack(">HH", 65500, 65500) + jpeg[frame + 9 :]
    many = make_file(make_picture(0), "JPEG", progressive=True)
    first = many.rindex(b"\xff\xda")
    yield many[:first] + many[first:-2] * 120 + many[-2:]
    webp = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + b"\xff\x3f\0\xff\x3f\0"
    yield b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp
    tiff = bytearray(make_file(make_picture(0), "TIFF"))
    for tag in (256, 257):
        at = re.search(struct.pack("<H", tag) + b"[\x03\x04]\0\x01\0\0\0", tiff).end()
        tiff[at : at + 2] = struct.pack("<H", 50000)
    yield bytes(tiff)


def strangers(make_picture, make_file):
    """Whole files of kinds that are not served, some of which Pillow would open."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", b"0" * 10**6)
    yield archive.getvalue()
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    yield b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield b"<!doctype html><script>alert(1)</script>"
    yield b"#!/bin/sh\nexit 1\n"
    yield b"\x7fELF" + b"\0" * 100
    for kind in ("PPM", "TGA", "ICO", "PCX", "PDF", "EPS", "JPEG2000", "ICNS"):
        try:
            yield make_file(make_picture(1), kind)
        except (OSError, KeyError):
            continue


def uploads(rng, make_picture, make_file):
    """(headers, body) of POST /api/search."""
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        whole = make_file(make_picture(int(rng.integers(1000))), kind)
        yield PNG, whole[: int(rng.integers(1, int(0.9 * len(whole))))]
    yield OCTETS, rng.bytes(int(rng.integers(1, 5000)))
    damaged = bytearray(make_file(make_picture(3)))
    damaged[int(rng.integers(0, 24))] ^= 0xFF
    yield PNG, bytes(damaged)
    yield PNG, b""
    yield PNG, make_file(make_picture(3)) * 400 + b"x" * LIMIT
    for kind in ("application/json", "text/plain", "", "multipart/form-data; boundary=x", "im age"):
        yield {"Content-Type": kind}, make_file(make_picture(2))
    yield {"Content-Type": "application/json"}, b'{"image": '
    yield {"Content-Type": "application/json"}, b"[" * 10_000
    broken = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../a.png"\r\n\r\n'
    yield {"Content-Type": "multipart/form-data; boundary=x"}, broken + rng.bytes(50)
    yield {"Content-Type": "multipart/form-data"}, broken


NUMBERS = [
    "0",
    "-1",
    "1025",
    "1e9",
    "1.5",
    "abc",
    "",
    "NaN",
    "inf",
    "9" * 400,
    "0x3",
    "null",
    "'",
    "%00",
    "3;4",
]
WEIGHTS = [
    "",
    "1",
    "1,1,1",
    "1,1,1,1,1",
    "1,1,1,10",
    "0,0,0,0",
    "-1,1,1,1",
    "a,b,c,d",
    "1,,1,1",
    "%D9%A3,1,1,1",
]
PATHS = [
    "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/etc/passwd",
    "/api/images/../../../etc/passwd", "/api/images/..%2f..%2fetc%2fpasswd", "/index.html",
    "/static/../app.py", "/app.py", "/app.js/", "/%00", "/api/images/%00", "/api/images/0/",
    "/api/images/0%00.jpg", "/api/images/file:///etc/passwd", "/api/images/C:%5Cwindows",
    "/docs", "/redoc", "/.git/config", "/gallery.json", "/api/images/0/maps/../../..", "/api",
    "/..%5c..%5cetc", "/%c0%ae%c0%ae/etc/passwd", "/" + "a" * 5000, "/api/images/" + "9" * 30,
]  # fmt: skip


def addresses():
    """(method, path) that are wrong without any body."""
    known = ["/", "/app.js", "/api/gallery", "/api/images", "/api/images/0", "/openapi.json",
             "/api/images/0/maps", "/api/images/0/neighbours"]  # fmt: skip
    for path, method in itertools.product(
        known, ("PUT", "DELETE", "PATCH", "OPTIONS", "POST", "TRACE", "BREW")
    ):
        yield method, path
    for path, method in itertools.product(
        ("/api/search", "/api/maps"), ("GET", "PUT", "DELETE", "OPTIONS")
    ):
        yield method, path
    for path in PATHS:
        yield "GET", path
    for value in NUMBERS:
        for path in ("/api/images/0/neighbours?k=", "/api/images/0?side=", "/api/images?count="):
            yield "GET", path + value
        yield "POST", f"/api/search?k={value}"
        if value != "0":
            yield "GET", f"/api/images/{value}/neighbours"
            yield "GET", f"/api/images/{value}/maps"
        if value not in ("0", "1025"):
            yield "GET", f"/api/images?start={value}"
    for value in WEIGHTS:
        yield "GET", f"/api/images/0/neighbours?weights={value}"
    for query in ("kk=3", "part=part9", "part=", "part=part1&weights=1,1,1,1", "part=" + "x" * 999):
        yield "GET", "/api/images/0/neighbours?" + query
        yield "GET", "/api/gallery?" + query
    for number in (40, 41, 10**6, 2**62, 2**63, 2**64):
        yield "GET", f"/api/images/{number}"


def raws(rng):
    """Bytes that are no request, or one that must not be taken for what it says."""
    get = b"GET /api/gallery HTTP/1.1\r\n"
    post = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    yield b"\r\n\r\n\r\nnonsense\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)) + b"\r\n\r\n"
    yield get + b"\r\n"
    yield get + b"Host: evil.example\r\n\r\n"
    yield get + b"Host: 127.0.0.1.evil.example\r\n\r\n"
    yield get + b"Host: localhost@evil.example:80\r\n\r\n"
    yield get + b"Host: \r\n\r\n"
    yield get + b"Host: localhost\r\nHost: evil.example\r\n\r\n"
    yield get + b"Host: localhost\r\nno colon\r\n\r\n"
    yield get + b"Host: localhost\r\nX: \x00\r\n\r\n"
    yield get + b"Host: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"
    yield b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"GET /api/gallery HTTP/one\r\nHost: localhost\r\n\r\n"
    yield b"GET /api/gal lery HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    yield b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield post + b"Content-Length: -1\r\n\r\n"
    yield post + b"Content-Length: 1e3\r\n\r\n"
    yield post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
    yield post + b"Content-Length: 999999999999\r\n\r\n"
    yield post + b"Content-Length: " + b"9" * 50 + b"\r\n\r\n"
    yield post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    yield post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
    yield post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield post + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    yield post + b"\r\n"
    yield get + bytes(rng.integers(128, 256, 50, dtype=np.uint8)) + b"\r\n\r\n"


def said_to(port, data):
    """(status, content) of what comes back for raw bytes."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(data)
        answer = b""
        # The server closes, or the length tells that all is there.
        while piece := connection.recv(65536):
            answer += piece
            head, end, content = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            if end and length and len(content) >= int(length[1]):
                break
    head, _, content = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        content = content.split(b"\r\n")[1]
    return int(head.split()[1]), content


def wrong_requests(make_picture, make_file):
    """(what, send(server) -> (status, content)), without end."""

    def asked(method, path, body=None, headers=None):
        headers = headers or (OCTETS if method == "POST" else None)

        def send(server):
            status, _, content = server.ask(method, quote(path, safe="/%?&=,;:'"), body, headers)
            return status, content

        return (method, path, (body or b"")[:20]), send

    def raw(data):
        return ("raw", data[:60]), lambda server: said_to(server.port, data)

    rng = np.random.default_rng(0)
    once = [asked("POST", "/api/search", bomb, PNG) for bomb in bombs(make_picture, make_file)]
    once += [asked("POST", "/api/maps", bomb, PNG) for bomb in bombs(make_picture, make_file)]
    once += [asked("POST", "/api/search", s, PNG) for s in strangers(make_picture, make_file)]
    once += [asked(method, path) for method, path in addresses()]
    yield from once
    while True:
        yield from map(raw, raws(rng))
        for headers, body in uploads(rng, make_picture, make_file):
            yield asked("POST", ("/api/search", "/api/maps")[int(rng.integers(2))], body, headers)


def sentence(content):
    """The words of an answer, from our JSON or from uvicorn's text."""
    if content.startswith(b"{"):
        value = json.loads(content)
        assert value.keys() == {"detail"}
        return value["detail"]
    assert content == b"Invalid HTTP request received."
    return content.decode()


def test_a_thousand_wrong_requests(server, make_picture, make_file, photos):
    assert server.ask("GET", "/api/gallery")[0] == 200
    before = server.memory()
    statuses = collections.Counter()
    for what, send in itertools.islice(wrong_requests(make_picture, make_file), COUNT):
        status, content = send(server)
        assert 400 <= status < 500, (what, status, content)
        words = sentence(content)
        assert len(words.split()) > 3 and "\n" not in words, (what, words)
        assert not re.search(
            r"Traceback|secret-folder|site-packages|\.py|0x[0-9a-f]{6}|/tmp", words
        )
        statuses[status] += 1
    assert sum(statuses.values()) == COUNT
    assert {400, 403, 404, 405, 411, 413, 415, 422} <= statuses.keys()
    assert server.process.poll() is None and "Traceback" not in server.log.read_text()
    status, _, content = server.ask("POST", "/api/search", make_file(make_picture(1)), PNG)
    assert status == 200 and len(json.loads(content)["hits"]) == 12
    if before is not None:
        # One decoded image of a megapixel and what the allocator keeps of a few.
        assert server.memory() - before < 64, "MiB"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:80", "LocalHost.", "[::1]:8000", "192.168.1.7"]
)
def test_hosts_that_cannot_be_rebound_are_welcome(server, host):
    assert server.ask("GET", "/api/gallery", headers={"Host": host})[0] == 200


def test_a_client_that_goes_away_in_the_middle_harms_nobody(server, make_picture, make_file):
    head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    for _ in range(80):  # more than there are places
        with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
            connection.sendall(head + b"Content-Length: 1000\r\n\r\nshort")
    deadline = time.monotonic() + 20  # until the server has seen them go
    while server.ask("POST", "/api/search", make_file(make_picture(1)), PNG)[0] != 200:
        assert time.monotonic() < deadline
