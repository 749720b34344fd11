.PHONY: lint test test-slow sanitize neon gpu gpu-slow bench tables

# The kernels without torch, held against loops.
FOLDERS = common hamming hamming/isa scores tables attention
KERNELS = $(foreach folder,$(FOLDERS),$(wildcard csrc/$(folder)/*.cpp))
CHECK = tests/csrc/check.cpp $(KERNELS)

# The CUDA kernels and their check for the host, over tests/csrc/emulator.
EMULATE = $(CXX) -std=c++17 -O1 -g -DSEMICON_FAST_EMULATE -Itests/csrc/emulator -Icsrc/cuda -Icsrc
MACHINE = $(addprefix tests/csrc/emulator/,fiber.cpp machine.cpp collectives.cpp)
EMULATED = tests/csrc/check_cuda.cpp -x c++ $(wildcard csrc/cuda/*.cu)
CUDA_CHECKS = topk-scan topk-popcount topk-binary topk-int8 range pairs groups turns

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
	  -Icsrc tests/csrc/check_tables.cpp $(KERNELS) -o build/check-tables-asan
	build/check-tables-asan 100
	$(CXX) -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
	  -Icsrc tests/csrc/check_attention.cpp $(KERNELS) -o build/check-attention-asan
	build/check-attention-asan 60
	$(CXX) -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
	  -Icsrc tests/csrc/check_scores.cpp $(KERNELS) -o build/check-scores-asan
	build/check-scores-asan 100
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_scores.cpp \
	  $(KERNELS) -o build/check-scores-tsan
	build/check-scores-tsan 40
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc $(CHECK) -o build/check-tsan
	build/check-tsan 24
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_tables.cpp \
	  $(KERNELS) -o build/check-tables-tsan
	build/check-tables-tsan 24
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_attention.cpp \
	  $(KERNELS) -o build/check-attention-tsan
	build/check-attention-tsan 24
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Itests/csrc/runtime -Icsrc/cuda -Icsrc \
	  tests/csrc/check_launch.cpp -o build/check-launch-tsan
	build/check-launch-tsan
	mkdir -p build/emulator
	for file in $(MACHINE); do $(EMULATE) -DEMULATOR_ADDRESSES -c $$file \
	  -o build/emulator/$$(basename $$file).o || exit 1; done
	$(EMULATE) -fsanitize=address,undefined -fno-sanitize-recover=all build/emulator/*.o $(EMULATED) \
	  -o build/check-cuda-asan
	for what in $(CUDA_CHECKS); do build/check-cuda-asan $$what 0 48 2 || exit 1; done
	build/check-cuda-asan layouts 0 640 1

# Needs g++-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static (Debian's names).
neon:
	mkdir -p build
	aarch64-linux-gnu-g++ -std=c++17 -O3 -static -pthread -Icsrc $(CHECK) -o build/check-neon
	qemu-aarch64-static build/check-neon 20

# What needs a CUDA device: tests first, so that no speed is reported of a wrong kernel; then tables.
gpu:
	benchmarks/gpu_run.sh 1 2 3 4 5 6

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
