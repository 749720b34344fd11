.PHONY: lint test test-slow sanitize neon gpu gpu-slow bench tables

# The kernels without torch, held against loops.
FOLDERS = common hamming hamming/isa attention
KERNELS = $(foreach folder,$(FOLDERS),$(wildcard csrc/$(folder)/*.cpp))
CHECK = tests/csrc/check.cpp $(KERNELS)

# The CUDA kernels and their check for the host, over tests/csrc/emulator.
EMULATE = $(CXX) -std=c++17 -O1 -g -DSEMICON_FAST_EMULATE -Itests/csrc/emulator -Icsrc/cuda -Icsrc
MACHINE = $(addprefix tests/csrc/emulator/,fiber.cpp machine.cpp collectives.cpp)
EMULATED = tests/csrc/check_cuda.cpp -x c++ $(wildcard csrc/cuda/*.cu)
CUDA_CHECKS = topk-scan topk-popcount topk-binary topk-int8 range pairs groups

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
	$(CXX) -std=c++17 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -pthread \
	  -Icsrc tests/csrc/check_scores.cpp $(KERNELS) -o build/check-scores-asan
	build/check-scores-asan 100
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_scores.cpp \
	  $(KERNELS) -o build/check-scores-tsan
	build/check-scores-tsan 40
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc $(CHECK) -o build/check-tsan
	build/check-tsan 24
	$(CXX) -std=c++17 -O1 -g -fsanitize=thread -pthread -Icsrc tests/csrc/check_attention.cpp \
	  $(KERNELS) -o build/check-attention-tsan
	build/check-attention-tsan 24
	mkdir -p build/emulator
	for file in $(MACHINE); do $(EMULATE) -DEMULATOR_ADDRESSES -c $$file \
	  -o build/emulator/$$(basename $$file).o || exit 1; done
	$(EMULATE) -fsanitize=address,undefined -fno-sanitize-recover=all build/emulator/*.o $(EMULATED) \
	  -o build/check-cuda-asan
	for what in $(CUDA_CHECKS); do build/check-cuda-asan $$what 0 48 2 || exit 1; done

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
