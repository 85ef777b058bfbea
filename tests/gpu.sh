#!/bin/sh
# On a machine with a CUDA device, in less than ten minutes: builds the device tests and the benchmark for that device,
# runs the typed suite and the whole-run parity tests, the library's own kernels under compute-sanitizer, the benchmarks,
# and PyTorch side by side; then prints a table, and writes gpu.json (and logs) to $OUT when that is set.
#
#     sh tests/gpu.sh
#
# Needed: a CUDA toolkit, CMake 3.25, cuDNN 9 (PyTorch's will do) and a C++20 compiler. Used when they are there: Ninja,
# compute-sanitizer, python3 with PyTorch. The headers of Catch2, xtensor and xtensor-blas are taken from the system, or
# from build/gpu-deps: a run on a machine that has them (with a device or without) leaves them there, to be carried to
# one that has not.
#
# REPAINT_GPU_MINUTES   the time for all of it, 9.5 unless told; what does not fit is skipped with a line, and a build on
#                       a slow machine needs more
# REPAINT_GPU_ONLY      names of steps besides the build, such as "suite runs" or "benchmark pytorch": for a second run
#                       in the same folder, where everything is built already
# REPAINT_GPU_ARCH      what is compiled for, such as 90; otherwise what nvidia-smi says
#
# The exit status is 0 when everything that ran was right and there was a device to run on.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1
build=build/gpu
headers=build/gpu-deps
results=$build/results
mkdir -p "$headers" || exit 1
rm -rf "$results"
mkdir -p "$results" || exit 1

begin=$(date +%s)
end=$((begin + $(awk "BEGIN { print int(60 * ${REPAINT_GPU_MINUTES:-9.5}) }")))
failed=0

say() { printf '%s\n' "$*"; }
left() { echo $((end - $(date +%s))); }
# As a line of JSON: NAME STATUS SECONDS.
note() { printf '{"kind": "step", "name": "%s", "status": "%s", "seconds": %s}\n' "$1" "$2" "$3" >>"$results/steps.jsonl"; }

skip() {
    say "== $1: skipped, $2"
    note "$1" "skipped: $2" 0
}

# step NAME SECONDS COMMAND...: runs it for at most that long, and no longer than there is time at all. What it prints
# goes to $results/NAME.log; of a failure the end is shown. Returns its status; 75 when there was no time to begin.
step() {
    name=$1
    limit=$2
    shift 2
    case " configure build ${REPAINT_GPU_ONLY:-$name} " in
    *" $name "*) ;;
    *)
        skip "$name" "not among what is asked for"
        return 75
        ;;
    esac
    if [ "$(left)" -lt "$limit" ]; then
        limit=$(left)
    fi
    if [ "$limit" -lt 5 ]; then
        skip "$name" "no time left"
        return 75
    fi
    start=$(date +%s)
    timeout -k 10 "$limit" "$@" >"$results/$name.log" 2>&1
    status=$?
    took=$(($(date +%s) - start))
    case $status in
    0)
        say "== $name: passed in $took s"
        note "$name" passed "$took"
        ;;
    77)
        skip "$name" "$(tail -n 1 "$results/$name.log" | sed 's/^skipped: //; s/["\\]//g')"
        ;;
    *)
        failed=$((failed + 1))
        tail -n 60 "$results/$name.log"
        if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
            say "== $name: FAILED, it took more than $limit s"
            note "$name" "failed: took more than $limit s" "$took"
        else
            say "== $name: FAILED with status $status after $took s"
            note "$name" "failed with status $status" "$took"
        fi
        ;;
    esac
    return "$status"
}

# built NAME: true when the build has made it; else that is a failure of the step.
built() {
    if [ -x "$build/$1" ]; then
        return 0
    fi
    failed=$((failed + 1))
    say "== $2: FAILED, $build/$1 was not built"
    note "$2" "failed: not built" 0
    return 1
}

# ---- build -----------------------------------------------------------------------------------------------------------

nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
if ! [ -x "$nvcc" ]; then
    say "gpu.sh: nvcc is missing: install a CUDA toolkit, or say in CUDACXX where its nvcc is"
    exit 1
fi
if ! command -v cmake >/dev/null 2>&1; then
    say "gpu.sh: cmake is missing: CMake 3.25 or newer is needed"
    exit 1
fi
for header in catch2/catch.hpp xtensor/xtensor.hpp xtl/xtl_config.hpp xtensor-blas/xlinalg.hpp xflens/cxxblas/cxxblas.h; do
    folder=${header%%/*}
    for system in /usr/include /usr/local/include; do
        if [ ! -e "$headers/$header" ] && [ -e "$system/$header" ]; then
            rm -rf "${headers:?}/$folder"
            cp -R "$system/$folder" "$headers/$folder"
        fi
    done
    if [ ! -e "$headers/$header" ]; then
        say "gpu.sh: $header is not here: tests that need it are left out unless the compiler finds it;" \
            "copy $folder from a machine that has it to $headers"
    fi
done

arch=${REPAINT_GPU_ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')}
jobs=$(nproc 2>/dev/null || echo 2)
generator="Unix Makefiles"
keep_going=-k
if command -v ninja >/dev/null 2>&1; then
    generator=Ninja
    keep_going=-k0
fi
say "== building in $build for compute capability ${arch:-90 (no device says another)}, $jobs jobs"
if ! step configure 60 cmake -S tests/gpu -B "$build" -G "$generator" -D CMAKE_BUILD_TYPE=Release \
    -D CMAKE_CUDA_COMPILER="$nvcc" -D CMAKE_CUDA_ARCHITECTURES="${arch:-90}" -D REPAINT_GPU_HEADERS="$root/$headers"; then
    exit 1
fi
grep -A 3 'Warning' "$results/configure.log"
# Half of the time at the most: what is built by then still runs.
step build $(($(left) / 2)) cmake --build "$build" --parallel "$jobs" -- "$keep_going"

if ! "$build/cuda_benchmark" device >"$results/device.log" 2>&1; then
    say "gpu.sh: built what there is, and nothing was run: $(cat "$results/device.log")"
    exit 1
fi
cat "$results/device.log"

# ---- tests -----------------------------------------------------------------------------------------------------------

if built test_backend_cuda suite; then
    step suite 120 "$build/test_backend_cuda" && tail -n 2 "$results/suite.log"
fi
if built test_cuda_plans plans; then
    step plans 60 "$build/test_cuda_plans"
fi
if built test_cuda_runs runs; then
    step runs 120 "$build/test_cuda_runs" && tail -n 2 "$results/runs.log"
    grep '^parity: ' "$results/runs.log" >"$results/parity.txt"
fi

# ---- compute-sanitizer: the library's own kernels ---------------------------------------------------------------------

sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")
# sanitized NAME SECONDS TOOL TEST FILTER: kernels of cuDNN are not ours to check, and have hazards that are meant; all
# of ours have the library's name in theirs.
sanitized() {
    if [ -x "$build/$4" ]; then
        step "$1" "$2" "$sanitizer" --tool "$3" --kernel-regex kns=repaint --error-exitcode 9 --print-limit 20 \
            "$build/$4" "$5" && grep 'SUMMARY' "$results/$1.log"
    fi
}
if ! [ -x "$sanitizer" ]; then
    skip sanitizer "there is no compute-sanitizer beside nvcc or in PATH"
elif ! timeout 60 "$sanitizer" "$build/cuda_benchmark" device >"$results/sanitizer.log" 2>&1; then
    skip sanitizer "compute-sanitizer does not work here: $(tail -n 1 "$results/sanitizer.log" | sed 's/["\\]//g')"
else
    sanitized memcheck-networks 60 memcheck test_cuda_runs 'own kernels alone agree*'
    sanitized racecheck-network 45 racecheck test_cuda_runs 'a network with every kind of block*'
    sanitized memcheck-suite 60 memcheck test_backend_cuda '*'
fi

# ---- benchmarks ------------------------------------------------------------------------------------------------------

if built cuda_benchmark benchmark; then
    step benchmark 150 "$build/cuda_benchmark" "$results/benchmark.jsonl" --seconds 90
fi

python=$(command -v python3 || true)
if [ -z "$python" ]; then
    skip pytorch "there is no python3"
elif ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' >/dev/null 2>&1; then
    skip pytorch "python3 has no PyTorch that sees the device"
elif [ "$(left)" -lt 60 ]; then
    skip pytorch "no time left"
else
    minutes=$(awk "BEGIN { print ($(left) - 20) / 60 }")
    TORCHINDUCTOR_CACHE_DIR="$root/$build/inductor" step pytorch "$(left)" "$python" tests/peers/bench_unet_gpu.py \
        --server "$build/cuda_benchmark" --minutes "$minutes" --rounds 3 --json "$results/pytorch.jsonl"
fi

# ---- table -----------------------------------------------------------------------------------------------------------

if [ -n "$python" ]; then
    "$python" tests/gpu/table.py "$results" || failed=$((failed + 1))
else
    cat "$results/parity.txt" "$results/benchmark.log"
fi
if [ -n "${OUT:-}" ] && [ -d "$OUT" ]; then
    for file in gpu.json device_properties.json runs.log suite.log benchmark.log pytorch.log; do
        if [ -f "$results/$file" ]; then
            cp "$results/$file" "$OUT/"
        fi
    done
fi
say "$failed failed, $(($(date +%s) - begin)) s"
[ "$failed" -eq 0 ]
