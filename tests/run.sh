#!/bin/sh
# Installs what is missing, then builds and runs the tests.
#
#   sh tests/run.sh          the suite: Release, warnings are errors; some minutes
#   sh tests/run.sh --deep   the suite, then what takes longer: the house (every header alone, the installed package,
#                            messages of compilers, budgets, Doxygen), sanitizers (asan, tsan), CUDA where nvcc is,
#                            fuzzing (REPAINT_FUZZ_SECONDS for each target, 20 unless told)
#   sh tests/run.sh STAGE... only these: suite, house, asan, tsan, cuda, fuzz
#
# Ends with the ten files that took longest to compile, and a line "N passed, N failed"; the exit status is 0 when
# nothing failed. A stage that cannot be built is one failure.
set -u

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1

stages=suite
case ${1-} in
    --deep) stages="suite house asan tsan cuda fuzz" ;;
    -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    ?*) stages=$* ;;
esac

jobs=$(nproc 2>/dev/null || echo 2)
fuzz_seconds=${REPAINT_FUZZ_SECONDS:-20}
passed=0
failed=0
skipped=0
trees=""
mkdir -p build
log=build/run.log
began=$(date +%s)

say() { printf '%s\n' "$*"; }

# Ctrl-C reaches everything that runs here; what would come next must not begin.
trap 'say interrupted; rm -f "$log"; exit 130' INT TERM

# What a failed build has to say: what failed and its messages, without the commands, or else all of it.
shown() {
    awk '/^FAILED: / { said = 1; print; getline; next }
        /^\[[0-9]+\/[0-9]+\]/ || /^ninja: / { said = 0 }
        said' "$log" >"$log.failed"
    if [ -s "$log.failed" ]; then
        head -n 150 "$log.failed"
    else
        tail -n 150 "$log"
    fi
    rm -f "$log.failed"
}

# Runs a command, and shows what it printed only when it fails, which then counts as one failure.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        shown
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

# build PRESET TARGET [configure options]
build() {
    preset=$1
    target=$2
    shift 2
    say "== $preset: building in build/$preset"
    begin=$(date +%s)
    trees="$trees build/$preset"
    quietly cmake --preset "$preset" "$@" || return
    quietly cmake --build "build/$preset" --parallel "$jobs" --target "$target" || return
    begin_tests=$(date +%s)
    say "== $preset: built in $((begin_tests - begin)) s, testing"
}

# check PRESET PARALLEL [options of ctest]: runs tests that are built, adds up.
check() {
    preset=$1
    parallel=$2
    shift 2
    prefix=""
    case $preset in asan | tsan | fuzz) prefix=$fixed_addresses ;; esac
    result=build/$preset/result.log
    # shellcheck disable=SC2086
    $prefix ctest --test-dir "build/$preset" --parallel "$parallel" --output-on-failure --no-tests=error \
        --no-label-summary "$@" 2>&1 | tee "$result" | grep -vE '^ *Start |^Internal ctest|^Test project|^$'
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
    say "== $preset: tested in $(($(date +%s) - begin_tests)) s"
}

stage() {
    case $1 in
        suite) build dev all -D REPAINT_CUDA=OFF && check dev "$jobs" -LE deep ;;
        house) build dev all -D REPAINT_CUDA=OFF && check dev "$jobs" -L deep ;;
        asan) build asan all && check asan "$jobs" ;;
        tsan) build tsan all && check tsan "$jobs" ;;
        cuda)
            if cmake --preset cuda >"$log" 2>&1; then
                build cuda cuda_checks && check cuda "$jobs" -L 'gpu|cuda'
            elif missing=$(tr '\n' ' ' <"$log" | grep -o 'REPAINT_CUDA is ON, but this is missing: [^.]*'); then
                say "skipped cuda: ${missing#*but }"
                skipped=$((skipped + 1))
            else
                shown
                say "failed: cmake --preset cuda"
                failed=$((failed + 1))
            fi
            ;;
        fuzz) build fuzz all -D REPAINT_FUZZ_SECONDS="$fuzz_seconds" && check fuzz "$jobs" ;;
        *) say "no stage is called $1"; failed=$((failed + 1)) ;;
    esac
}

# The files that this run spent most time on compiling, of all trees: ninja's log has when each was begun and ended, in
# ms, and when it was written, in ns.
dearest_files() {
    for tree in $trees; do
        awk -v tree="${tree#build/}" -v began="$began" '
            $3 / 1e9 >= began && $4 ~ /\.(o|gch)$/ {
                sub(/CMakeFiles\//, "", $4); sub(/\.dir/, "", $4)
                printf "%7.1f s  %s: %s\n", ($2 - $1) / 1000, tree, $4
            }' "$tree/.ninja_log" 2>/dev/null
    done | sort -rn | uniq | head -n 10
}

purposes='test'
[ "$stages" = suite ] || purposes="test fuzz docs"
# shellcheck disable=SC2086
if sh cmake/install-dependencies.sh $purposes; then
    exec </dev/null
    for name in $stages; do
        stage "$name"
    done
    dearest=$(dearest_files)
    if [ -n "$dearest" ]; then
        say "== what took longest to compile (wall clock, $jobs at a time)"
        say "$dearest"
    fi
else
    failed=1
fi
rm -f "$log"

say "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || printf ', %s skipped' "$skipped")"
[ "$failed" -eq 0 ]
