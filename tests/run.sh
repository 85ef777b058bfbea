#!/bin/sh
# Installs what is missing, then builds and runs every test: in Release with warnings as errors, with the address and
# undefined-behaviour sanitizers, those of threads with the thread sanitizer, and as fuzz targets (REPAINT_FUZZ_SECONDS
# each, 60 unless told). The last line says "N passed, N failed"; the exit status is 0 when nothing failed.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1

jobs=$(nproc 2>/dev/null || echo 2)
passed=0
failed=0
skipped=0
mkdir -p build
log=build/run.log

say() { printf '%s\n' "$*"; }

# Runs a command, and shows what it printed only when it fails, which then counts as one failure.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        grep -v '^\[[0-9]*/' "$log" | tail -n 150
        say "failed: $*"
        failed=$((failed + 1))
        return 1
    fi
}

# The address and thread sanitizers of GCC 12 and Clang 14 to 17 cannot start under the address randomisation of newer
# kernels.
fixed_addresses=""
if setarch "$(uname -m)" -R true >/dev/null 2>&1; then
    fixed_addresses="setarch $(uname -m) -R"
fi

# run PRESET PARALLEL [configure options]: configures, builds, runs, adds up.
run() {
    preset=$1
    parallel=$2
    shift 2
    say "== $preset: building in build/$preset"
    begin=$(date +%s)
    quietly cmake --preset "$preset" "$@" || return
    quietly cmake --build "build/$preset" --parallel "$jobs" || return
    say "== $preset: built in $(($(date +%s) - begin)) s, testing"
    prefix=""
    case $preset in asan | tsan | fuzz) prefix=$fixed_addresses ;; esac
    result=build/$preset/result.log
    # shellcheck disable=SC2086
    $prefix ctest --test-dir "build/$preset" --parallel "$parallel" --output-on-failure --no-tests=error \
        --no-label-summary 2>&1 | tee "$result" | grep -vE '^ *Start |^Internal ctest|^Test project|^$'
    # "90% tests passed, 1 tests failed out of 10"
    summary=$(sed -n 's/^[0-9]*% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\).*/\1 \2/p' "$result")
    if [ -z "$summary" ]; then
        say "failed: ctest in build/$preset did not finish"
        failed=$((failed + 1))
        return
    fi
    not_run=$(grep -c '\*\*\*Skipped' "$result")
    # ctest tells who was skipped, its log why.
    awk '/^[0-9]+\/[0-9]+ Testing: / { name = $3 }
        sub(/^skipped: /, "") { print "skipped " name ": " $0 }' "build/$preset/Testing/Temporary/LastTest.log"
    failed=$((failed + ${summary% *}))
    skipped=$((skipped + not_run))
    passed=$((passed + ${summary#* } - ${summary% *} - not_run))
}

if sh cmake/install-dependencies.sh test fuzz; then
    exec </dev/null
    run dev "$jobs"
    run asan "$jobs"
    run tsan "$jobs"
    run fuzz 2 -D REPAINT_FUZZ_SECONDS="${REPAINT_FUZZ_SECONDS:-60}"
else
    failed=1
fi
rm -f "$log"

if [ "$skipped" -gt 0 ]; then
    say "$skipped skipped"
fi
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
