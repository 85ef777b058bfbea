#!/usr/bin/env python3
"""Holds one evaluation on cpu_backend against what the processor can do, layer group by layer group; Markdown.

    python tests/peers/roofline.py [--program build/dev/examples/cli/repaint] > page.md

needs a C++ compiler and a build of the program, nothing of PyPI. The processor's limits are measured first
(roofline.cpp): multiply-adds in registers, and reading arrays that fit each level of its caches, on all threads at once.
Then `repaint bench --profile` tells where the time goes. For each group of layers:

  ms, share     on the clock, of one evaluation
  as sums       GFLOP/s if every convolution is counted as a plain sum: above the peak where Winograd's method saves
  products      part of all threads' time within sums of products, and their speed as a part of the measured peak
  transforms    part of the time in Winograd's transforms: input / weights / output
  rest          part of the time waiting for another thread, and outside the kernels
  bound         the time that the products alone would take at the peak, or reading what the layer must read (weights,
                input) and writing its result at the speed of memory, whichever is longer, as a part of the time

A bound of 100 % cannot be passed by any implementation of the same sums in the same precision.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from bench_unet import BUILDS, REPOSITORY, caches, cores, cpu_model, instruction_sets, positive, print_table  # noqa: E402

PRESETS = {"guided-64": (1, 4), "imagenet-64": (1, 4), "guided-256": (1,)}
BITS = {"avx512": 512, "avx2": 256}
LEVELS = {"half of L1": ("L1d", 0.5), "half of L2": ("L2", 0.5), "quarter of L3": ("L3", 0.25)}
MEMORY = 256 << 20  # bytes of an array that no cache holds


def cache_bytes():
    found = {}
    for part in filter(None, caches().split(", ")):
        level, size = part.split()
        found[level] = int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]
    return found


def limits(compiler, bits, threads, folder):
    """GFLOP/s and GB/s by level, of all threads together."""
    program = folder / f"roofline{bits}"
    flags = ["-mavx2", "-mfma", *(["-mavx512f"] if bits == 512 else [])]
    subprocess.run([compiler, "-std=c++20", "-O3", *flags, f"-DBITS={bits}", "-pthread",
                    pathlib.Path(__file__).with_suffix(".cpp"), "-o", program], check=True)
    sizes = cache_bytes()
    levels = {name: int(sizes[level] * part) for name, (level, part) in LEVELS.items() if level in sizes}
    levels["memory"] = MEMORY
    printed = subprocess.run([program, str(threads), *map(str, levels.values())], stdout=subprocess.PIPE, check=True)
    found = json.loads(printed.stdout)
    return found["gflops"], {name: read["gbytes"] for name, read in zip(levels, found["read"])}


def size(shape):
    n, c, h, w = shape
    return n * c * h * w


class Group:
    def __init__(self):
        self.ms = self.bound_ms = self.direct = self.executed = 0.0
        self.work = {}

    def add(self, layer, gflops, memory):
        ms, calls = layer["ms"], layer["calls"]
        self.ms += ms
        executed = 2e-9 * layer.get("multiply_adds", 0)
        self.executed += executed
        if "weights" in layer:
            _out, inner, h, w = layer["weights"]
            self.direct += 2e-9 * size(layer["output"]) * inner * h * w * calls
        values = size(layer["input"]) + size(layer["output"]) + size(layer.get("weights", [0] * 4))
        self.bound_ms += 1000 * max(executed / gflops, 4e-9 * values * calls / memory)
        for kind in ("products", "input", "weights", "output", "finish", "statistics", "normalise", "softmax", "copies"):
            self.work[kind] = self.work.get(kind, 0.0) + layer["work"].get(kind, 0.0) * ms


def profile(program, preset, batch, threads, instructions, runs):
    command = [program, "bench", "--preset", preset, "--batch", batch, "--threads", threads]
    command += ["--instructions", instructions, "--runs", runs, "--profile"]
    printed = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             check=True)
    return json.loads(printed.stdout)


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole > 0 else "-"


def rows_of(found, gflops, memory):
    groups = {}
    for layer in found["profile"]["layers"]:
        for name in (layer["layers"], "all"):
            groups.setdefault(name, Group()).add(layer, gflops, memory)
    whole = groups.pop("all")
    ordered = sorted(groups.items(), key=lambda item: -item[1].ms)
    for name, group in [*ordered, ("**all**", whole)]:
        work = group.work
        transforms = [work["input"], work["weights"], work["output"]]
        product_speed = group.executed / (work["products"] / 1000) / gflops if work["products"] else 0
        yield [
            name,
            f"{group.ms:.1f}",
            percent(group.ms, whole.ms),
            f"{group.direct / group.ms * 1000:.0f}" if group.direct else "-",
            f"{percent(work['products'], group.ms)} at {percent(product_speed, 1)}" if work["products"] else "-",
            " / ".join(percent(part, group.ms) for part in transforms) if sum(transforms) else "-",
            percent(group.ms - sum(work.values()), group.ms),
            percent(group.bound_ms, group.ms),
        ]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default=",".join(PRESETS), help=f"of {','.join(PRESETS)}; default: all")
    parser.add_argument("--instructions", default=",".join(BITS), help=f"of {','.join(BITS)}; default: both")
    parser.add_argument("--threads", type=positive(int), default=cores())
    parser.add_argument("--seconds", type=positive(float), default=5.0, help="of each table; default 5")
    parser.add_argument("--compiler", default=os.environ.get("CXX", "c++"))
    parser.add_argument("--program", type=pathlib.Path)
    args = parser.parse_args()
    if args.program is None:
        programs = [REPOSITORY / "build" / build / "examples" / "cli" / "repaint" for build in BUILDS]
        args.program = next((path for path in programs if path.is_file()), None)
        if args.program is None:
            parser.error(f"{programs[0]} is missing: build the program, or give --program")
    return args


def main():
    args = arguments()
    print(f"{cpu_model()} ({instruction_sets()}; {caches()}), {cores()} cores, {args.threads} threads.")
    with tempfile.TemporaryDirectory() as folder:
        for instructions in args.instructions.split(","):
            gflops, bandwidth = limits(args.compiler, BITS[instructions], args.threads, pathlib.Path(folder))
            reading = ", ".join(f"{name} {speed:.0f} GB/s" for name, speed in bandwidth.items())
            print(f"\n## {instructions}\n\nPeak: {gflops:.0f} GFLOP/s. Reading: {reading}.")
            for preset in args.presets.split(","):
                for batch in PRESETS[preset]:
                    once = profile(args.program, preset, batch, args.threads, instructions, 1)["min_ms"]
                    runs = max(2, round(1000 * args.seconds / once))
                    found = profile(args.program, preset, batch, args.threads, instructions, runs)
                    print(f"\n### {preset}, batch {batch}: {found['median_ms']:.1f} ms "
                          f"({found['min_ms']:.1f}-{found['max_ms']:.1f})\n")
                    head = ["layers", "ms", "share", "as sums", "products", "transforms", "rest", "bound"]
                    print_table(head, 1, list(rows_of(found, gflops, bandwidth["memory"])))
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
