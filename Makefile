.PHONY: lint test test-slow sanitize neon gpu gpu-slow bench tables

# The kernels without torch, held against loops.
KERNELS = $(filter-out csrc/%bindings.cpp,$(wildcard csrc/*.cpp))
CHECK = tests/csrc/check.cpp $(KERNELS)

lint:
	ruff check .
	ruff format --check .
	mypy

test:
	pytest

test-slow:
	pytest -m slow

sanitize:
	mkdir -p build
	$(CXX) -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
	  -Icsrc $(CHECK) -o build/check-asan
	build/check-asan 100
	$(CXX) -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
	  -Icsrc tests/csrc/check_attention.cpp $(KERNELS) -o build/check-attention-asan
	build/check-attention-asan 60
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc $(CHECK) -o build/check-tsan
	build/check-tsan 24
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_attention.cpp \
	  $(KERNELS) -o build/check-attention-tsan
	build/check-attention-tsan 24

# Needs g++-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static (Debian's names).
neon:
	mkdir -p build
	aarch64-linux-gnu-g++ -std=c++17 -O3 -static -pthread -Icsrc $(CHECK) -o build/check-neon
	qemu-aarch64-static build/check-neon 20

# Everything that needs a CUDA device: tests first, so that no speed is reported of a wrong kernel.
gpu:
	pytest -m 'gpu and not slow'
	python benchmarks/loss_and_codes.py --device cuda
	python benchmarks/attention.py --device cuda --csv benchmarks/results/attention_cuda.csv
	python benchmarks/pipeline.py --device cuda --csv benchmarks/results/pipeline_cuda.csv
	python benchmarks/pipeline.py --device cuda --profile
	python benchmarks/hamming_rank.py --device cuda --csv benchmarks/results/hamming_rank_cuda.csv
	python benchmarks/tables.py

gpu-slow:
	pytest -m 'gpu and slow'

bench:
	python benchmarks/loss_and_codes.py
	python benchmarks/hamming_rank.py
	python benchmarks/attention.py
	python benchmarks/pipeline.py
	python benchmarks/parts.py

# README's tables come from benchmarks/results and from nowhere else.
tables:
	python benchmarks/tables.py
