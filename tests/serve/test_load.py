"""Fifty clients at once: no error, and memory stays where it was."""

import http.client
import json
import signal
import socket
import threading
import time

import pytest

CLIENTS = 50
PNG = {"Content-Type": "image/png"}


def client(port, number, images, until, failures, counts):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    asked = 0
    while time.monotonic() < until:
        image = images[(number + asked) % len(images)]
        turn = (number + asked) % 5
        if turn < 2:
            request = (
                "POST",
                f"/api/search?k={1 + asked % 40}&weights=1,0,{asked % 3},1",
                image,
                PNG,
            )
        elif turn == 2:
            request = ("POST", "/api/maps", image, PNG)
        elif turn == 3:
            request = ("GET", f"/api/images/{asked % 40}/neighbours?part=part{1 + asked % 3}")
        else:
            request = ("GET", f"/api/images/{(number + asked) % 40}?side=160")
        try:
            connection.request(*request)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                failures.append((request[:2], answer.status, content))
        except (OSError, http.client.HTTPException) as error:
            failures.append((request[:2], repr(error)))
            connection.close()
        asked += 1
    connection.close()
    counts.append(asked)


def load(server, images, seconds):
    failures, counts = [], []
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=client, args=(server.port, i, images, until, failures, counts))
        for i in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    assert min(counts) >= 1
    return sum(counts)


@pytest.mark.parametrize("seconds", [1, pytest.param(60, marks=pytest.mark.slow)])
def test_fifty_clients(start, folder, make_picture, make_file, seconds):
    images = [make_file(make_picture(i, 64 + 16 * (i % 7))) for i in range(23)]
    server = start(folder)
    load(server, images, 2)  # what the first requests allocate stays
    before = server.memory()
    asked = load(server, images, seconds)
    after = server.memory()
    print(f"{asked} requests of {CLIENTS} clients in {seconds} s, resident {before} to {after} MiB")
    assert json.loads(server.ask("GET", "/api/gallery")[2])["count"] == 40
    if before is not None:
        assert after - before < 32, "MiB"
    stop_in_the_middle(server, images[0])
    said = server.log.read_text()
    assert "stopped" in said and "Traceback" not in said


def stop_in_the_middle(server, image):
    """Ctrl-C lets a request end that has begun."""
    head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(image) + image[:50])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        connection.sendall(image[50:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.process.wait(30) == 130
