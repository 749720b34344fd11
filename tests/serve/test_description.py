"""The OpenAPI description is valid, and says what the server takes and gives."""

import itertools
import json
import re
import socket
import subprocess
import sys

import pytest

from semicon_fast import models
from semicon_fast.search.gallery import Gallery
from semicon_fast.serve import Limits, Pictures, Searcher, create_app

schemathesis = pytest.importorskip("schemathesis", reason="it needs Python 3.11")
from jsonschema import Draft202012Validator  # noqa: E402
from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: E402
from schemathesis.engine import events, from_schema  # noqa: E402


@pytest.fixture(scope="module")
def searcher(folder, network_file):
    gallery = Gallery.open(folder)
    return Searcher(gallery, gallery.build_index(), models.load(network_file))


@pytest.fixture(scope="module")
def application(searcher, folder):
    pictures = Pictures(searcher.gallery, folder)
    app = create_app(searcher, pictures, Limits(), ["testserver"])

    async def application(scope, receive, send):
        # schemathesis starts and stops an application around each request; this one starts once.
        if scope["type"] == "http":
            await app(scope, receive, send)

    return application


@pytest.fixture(scope="module")
def described(application):
    return schemathesis.openapi.from_asgi("/openapi.json", application)


@pytest.fixture(scope="module")
def document(described):
    return described.raw_schema


def schemas_in(value):
    """Every schema of an OpenAPI document, wherever it stands."""
    if isinstance(value, list):
        for item in value:
            yield from schemas_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "schema":
                yield item
            elif key == "schemas":
                yield from item.values()
            yield from schemas_in(item)


def operations(document):
    """(method, path, operation)."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_description_is_valid_openapi_of_valid_schemas(document):
    assert document["openapi"].startswith("3.1.")
    assert [e.message for e in OpenAPIV31SpecValidator(document).iter_errors()] == []
    found = list(schemas_in(document))
    assert len(found) > 80
    for schema in found:
        Draft202012Validator.check_schema(schema)
    # Arrays have items of one kind: not every reader of OpenAPI knows `prefixItems`.
    assert "prefixItems" not in json.dumps(found)
    box = document["components"]["schemas"]["AttentionMaps"]["properties"]["box"]
    assert (box["minItems"], box["maxItems"], box["items"]["type"]) == (4, 4, "number")


def test_parameters_are_described_with_the_bounds_that_hold(document, searcher):
    parameters = [p for *_, o in operations(document) for p in o.get("parameters", ())]
    assert len(parameters) == 13
    for parameter in parameters:
        schema = parameter["schema"]
        assert schema["type"] in ("integer", "string"), "a query has no null"
        if schema["type"] == "integer":
            assert {"minimum", "maximum"} <= schema.keys() and not {"ge", "le"} & schema.keys()
    described = {p["name"]: p["schema"] for p in parameters}
    assert described["part"]["enum"] == ["global", "part1", "part2", "part3"]
    takes = re.compile(described["weights"]["pattern"]).search
    for characters in itertools.product("0", "019,", "019,", "09,", "0", ",", "0,1"):
        given = "".join(characters)
        assert bool(takes(given)) == accepted(searcher.weights, None, given), given
    for given in ("", "0,0,0,0", "1,1,1", "1,1,1,1,1", "0,0,0,10", "1,1,1,1 ", "0,0,0,-1"):
        assert not takes(given) and not accepted(searcher.weights, None, given), given
    for given in ("1,1,1,1", "0,0,0,1", "9,0,0,0", *described["weights"]["examples"]):
        assert takes(given) and accepted(searcher.weights, None, given), given


def accepted(function, *arguments):
    try:
        function(*arguments)
    except ValueError:
        return False
    return True


IMAGE, HITS, LIST = "/api/images/3", "/api/images/3/neighbours", "/api/images"
WHOLE = "must be a whole number of at most 19 decimal digits, got "
WEIGHTS = (
    "weights must be a number from 0 to 9 for each of global, part1, part2, part3, with commas "
    "between them and not all of them 0, got "
)
NOTHING = "there is nothing at this address; /openapi.json describes the API's addresses"


@pytest.mark.parametrize(
    "address, status, sentence",
    [
        (f"{LIST}?start=1_0", 422, f"start {WHOLE}'1_0'"),
        (f"{LIST}?start=%2B1", 422, f"start {WHOLE}'+1'"),
        (f"{LIST}?start=+1", 422, f"start {WHOLE}' 1'"),
        (f"{LIST}?start=1.0", 422, f"start {WHOLE}'1.0'"),
        (f"{LIST}?start=%D9%A3", 422, f"start {WHOLE}'\u0663'"),
        (f"{LIST}?start=1%00", 422, f"start {WHOLE}'1\\x00'"),
        (f"{LIST}?start=%ED%A0%80", 422, f"start {WHOLE}'\ufffd\ufffd\ufffd'"),
        (f"{LIST}?start={'9' * 5000}", 422, f"start {WHOLE}'{'9' * 60}'"),
        (f"{LIST}?start", 422, f"start {WHOLE}''"),
        (f"{LIST}?count=101", 422, "count should be less than or equal to 100, got '101'"),
        (f"{LIST}?count=1&count=2", 422, "'count' is given 2 times; give it once"),
        (f"{LIST}?cuont=1", 422, "'cuont' is not a parameter of this address"),
        (f"{LIST}?a%0Ab=1", 422, "'a\\nb' is not a parameter of this address"),
        ("/api/images/007", 422, f"number {WHOLE}'007'"),
        ("/api/images/-1", 422, "number should be greater than or equal to 0, got '-1'"),
        ("/api/images/40", 404, "there is no image 40: the gallery has 40 images"),
        ("/api/images/3%2Fneighbours", 404, NOTHING),
        ("/api/images/", 404, NOTHING),
        (f"{HITS}?weights=", 422, f"{WEIGHTS}''"),
        (f"{HITS}?weights=0,0,0,0", 422, f"{WEIGHTS}'0,0,0,0'"),
        (f"{HITS}?weights=1,1,1,1%0A", 422, f"{WEIGHTS}'1,1,1,1\\n'"),
        (f"{HITS}?part=", 422, "part must be one of global, part1, part2, part3, got ''"),
        (f"{HITS}?part=part1&weights=1,1,1,1", 409, "part and weights cannot be given together"),
    ],
)
def test_what_the_description_rules_out_is_refused_in_a_sentence(server, address, status, sentence):
    given, headers, content = server.ask("GET", address)
    assert (given, json.loads(content)) == (status, {"detail": sentence})
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "kind, status",
    [
        ("image/png", 200),
        ("image/anything; q=1", 200),  # the content says what it is
        ("IMAGE/*", 200),
        ("image/", 415),
        ("image/a b", 415),
        ("application/octet-stream", 200),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_bodies_are_of_the_described_type(server, make_picture, make_file, kind, status):
    body = make_file(make_picture(1))
    given, _, content = server.ask("POST", "/api/search", body, {"Content-Type": kind})
    assert given == status, content


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/api/gallery", f"{IMAGE}?side=16", HITS])
def test_head_is_get_without_the_body(server, path):
    status, headers, content = server.ask("HEAD", path)
    expected = server.ask("GET", path)
    del headers["date"], expected[1]["date"]
    assert (status, headers, content) == (expected[0], expected[1], b"")
    assert server.ask("HEAD", path + "?nonsense=1&nonsense=1")[0] in (200, 422)


@pytest.mark.parametrize(
    "path, allowed", [("/", "GET, HEAD"), (LIST, "GET, HEAD"), ("/api/search", "POST")]
)
def test_other_methods_are_told_which_are_supported(server, path, allowed):
    for method in ("PUT", "OPTIONS", "TRACE", "QUERY"):
        status, headers, content = server.ask(method, path)
        assert (status, headers["allow"]) == (405, allowed)
        assert json.loads(content) == {"detail": f"this address supports {allowed} only"}


def test_a_current_copy_is_not_sent_again(server):
    tag = server.ask("GET", IMAGE)[1]["etag"]
    for copies in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, headers, content = server.ask("GET", IMAGE, headers={"If-None-Match": copies})
        assert (status, headers["etag"], content) == (304, tag, b""), copies
    for copies in ("", '"other"', tag.strip('"'), "["):
        assert server.ask("GET", IMAGE, headers={"If-None-Match": copies})[0] == 200, copies


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \0\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xb2\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_gets_an_error_of_the_same_form(server, sent):
    head, body = told(server.port, sent)
    assert head.startswith(b"HTTP/1.1 400") and b"\r\ncontent-type: application/json" in head
    expected = b"" if sent.startswith(b"HEAD") else b'{"detail":"the request is not valid HTTP"}'
    assert body == expected and "Error" not in server.log.read_text()


def told(port, sent):
    """(head, body) of what comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.lower().replace(b"http/1.1", b"HTTP/1.1"), body


def generated(application, most):
    """(number of requests, failures and errors) of all phases and checks of schemathesis.

    `most` bounds the requests of an operation in a phase. The requests of every run are the same.
    """
    generation = {"max-examples": most, "deterministic": True, "database": "none"}
    config = schemathesis.Config.from_dict({"seed": 1, "generation": generation})
    described = schemathesis.openapi.from_asgi("/openapi.json", application, config=config)
    count, wrong = 0, []
    for event in from_schema(described).execute():
        if isinstance(event, events.ScenarioFinished):
            count += len(event.recorder.interactions)
            checks = itertools.chain(*event.recorder.checks.values())
            wrong += [
                (event.label, c.name, c.failure_info.failure) for c in checks if c.failure_info
            ]
        elif isinstance(event, events.NonFatalError):
            wrong.append((event.label, event.value))
        elif isinstance(event, events.FatalError):
            wrong.append(event.exception)
    return count, wrong


def test_generated_requests(application):
    count, wrong = generated(application, 5)
    assert not wrong and count > 200, (count, wrong[:3])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [(), ("--no-model",)], ids=["model", "no-model"])
def test_five_thousand_generated_requests(start, folder, tmp_path, options):
    address = start(folder, *options).address + "openapi.json"
    command = ["run", address, "--seed", "1", "-n", "450", "--checks", "all", "--no-color"]
    program = [sys.executable, "-c", "from schemathesis.cli import schemathesis as s; s()"]
    told = subprocess.run([*program, *command], cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0 and "No issues found" in told.stdout, told.stdout + told.stderr
    assert int(re.search(r"(\d+) generated", told.stdout)[1]) >= 5000, told.stdout
