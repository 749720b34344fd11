.PHONY: lint test test-slow gpu bench tables

lint:
	ruff check .
	ruff format --check .
	mypy

test:
	pytest

test-slow:
	pytest -m slow

# Everything that needs a CUDA device: tests first, so that no speed is reported of a wrong kernel.
gpu:
	pytest -m gpu
	python benchmarks/loss_and_codes.py --device cuda

bench:
	python benchmarks/loss_and_codes.py

# README's tables come from benchmarks/results and from nowhere else.
tables:
	python benchmarks/tables.py
