"""What a module of presets has: names, and functions that make their settings."""

from collections.abc import Callable
from typing import Any

Recipes = dict[str, Callable[[], dict[str, Any]]]
