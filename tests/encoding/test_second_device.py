"""Encoding on a device that is not the current one waits for that device, by a fake of CUDA."""

from collections import defaultdict

import pytest
import torch

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.encoding import Runner, runner

SECOND = torch.device("cuda", 1)


class Devices:
    """Two devices, the first of which is current. A copy to the host arrives when an event is
    waited for that was recorded on a stream of the copy's device, and not before."""

    def __init__(self):
        self.on_their_way = defaultdict(list)

    def copy_to_host(self, tensor):
        host = torch.zeros_like(tensor)
        self.on_their_way[SECOND].append(lambda: host.copy_(tensor))
        return host

    def current_stream(self, device=None):
        return torch.device(device or "cuda:0")

    def event(self):
        devices = self

        class Event:
            def record(self, stream=None):
                stream = stream or devices.current_stream()
                self.before, devices.on_their_way[stream] = devices.on_their_way[stream], []

            def synchronize(self):
                with torch.inference_mode():
                    for arrive in self.before:
                        arrive()

        return Event()


class OnDevice(torch.Tensor):
    """Pixels that stay where they are, whatever device they are sent to."""

    def to(self, *_, **__):
        return self.as_subclass(torch.Tensor)


@pytest.fixture
def second_device(monkeypatch):
    devices = Devices()
    monkeypatch.setattr(runner, "_pinned", devices.copy_to_host)
    monkeypatch.setattr(torch.cuda, "Event", devices.event)
    monkeypatch.setattr(torch.cuda, "current_stream", devices.current_stream)
    return devices


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'")
@pytest.mark.parametrize("output", ["codes", "features"])
def test_values_have_arrived_from_the_second_device_when_they_are_read(second_device, output):
    network = models.build({"network": "small", "code_length": 12, "width": 4}, seed=0)
    network.preprocess = transforms.build("small", 16, False).config()
    encode = Runner(network, "cpu", output=output)
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=draw, dtype=torch.uint8)
    batches = pixels.split(3)
    expected = [encode(batch) for batch in batches]
    assert all(values.any() for values in expected)
    encode.device = SECOND
    found = encode.stream((batch.as_subclass(OnDevice), at) for at, batch in enumerate(batches))
    for at, (values, number) in enumerate(found):
        assert number == at and (values == expected[at]).all()
    assert not any(second_device.on_their_way.values())
