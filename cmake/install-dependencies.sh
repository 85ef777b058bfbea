#!/bin/sh
# Installs what repaint needs and this machine lacks, through apt (Debian 12 and 13, Ubuntu 24.04).
# Usage: install-dependencies.sh [build] [test] [fuzz] [docs]
#   build  the library, the program and the examples (the default)
#   test   the tests as well
#   fuzz   the fuzz targets as well
#   docs   the site of the public API as well
# Silent when nothing is missing.
set -eu

say() { printf '%s\n' "$*" >&2; }
fail() { say "install-dependencies: $*"; exit 1; }

# PACKAGE or PACKAGE:COMMAND; a package whose command is already here, from wherever, is not missing.
build="g++:g++ cmake:cmake ninja-build:ninja libxtensor-dev libxtensor-blas-dev libopenblas-dev libpng-dev
    libturbojpeg0-dev libcli11-dev libyaml-cpp-dev"
test="catch2 python3"
fuzz="clang:clang++ libclang-rt-dev"
docs="doxygen:doxygen"

wanted=""
for purpose in "${@:-build}"; do
    case $purpose in
        build) wanted="$wanted $build" ;;
        test) wanted="$wanted $build $test" ;;
        fuzz) wanted="$wanted $build $fuzz" ;;
        docs) wanted="$wanted $build $docs" ;;
        *) say "usage: $0 [build] [test] [fuzz] [docs]"; exit 2 ;;
    esac
done

check_cmake() {
    found=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/p')
    major=${found%%.*}
    minor=${found#*.}
    if [ "$major" -lt 3 ] || { [ "$major" -eq 3 ] && [ "$minor" -lt 25 ]; }; then
        fail "CMake 3.25 or newer is needed and this machine has $found: use Debian 12, Ubuntu 24.04 or newer," \
            "or put a newer cmake first in PATH."
    fi
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    say "There is no apt here, so this goes on with what is installed; needed are a C++20 compiler, CMake 3.25 or" \
        "newer, Ninja, xtensor, xtensor-blas, OpenBLAS, libpng, TurboJPEG, CLI11 and yaml-cpp, for the tests Catch2 and" \
        "Python 3, for fuzzing Clang, for the site Doxygen."
    if command -v cmake >/dev/null 2>&1; then
        check_cmake
    fi
    exit 0
fi

missing=""
for entry in $wanted; do
    package=${entry%%:*}
    case " $missing " in *" $package "*) continue ;; esac
    case $entry in
        *:*) if command -v "${entry#*:}" >/dev/null 2>&1; then continue; fi ;;
    esac
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing="${missing:+$missing }$package"
    fi
done

if [ -n "$missing" ]; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            fail "missing packages, and no sudo to install them; as root run: apt-get install $missing"
        fi
        as_root="sudo"
        # Without a terminal nobody can type a password.
        [ -t 0 ] || as_root="sudo -n"
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    apt() {
        $as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" \
            >>"$log" 2>&1 </dev/null
    }

    say "Installing $missing ..."
    # A source of the user's that does not answer must not stop us: only an install that fails does.
    apt update || say "apt-get update complains; trying all the same."
    unknown=""
    for package in $missing; do
        if [ -z "$(apt-cache madison "$package" 2>/dev/null)" ]; then
            unknown="${unknown:+$unknown }$package"
        fi
    done
    if [ -n "$unknown" ]; then
        tail -n 5 "$log" >&2
        fail "apt does not know $unknown; on Ubuntu enable universe (sudo add-apt-repository universe)," \
            "then run this again."
    fi
    # shellcheck disable=SC2086
    if ! apt install --no-install-recommends $missing; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install $missing"
    fi
fi

check_cmake
