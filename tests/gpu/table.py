#!/usr/bin/env python3
"""Prints what tests/gpu.sh found as short tables, and writes all of it as gpu.json beside the results.

    python3 tests/gpu/table.py FOLDER

FOLDER has steps.jsonl, and as far as there was time device.log, benchmark.jsonl, pytorch.jsonl and parity.txt. The exit
status is 1 when a whole run gave something that is not a number.
"""
import json
import pathlib
import re
import statistics
import sys

PARITY = re.compile(r"parity: (?P<what>.*), (?P<how>[^,]*): max abs (?P<error>\S+)$")
PRECISIONS = ("half", "half, measured plans", "bfloat16", "tf32", "float")
BATCHES = (1, 4, 16)


def lines(path):
    """The objects of a file with one in each line; a last line that was cut off does not count."""
    found = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                pass
    return found


def parity_of(path):
    found = []
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            match = PARITY.match(line)
            if match:
                found.append({"what": match["what"], "how": match["how"], "error": float(match["error"])})
    return found


def table(title, head, rows, left=1):
    if not rows:
        return
    cells = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(text.ljust(width) if i < left else text.rjust(width)
                               for i, (text, width) in enumerate(zip(row, widths))).rstrip())


def between(values, form="{:.0f}"):
    """The median, and the range when there is one."""
    if not values:
        return "-"
    text = form.format(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({form.format(min(values))}-{form.format(max(values))})"


def milliseconds(median, low, high):
    digits = 3 if median < 10 else 2 if median < 100 else 1
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def measured(benchmark, kind, **wanted):
    return [r for r in benchmark
            if r.get("kind") == kind and "us" in r and all(r.get(key) == value for key, value in wanted.items())]


def print_device(benchmark):
    ceilings = next((r for r in benchmark if r.get("kind") == "ceilings"), None)
    if ceilings:
        print(f"copy {ceilings['copy_gb_per_s']:.0f} GB/s (read and written), half-precision product 8192 "
              f"{ceilings['matmul_tflop_per_s']:.0f} TFLOP/s")
    gaps = measured(benchmark, "launch")
    if gaps:
        print("launches: " + "; ".join(f"{r['name']} {r['us']:.2f} us" for r in gaps))


def print_convolutions(benchmark):
    rows = []
    for kind, title in (("conv2d", "cuDNN 3x3"), ("matmul", "cuBLASLt 1x1")):
        for batch in (1, 16):
            for size in (256, 128, 64, 32, 16, 8):
                usual, tuned = ([r for r in measured(benchmark, kind, batch=batch, size=size, tuned=t)] for t in (0, 1))
                if not usual:
                    continue

                def rate(found):
                    """Of all that the network has of these, each as often as it has it."""
                    time = sum(r["us"] * r["count"] for r in found)
                    return sum(r["flops"] * r["count"] for r in found) / time * 1e-6 if time else None

                best = max((rate(found) or 0.0) for found in (usual, tuned))
                share = [r["of_matmul"] * r["tflop_per_s"] ** -1 for r in usual if "of_matmul" in r]
                rows.append([title, batch, f"{size}x{size}", sum(r["count"] for r in usual), f"{rate(usual):.0f}",
                             f"{rate(tuned):.0f}" if tuned else "-",
                             f"{100 * best * share[0]:.0f} %" if share else "-"])
    table("Convolutions of the 256x256 network, half: TFLOP/s of all of a size", ["", "batch", "pixels", "number",
          "expected best", "measured best", "of 8192 product"], rows)


def print_memory_bound(benchmark):
    rows = []
    for batch in (1, 16):
        for way in ("statistics", "apply", "both", "one pass"):
            found = measured(benchmark, "group norm", batch=batch, way=way)
            for large, text in ((1, "larger than L2"), (0, "smaller")):
                some = [r for r in found if r.get("larger_than_l2") == large]
                if some:
                    name = "statistics and apply" if way == "both" else way
                    rows.append([f"GroupNorm + SiLU, {name}", batch, text, len(some),
                                 between([r["gb_per_s"] for r in some]),
                                 between([100 * r.get("of_copy", 0.0) for r in some]) + " %"])
    for kind, title in (("image conv", "first and last convolution"), ("resize", "resizing"), ("linear", "linear"),
                        ("diffusion", "diffusion steps")):
        for batch in (1, 16, 64, None):
            found = [r for r in measured(benchmark, kind) if r.get("batch") == batch]
            if found:
                rows.append([title, batch or 1, "", len(found), between([r["gb_per_s"] for r in found]),
                             between([100 * r.get("of_copy", 0.0) for r in found]) + " %"])
    table("Memory-bound primitives, half: GB/s moved, median (range)", ["", "batch", "tensors", "shapes", "GB/s",
          "of copy"], rows)


def print_others(benchmark):
    rows = []
    for r in measured(benchmark, "attention"):
        rows.append([f"attention {r['name']}", f"{r['us']:.1f}", f"{r['tflop_per_s']:.1f}", ""])
    for r in measured(benchmark, "doubled"):
        gain = f"phases {r['gain_of_phases']:.2f} x faster" if "gain_of_phases" in r else ""
        rows.append([f"doubled conv {r['name']}", f"{r['us']:.1f}", f"{r['tflop_per_s']:.1f}", gain])
    for r in measured(benchmark, "own conv"):
        rows.append([f"own kernel, {r['name']}", f"{r['us']:.1f}", f"{r['tflop_per_s']:.1f}", ""])
    table("Others", ["", "us", "TFLOP/s", ""], rows)


def print_networks(benchmark):
    cells = {(r["network"], r["precision"], r["batch"]): r for r in measured(benchmark, "network")}
    rows = []
    for network in dict.fromkeys(key[0] for key in cells):
        for precision in PRECISIONS:
            found = [cells.get((network, precision, batch)) for batch in BATCHES]
            if not any(found):
                continue
            memory = max((r["peak_bytes"] / r["predicted_bytes"] for r in found if r), default=0.0)
            share = found[-1] or next(r for r in found if r)
            rows.append([network, precision,
                         *(milliseconds(r["ms"], r["ms_low"], r["ms_high"]) if r else "-" for r in found),
                         f"{share['tflop_per_s']:.0f}",
                         f"{100 * share['of_matmul']:.0f} %" if "of_matmul" in share else "-", f"{memory:.2f}"])
    table("Networks: milliseconds per evaluation, median (range); rates of the largest batch; memory by prediction",
          ["", "", *(f"batch {batch}" for batch in BATCHES), "TFLOP/s", "of 8192 product", "memory"], rows, 2)
    rows = [[r["name"], f"{r['seconds']:.2f}", f"{r['evaluations']:.0f}", f"{r['ms']:.3f}", f"{100 * r['outside']:.2f} %"]
            for r in benchmark if r.get("kind") == "run"]
    table("Whole runs, 250/10/10, half, batch 1", ["", "s", "evaluations", "ms each", "outside the network"], rows)


def print_pytorch(cells):
    rows = []
    for r in cells:
        sides = {name: milliseconds(statistics.median(v), min(v), max(v)) for name, v in r["rounds"].items()}
        compiled = next((name for name in ("max-autotune", "reduce-overhead") if name in sides), None)
        failed = r["failures"].get("max-autotune") or r["failures"].get("reduce-overhead") or "-"
        rows.append([r["network"], r["batch"], sides.get("eager", "-"),
                     f"{sides[compiled]}{' *' if compiled == 'reduce-overhead' else ''}" if compiled else failed[:40],
                     sides.get("repaint", "-"), f"{r['ratio']:.2f}" if "ratio" in r else "-"])
    table("PyTorch side by side, half: milliseconds, median of the rounds (range); ratio of its fastest to repaint "
          "(*: reduce-overhead)", ["", "batch", "eager, channels_last", "torch.compile", "repaint", "ratio"], rows)


def print_parity(parity):
    hows = list(dict.fromkeys(p["how"] for p in parity))
    rows = []
    for what in dict.fromkeys(p["what"] for p in parity):
        errors = {p["how"]: p["error"] for p in parity if p["what"] == what}
        rows.append([what, *(f"{errors[how]:.1e}" if how in errors else "" for how in hows)])
    table("Parity: largest absolute error", ["", *hows], rows)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    steps, benchmark, pytorch = (lines(folder / f"{name}.jsonl") for name in ("steps", "benchmark", "pytorch"))
    parity = parity_of(folder / "parity.txt")
    device = folder / "device.log"
    about = device.read_text(errors="replace").strip() if device.exists() else ""
    for r in benchmark:
        if r.get("kind") == "device" and "properties" in r:
            (folder / "device_properties.json").write_text(r.pop("properties") + "\n")
    (folder / "gpu.json").write_text(json.dumps(
        {"about": about, "steps": steps, "parity": parity, "benchmark": benchmark, "pytorch": pytorch}, indent=1) + "\n")

    print(f"\n{about}")
    print_device(benchmark)
    print_convolutions(benchmark)
    print_memory_bound(benchmark)
    print_others(benchmark)
    print_networks(benchmark)
    print_pytorch(pytorch)
    print_parity(parity)
    skipped = [r for r in benchmark if "skipped" in r]
    table("Not measured", ["", "", "why"], [[r["kind"], r["name"], r["skipped"][:80]] for r in skipped], 3)
    table("Steps", ["", "s", ""], [[s["name"], s["seconds"], s["status"]] for s in steps])
    broken = [r["name"] for r in benchmark if r.get("kind") == "run" and not r.get("finite", 1)]
    if broken:
        sys.exit(f"runs with something that is not a number: {', '.join(broken)}")


if __name__ == "__main__":
    main()
