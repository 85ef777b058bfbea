#!/usr/bin/env python3
"""What users pay for compiling: times and memory, in units of what standard.cpp costs in the same minutes.

usage: run.py COMPILER SOURCE_FOLDER [--update]
budgets.txt has what each thing may cost. More than 25 % above that fails. When it is worth the price, --update writes
what it costs now into budgets.txt: commit that with the reason.

A measurement is the least user and system time of several compilations, alternating with standard.cpp, because a
machine that does other things only ever makes them longer.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
FILE = HERE / "budgets.txt"
ALLOWED = 1.25
ROUNDS = 6

INCLUDES = {
    "repaint.hpp": "repaint/repaint.hpp",
    "cpu.hpp": "repaint/backend/cpu.hpp",
    "reference.hpp": "repaint/backend/reference.hpp",
    "dry.hpp": "repaint/backend/dry.hpp",
    "codecs.hpp": "repaint/image/codecs.hpp",
}
COMPILED = "-DREPAINT_COMPILED"


def items(source):
    """name -> (file or text, options)"""
    found = {f"include {name}": (f"#include <{path}>\n", ["-O2", COMPILED]) for name, path in INCLUDES.items()}
    example = source / "examples" / "inpaint.cpp"
    found["ten lines"] = (example, ["-O3", "-DNDEBUG", COMPILED])
    found["ten lines, header-only"] = (example, ["-O3", "-DNDEBUG"])
    return found


def cost(compiler, source, what, options):
    """(seconds, MB) of compiling a file or a text."""
    with tempfile.TemporaryDirectory() as scratch:
        if isinstance(what, str):
            path = pathlib.Path(scratch) / "include.cpp"
            path.write_text(what)
            what = path
        child = subprocess.Popen(
            [compiler, "-std=c++20", *options, f"-I{source / 'include'}", "-c", str(what), "-o", f"{scratch}/object.o"])
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{what} does not compile")
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def read_budgets():
    found = {}
    for line in FILE.read_text().splitlines() if FILE.exists() else []:
        if line and not line.startswith("#"):
            name, time, memory = line.split(";")
            found[name.strip()] = (float(time), float(memory))
    return found


def write_budgets(measured):
    width = max(len(name) for name in measured)
    lines = [
        "# What compiling costs users, times what tests/budgets/standard.cpp costs: user and system time; peak memory.",
        "# 25 % more fails. `python3 tests/budgets/run.py COMPILER . --update` writes this file.",
    ]
    lines += [f"{name:{width}} ; {time:6.2f} ; {memory:5.2f}" for name, (time, memory) in measured.items()]
    FILE.write_text("\n".join(lines) + "\n")


def main():
    compiler, source, *rest = sys.argv[1:]
    source = pathlib.Path(source).resolve()
    update = "--update" in rest
    budgets = read_budgets()
    things = items(source)
    if not update and budgets.keys() != things.keys():
        sys.exit(f"{FILE} has {sorted(budgets)}, measured are {sorted(things)}: --update it")

    unit = (float("inf"), float("inf"))
    least = {name: (float("inf"), float("inf")) for name in things}
    open_things = dict(things)
    for done in range(1, ROUNDS + 1):
        for name, (what, options) in open_things.items():
            unit = tuple(map(min, unit, cost(compiler, source, HERE / "standard.cpp", ["-O2"])))
            least[name] = tuple(map(min, least[name], cost(compiler, source, what, options)))
        measured = {name: (least[name][0] / unit[0], least[name][1] / unit[1]) for name in things}
        # A noisy machine makes things dearer, never cheaper: what is within its budget need not be measured again.
        if not update and done >= 2:
            open_things = {
                name: thing for name, thing in open_things.items()
                if any(now > ALLOWED * limit for now, limit in zip(measured[name], budgets[name]))
            }
    if update:
        write_budgets(measured)

    print(f"standard.cpp: {unit[0]:.2f} s, {unit[1]:.0f} MB; the rest is times that")
    failures = 0
    for name, now in measured.items():
        for kind, value, limit, absolute in zip(
                ("time", "memory"), now, budgets.get(name, now), (f"{least[name][0]:.2f} s", f"{least[name][1]:.0f} MB")):
            verdict = f"budget {limit:.2f}, {100 * (value / limit - 1):+.0f} %"
            if not update and value > ALLOWED * limit:
                failures += 1
                verdict += ": too much, +25 % is allowed"
            elif value < limit / ALLOWED:
                verdict += ": the budget may come down (--update)"
            print(f"  {name}: {kind} {value:.2f} ({absolute}), {verdict}")
    if failures:
        print(f"{failures} over budget. If that is worth its price: `python3 tests/budgets/run.py {compiler} . --update`,\n"
              "and say in the commit what it was paid for.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
