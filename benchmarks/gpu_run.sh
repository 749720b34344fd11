#!/usr/bin/env bash
# What half an hour of one GPU proves most with: tests first, then speed. Needs torch, NumPy, pytest
# and nvcc; no network and no installation.
#
#   benchmarks/gpu_run.sh              parts 1 to 5, on the machine with the GPU
#   benchmarks/gpu_run.sh 2 4          these parts
#   benchmarks/gpu_run.sh 6            at home: results, README's tables, a shorter UNPROVEN.md,
#                                      of what lies in $OUT, or in the folders named by $FROM
#   benchmarks/gpu_run.sh --dry [...]  the same on a CPU: tiny, emulated, nothing kept
#   benchmarks/gpu_run.sh --list       parts, steps and their limits in seconds
#
# Part N leaves its results in $OUT/partN (gpu-results/ without $OUT): log.txt, steps.csv, and what
# the steps measured. A step that fails, or is stopped at its limit, stops no other. Wheels in
# wheels/ are unpacked first, see gpu_wheels.txt. PYTHON names another interpreter than python3.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} out=${OUT:-gpu-results} dry='' list='' bad=0 device=cuda
parts=()
for word in "$@"; do
  case $word in
    --dry) dry=1 device=cpu ;;
    --list) list=1 ;;
    [1-6]) parts+=("$word") ;;
    *) echo "gpu_run.sh takes --dry, --list and parts from 1 to 6, got $word" >&2; exit 2 ;;
  esac
done
if [ ${#parts[@]} = 0 ]; then
  parts=(1 2 3 4 5)
  [ -n "$dry$list" ] && parts+=(6)
fi
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
started=''

# step NAME LIMIT COMMAND...: runs it for LIMIT seconds at most, and writes down how it ended.
step() {
  local name=$1 limit=$2 began status
  shift 2
  if [ -n "$list" ]; then echo "$part $name $limit"; return; fi
  [ -z "$dry" ] || limit=300  # a busy CPU says nothing of a GPU's minutes
  echo "== part $part, $name, at most $limit s: $*" | tee -a "$folder/log.txt"
  began=$(date +%s)
  timeout --kill-after=10 "$limit" "$@" </dev/null >>"$folder/log.txt" 2>&1
  status=$?
  [ $status = 0 ] || { bad=1; tail -n 25 "$folder/log.txt"; }
  echo "$name,$status,$(($(date +%s) - began)),${dry:+dry}" >>"$folder/steps.csv"
  echo "== $name: status $status after $(($(date +%s) - began)) s"
}

# tests NAME LIMIT WORKERS FILES...: tests of a device; dry, they are collected.
tests() {
  local name=$1 limit=$2 workers=$3
  shift 3
  local split=()
  if "$python" -c 'import xdist' 2>/dev/null; then split=(-n "$workers" --dist worksteal); fi
  [ -n "$dry" ] && split=(-p no:xdist --collect-only)
  step "$name" "$limit" "$python" -m pytest -q -o addopts=--import-mode=importlib --strict-markers \
    -p no:cacheprovider -m 'gpu and not slow' "${split[@]}" --outcomes "$folder/$name.csv" "$@"
}

# dry_tests NAME LIMIT FILES OPTIONS...: what stands in for tests of a device, in a dry run only.
dry_tests() {
  local name=$1 limit=$2
  shift 2
  [ -z "$dry" ] || TRITON_INTERPRET=1 step "$name" "$limit" "$python" -m pytest -q -p no:cacheprovider \
    -o addopts=--import-mode=importlib --outcomes "$folder/$name.csv" "$@"
}

# sanitized TOOL NAME LIMIT FILES OPTIONS...: tests under compute-sanitizer; dry, they are collected.
sanitized() {
  local tool=(compute-sanitizer --tool "$1" --error-exitcode 1) name=$2 limit=$3
  shift 3
  if [ -n "$dry" ]; then tool=() && set -- --collect-only "$@"; fi
  step "$name" "$limit" "${tool[@]}" "$python" -m pytest -q -x -o addopts=--import-mode=importlib \
    -p no:cacheprovider -m 'gpu and not slow' "$@"
}

# benchmark NAME LIMIT SCRIPT OPTIONS...: rows go to the part's folder.
benchmark() {
  local name=$1 limit=$2 script=$3
  shift 3
  step "$name" "$limit" "$python" "benchmarks/$script" --device "$device" "$@"
}

part1() {
  local build='from semicon_fast import native; native.load()'
  [ -n "$dry" ] || build+='; assert native.load_cuda(), native.cuda_status()'
  # The libraries are built while the Triton kernels are tested, which need neither.
  if [ -z "$list" ]; then "$python" -c "$build" >"$folder/build.txt" 2>&1 & fi
  local building=${!:-}
  tests triton 220 12 tests/ops/test_triton_cuda.py tests/ops/test_icon_normed_cuda.py
  dry_tests triton-interpreted 60 -m 'not slow and not gpu' tests/kernels/test_strided_operands.py \
    -k 'bias and not expanded'
  if [ -z "$list" ]; then wait "$building"; cat "$folder/build.txt" >>"$folder/log.txt"; fi
  tests search 200 4 tests/native/test_search_cuda.py tests/search tests/metrics tests/data \
    tests/ops/test_cuda.py
  dry_tests search-reference 60 tests/search/test_bit_groups.py
}

part2() {
  local script=hamming_rank.py  # which leaves devices to the other
  [ -n "$dry" ] && script=hamming_cuda.py
  benchmark hamming 240 $script ${dry:+--quick --only billion} --seconds 180 \
    --csv "$folder/hamming_rank_cuda.csv"
  local profiler=(ncu --clock-control none -k 'regex:scan|select' --launch-count 40
    --section SpeedOfLight --section MemoryWorkloadAnalysis --csv --log-file "$folder/profile.csv")
  [ -n "$dry" ] && profiler=()
  step profile 90 "${profiler[@]}" "$python" benchmarks/search_once.py --device "$device" \
    ${dry:+--codes 2000}
}

part3() {
  for tool in memcheck racecheck; do
    sanitized $tool $tool-triton 60 tests/ops/test_triton_cuda.py -k strides
    sanitized $tool $tool-search 60 tests/native/test_search_cuda.py -k 'layout or alike or nowhere'
  done
}

part4() {
  benchmark attention 330 attention.py ${dry:+--quick --only mask} --seconds 260 \
    --csv "$folder/attention_cuda.csv"
}

part5() {
  tests encoding 60 4 tests/encoding
  tests training 110 8 tests/training/test_cuda.py
  benchmark pipeline 100 pipeline.py ${dry:+--quick} --only 'training step' --seconds 60 \
    --csv "$folder/pipeline_cuda.csv"
  benchmark loss 40 loss_and_codes.py ${dry:+--images 2000 --samples 64 --batches 2}
}

part6() {
  if [ -n "$list" ]; then return; fi
  "$python" benchmarks/gpu_results.py ${dry:+--dry} ${FROM:-"$out"} || bad=1
}

for part in "${parts[@]}"; do
  folder=$out/part$part
  if [ -z "$list" ] && [ "$part" != 6 ]; then
    rm -rf "$folder" && mkdir -p "$folder" && folder=$(cd "$folder" && pwd)
    echo step,status,seconds,dry >"$folder/steps.csv"
    if [ -z "$started" ] && compgen -G 'wheels/*.whl' >/dev/null; then
      site=$(mktemp -d)
      for wheel in wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$site"; done
      export PYTHONPATH=$PWD:$site
    fi
    started=1
    "$python" -c 'import platform, torch; print(platform.python_version(), torch.__version__,
      torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device")' \
      2>&1 | tee -a "$folder/log.txt"
  fi
  "part$part"
done
exit $bad
