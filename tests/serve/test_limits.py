"""What happens at each bound: too many at once, too slow, gone wrong inside, Ctrl-C in between."""

import contextlib
import http.client
import json
import socket
import threading
import time

import pytest

from semicon_fast.search.gallery import Gallery
from semicon_fast.serve import Limits, Pictures, Searcher, create_app, listen
from semicon_fast.serve import server as server_module
from semicon_fast.serve.server import configure_server

PNG = {"Content-Type": "image/png"}
HEAD = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


class Gate:
    """Stands for the network: an image's code is known when the gate is open."""

    def __init__(self, searcher):
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.code = searcher.gallery.codes[:1]

    def __call__(self, data, max_pixels):
        self.entered.release()
        assert self.open.wait(30)
        return self.code


@pytest.fixture
def serving(folder):
    """Starts an application within given limits; returns (port, gate)."""
    with contextlib.ExitStack() as stack:

        def serving(**limits):
            gallery = Gallery.open(folder)
            searcher = Searcher(gallery, gallery.build_index())
            searcher.network = type("Network", (), {"network": "a gate"})
            searcher.by_image = gate = Gate(searcher)
            bounds = Limits(**limits)
            listening, _ = listen("127.0.0.1", 0)
            app = create_app(searcher, Pictures(gallery, folder), bounds)
            server = configure_server(app, bounds)
            thread = threading.Thread(target=server.run, args=([listening],))
            port = listening.getsockname()[1]
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            stack.callback(gate.open.set)
            gate.stop = lambda: [setattr(server, "should_exit", True), thread.join(30)]
            return port, gate

        yield serving


@pytest.fixture
def send(ask):
    """Sends an image, by default in a thread; returns what will hold the answer."""

    def send(port, answers, size=100):
        def work():
            with contextlib.suppress(OSError, http.client.HTTPException):
                answers.append(ask(port, "POST", "/api/search", b"x" * size, PNG))

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    return send


def test_whoever_finds_the_queue_full_is_told_when_to_come_again(serving, send, ask):
    port, gate = serving(places=2)
    answers = []
    # Two of the three have places and wait for the gate, whichever they are: one is answered.
    asking = [send(port, answers) for _ in range(3)]
    deadline = time.monotonic() + 20
    while not answers and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(answers) == 1
    status, headers, content = answers[0]
    assert status == 503 and int(headers["retry-after"]) >= 1
    assert "busy" in json.loads(content)["detail"]
    # What needs no network is answered all the same.
    assert ask(port, "GET", "/api/images/3/neighbours")[0] == 200
    assert ask(port, "GET", "/api/images/3?side=16")[0] == 200
    gate.open.set()
    for thread in asking:
        thread.join()
    assert [a[0] for a in answers] == [503, 200, 200]
    assert ask(port, "POST", "/api/search", b"x", PNG)[0] == 200


def test_bytes_that_are_held_are_counted_together(serving, send, ask):
    port, gate = serving(held_bytes=1000)
    answers = []
    first = send(port, answers, 900)
    assert gate.entered.acquire(timeout=20)
    assert ask(port, "POST", "/api/search", b"x" * 101, PNG)[0] == 503
    second = send(port, answers, 100)
    gate.open.set()
    first.join()
    second.join()
    assert [a[0] for a in answers] == [200, 200]


def test_a_place_is_free_only_when_its_work_is_done(serving, ask):
    port, gate = serving(places=1, request_seconds=0.5)
    status, headers, content = ask(port, "POST", "/api/search", b"x", PNG)
    assert status == 503 and "too long" in json.loads(content)["detail"]
    assert "busy" in json.loads(ask(port, "POST", "/api/search", b"x", PNG)[2])["detail"]
    gate.open.set()
    deadline = time.monotonic() + 20
    while ask(port, "POST", "/api/search", b"x", PNG)[0] != 200:
        assert time.monotonic() < deadline


def answer(connection):
    connection.settimeout(30)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_slow_body_is_given_up(serving):
    port, _ = serving(upload_seconds=0.3, header_seconds=0.3)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nabc")
        said = answer(connection)
    assert said.startswith(b"HTTP/1.1 408") and b"0.3 seconds" in said


def test_a_slow_head_is_given_up_whatever_trickles_in(serving):
    port, _ = serving(header_seconds=0.5)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD)
        closed = threading.Event()

        def trickle():
            with contextlib.suppress(OSError):
                while not closed.wait(0.05):
                    connection.sendall(b"X: y\r\n")

        thread = threading.Thread(target=trickle)
        thread.start()
        with contextlib.suppress(ConnectionResetError):
            assert answer(connection) == b""
        closed.set()
        thread.join()


def test_a_request_whose_answer_is_slow_is_no_slow_head(serving, ask):
    port, gate = serving(header_seconds=0.3)
    threading.Timer(1.0, gate.open.set).start()
    assert ask(port, "POST", "/api/search", b"x", PNG)[0] == 200


def test_connections_are_bounded(serving, ask):
    port, _ = serving(connections=4)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        status, headers, content = ask(port, "GET", "/api/gallery")
        assert status == 503 and int(headers["retry-after"]) >= 1
        assert "too many connections" in json.loads(content)["detail"]
    deadline = time.monotonic() + 20  # until the server has seen them go
    while ask(port, "GET", "/api/gallery")[0] != 200:
        assert time.monotonic() < deadline


def test_a_mistake_inside_names_no_path(serving, ask, caplog):
    port, gate = serving()
    gate.open.set()
    gate.code = None
    status, headers, content = ask(port, "POST", "/api/search", b"x", PNG)
    assert status == 500 and json.loads(content)["detail"].startswith("internal server error")
    assert b".py" not in content and headers["x-content-type-options"] == "nosniff"
    assert ask(port, "GET", "/api/gallery")[0] == 200


def test_what_waits_when_the_server_stops_is_dropped(serving, send, monkeypatch):
    monkeypatch.setattr(server_module, "STOP_SECONDS", 0.2)
    port, gate = serving()
    answers = []
    waiting = [send(port, answers) for _ in range(5)]
    assert gate.entered.acquire(timeout=20)
    time.sleep(0.3)
    gate.stop()
    gate.open.set()
    for thread in waiting:
        thread.join(20)
    assert not any(thread.is_alive() for thread in waiting)
    assert not gate.entered.acquire(timeout=0.5), "nothing that waited began"
