"""A gallery of a tiny network, an application over it, and the command as a process of its own."""

import contextlib
import hashlib
import http.client
import io
import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image

import semicon_fast as sf
from semicon_fast import models
from semicon_fast.cli import app as commands
from semicon_fast.data import transforms

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")

BITS = 24


def picture(number, size=48):
    """A square of one colour on a noisy ground; its number decides colour and place."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
    left, top = rng.integers(0, size // 2, 2)
    pixels[top : top + size // 2, left : left + size // 2] = rng.integers(80, 256, 3)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def make_picture():
    return picture


@pytest.fixture(scope="session")
def make_file():
    """(image, kind) -> the content of its file."""
    return encoded


def spread(network):
    """Makes bits say how an image differs from the mean one: random weights alone see no images.

    Maps are made to see something everywhere on the average.
    """
    transform = transforms.from_config(network.preprocess)
    pixels = [torch.from_numpy(np.array(picture(i))).permute(2, 0, 1) for i in range(40)]
    with torch.no_grad():
        for i in (1, 2, 3):
            network.attention.get_submodule(f"feature{i}.1").bias.fill_(0.5)
        found = network(transform(pixels))
        for i, features in enumerate((found.features, *found.parts.unbind(1))):
            weight, mean = network.get_parameter(f"W_L{i}" if i else "W_G"), features.mean(0)
            weight -= torch.outer(weight @ mean, mean) / (mean @ mean)


@pytest.fixture(scope="session")
def network_file(tmp_path_factory):
    torch.manual_seed(0)
    network = sf.SEMICON(BITS, parts=3, backbone="tiny").eval()
    network.preprocess = transforms.build("plain", 32, train=False).config()
    spread(network)
    file = tmp_path_factory.mktemp("models") / "model.safetensors"
    models.save(network, file)
    return file


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """40 files, 20 a class, of every kind that is served."""
    folder = tmp_path_factory.mktemp("secret-folder") / "photos"
    kinds = ["png", "jpg", "webp", "bmp", "gif", "tif"]
    for number in range(40):
        path = folder / ("even", "odd")[number % 2] / f"{number:02d}.{kinds[number % 6]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    return folder


@pytest.fixture(scope="session")
def folder(network_file, photos, tmp_path_factory):
    """A gallery of `photos`, as `encode` and `index` leave it."""
    from typer.testing import CliRunner

    target = tmp_path_factory.mktemp("galleries") / "gallery"
    for arguments in (["encode", network_file, photos, "-o", target], ["index", target]):
        result = CliRunner().invoke(commands, [str(a) for a in arguments])
        assert result.exit_code == 0, result.stderr
    about = json.loads((target / "gallery.json").read_text())
    assert about["model_sha256"] == hashlib.sha256(network_file.read_bytes()).hexdigest()
    return target


class Server:
    """`semicon-fast serve` as a process."""

    def __init__(self, folder, *options, log):
        command = "from semicon_fast.cli import main; main()"
        arguments = ["serve", folder, "--port", "0", "--json", *options]
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )
        lines = []
        while not lines or lines[-1] not in ("}\n", ""):
            lines.append(self.process.stdout.readline())
        assert "".join(lines), f"the server did not start: {log.read_text()}"
        self.about = json.loads("".join(lines))
        self.address = self.about["address"]
        self.port = urlsplit(self.address).port

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, content)."""
        return ask(self.port, method, path, body, headers)

    def memory(self):
        """Resident MiB, and None where the system does not tell."""
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return None

    def stop(self):
        """Ctrl-C; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stdout.close()


def ask(port, method, path, body=None, headers=None, timeout=60):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="session", name="ask")
def ask_fixture():
    """(port, method, path, body, headers) -> (status, headers, content)."""
    return ask


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Starts `semicon-fast serve folder *options`; all are stopped in the end."""
    servers = []

    def start(folder, *options):
        log = tmp_path_factory.mktemp("logs") / "stderr.txt"
        servers.append(Server(folder, *options, log=log))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def modelless(start, folder):
    """A server without a model, for all tests that leave it as it is."""
    return start(folder, "--no-model")


@pytest.fixture(scope="session")
def server(start, folder):
    """One server for all tests that leave it as it is."""
    return start(folder, "--max-megabytes", "1", "--max-megapixels", "1")
