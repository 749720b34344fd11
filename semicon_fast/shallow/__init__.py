"""Hashing of feature vectors: methods that learn codes without a network, with scikit-learn's
contract."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
