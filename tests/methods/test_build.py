"""Methods by name, and the hooks that methods to come rely on."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from semicon_fast import methods


@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_is_built_by_its_name(name):
    assert methods.build(name).name == name


def test_unknown_names_and_options_are_refused_by_name():
    with pytest.raises(ValueError, match="semicon, adsh, dsh, .*got 'itq'"):
        methods.build("itq")
    with pytest.raises(ValueError, match="no option 'gama'.*did you mean gamma"):
        methods.build("semicon", gama=3)


@pytest.mark.parametrize(
    "name, options",
    [
        ("semicon", {"gamma": -1}),
        ("semicon", {"beta": float("nan")}),
        ("semicon", {"reference_length": 0}),
        ("semicon", {"start": "ones"}),
        ("dsh", {"alpha": -0.1}),
        ("dsh", {"margin": 0}),
        ("dsh", {"alpha": "much"}),
        ("dsh", {"alpha": None}),
    ],
)
def test_bad_values_are_refused_by_name(name, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        methods.build(name, **options)


class Centers(methods.Method):
    """A head with its own parameters and anchors from a pass over the data, as methods to come."""

    name = "centers"

    def begin(self, labels, code_length, generator):
        self.head = nn.Linear(code_length, int(labels.max()) + 1)
        self.register_buffer("anchors", torch.zeros(int(labels.max()) + 1, code_length))
        self.labels = labels

    def wants_features(self, iteration):
        return iteration >= 1

    def take_features(self, batches):
        for output, rows in batches:
            self.anchors.index_add_(0, self.labels[rows], output.features)

    def loss(self, output, labels, rows):
        return {"class": nn.functional.cross_entropy(self.head(output.codes), labels)}


def test_a_method_may_own_parameters_and_take_a_pass_over_the_data():
    method = Centers()
    labels = torch.tensor([0, 1, 1])
    method.begin(labels, 4, torch.Generator())
    assert [method.wants_features(i) for i in range(2)] == [False, True]
    method.take_features([(SimpleNamespace(features=torch.ones(3, 4)), torch.arange(3))])
    assert method.anchors[:, 0].tolist() == [1, 2]
    loss = method.loss(SimpleNamespace(codes=torch.ones(3, 4)), labels, torch.arange(3))["class"]
    loss.backward()
    assert method.head.weight.grad is not None
    assert set(method.state_dict()) == {"anchors", "head.weight", "head.bias"}
