#!/usr/bin/env python3
"""Times one evaluation of guided-diffusion U-Nets side by side on a GPU: repaint's CUDA backend and PyTorch, in half.

    python tests/peers/bench_unet_gpu.py --server build/gpu/cuda_benchmark      # as tests/gpu.sh does
    python tests/peers/bench_unet_gpu.py --program build/dev/examples/cli/repaint

The networks are those of bench_unet.py with random weights that each side makes for itself; nothing is read or written
but what --json names. PyTorch runs them channels_last, eager and with torch.compile(mode="max-autotune") and its CUDA
graphs; where that cannot be compiled in the time there is, with mode="reduce-overhead", which has CUDA graphs but does
not measure kernels. Its attention is the faster of two, as in bench_unet.py. Every setting runs in a process of its
own, which is ended when it takes too long.

The sides take turns: in each round every side evaluates for --burst seconds, one evaluation enqueued after the other,
and each round starts one further on, so that a slow minute hits all alike. A round's figure is the median over pieces
of the burst; the table has the median of the rounds and, in brackets, the lowest and the highest. The ratio is that of
the fastest PyTorch setting to repaint. What does not fit into --minutes, or into memory, is left out with a line that
says so; the cells that matter most come first.

--server: the benchmark program, which stays up between rounds. --program: `repaint`, started anew for each burst.
--device cpu rehearses all of it in float32 on a machine without a GPU: compiled only when --settings says so.
"""
import argparse
import contextlib
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "peers"))
sys.path.insert(0, str(REPOSITORY / "examples" / "models"))

from bench_unet import NETWORKS, TIMESTEP, fused_attention  # noqa: E402

PRESETS = {"small64": "guided-64", "imagenet64": "imagenet-64", "guided256": "guided-256"}
CELLS = [("guided256", 1), ("guided256", 16), ("small64", 1), ("imagenet64", 1), ("guided256", 4), ("imagenet64", 16),
         ("small64", 16), ("imagenet64", 4), ("small64", 4)]
MODES = {"eager": None, "max-autotune": "max-autotune", "reduce-overhead": "reduce-overhead"}
DTYPES = {"half": "float16", "bfloat16": "bfloat16", "float": "float32"}
PIECE = 0.02  # seconds between two looks at the clock
LEAST = 5  # pieces of a burst


# ---- one setting of PyTorch, in a process of its own -----------------------------------------------------------------


def randomise(network):
    """The weights of bench_unet.py's random_weights, made where the network is."""
    import torch

    torch.manual_seed(0)
    norms = {name for name, module in network.named_modules() if isinstance(module, torch.nn.GroupNorm)}
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            tensor.normal_()
            if tensor.dim() > 1:
                tensor.mul_(0.5 if name.startswith("label_emb") else tensor[0].numel() ** -0.5)
            else:
                owner, _, kind = name.rpartition(".")
                tensor.mul_(0.1).add_(1.0 if owner in norms and kind == "weight" else 0.0)


def built(config, device, dtype):
    """The network, channels_last; its embedding is computed in float32 and then rounded."""
    import torch
    from guided_unet import GuidedUNet

    class Rounded(torch.nn.Module):
        def forward(self, x):
            return x.to(dtype)

    with torch.device(device):
        network = GuidedUNet(config).eval()
    randomise(network)
    network = network.to(dtype=dtype, memory_format=torch.channels_last)
    network.time_embed = torch.nn.Sequential(Rounded(), *network.time_embed)
    return network.requires_grad_(False)


def sdpa_is_faster(network, arguments, clock):
    """Leaves the network with the faster attention: true when that is scaled_dot_product_attention."""
    import torch
    from guided_unet import AttentionBlock

    blocks = [module for module in network.modules() if isinstance(module, AttentionBlock)]
    found = {}
    for kind in (AttentionBlock, fused_attention()):
        for block in blocks:
            block.__class__ = kind
        with torch.inference_mode():
            for _ in range(2):
                network(*arguments)
            found[kind] = min(clock(lambda: network(*arguments), 3) for _ in range(3))
    best = min(found, key=found.get)
    for block in blocks:
        block.__class__ = best
    return best is not AttentionBlock


def work(args):
    """Makes the network ready, says so in a line of JSON, then answers a number of seconds per line with times."""
    import torch

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is not an answer
    config = NETWORKS[args.network]
    device = torch.device(args.device)
    dtype = getattr(torch, DTYPES[args.precision])
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)
    network = built(config, device, dtype)
    side = config["image_size"]
    x = torch.randn(args.batch, 3, side, side, device=device).to(dtype=dtype, memory_format=torch.channels_last)
    labels = torch.zeros(args.batch, dtype=torch.int64, device=device) if config["class_cond"] else None
    arguments = (x, torch.full((args.batch,), TIMESTEP, device=device), labels)

    def synchronize():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def clock(call, times):
        synchronize()
        start = time.perf_counter()
        for _ in range(times):
            call()
        synchronize()
        return (time.perf_counter() - start) / times

    fused = sdpa_is_faster(network, arguments, clock)
    call = network
    if MODES[args.mode]:
        call = torch.compile(network, mode=MODES[args.mode], dynamic=False)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(3):  # compiled at the first, recorded as a CUDA graph after it
            result = call(*arguments)
        synchronize()
        if not bool(torch.isfinite(result).all()):
            raise SystemExit("the network's output is not finite")
        each = clock(lambda: call(*arguments), 1)
        about = {"ready": args.mode, "seconds": time.perf_counter() - start, "attention": "sdpa" if fused else "explicit",
                 "torch": torch.__version__}
        if device.type == "cuda":
            about["peak_bytes"] = torch.cuda.max_memory_allocated()
            about["device"] = torch.cuda.get_device_name()
        print(json.dumps(about), file=out, flush=True)
        together = max(1, round(PIECE / each))
        for line in sys.stdin:
            pieces = []
            end = time.perf_counter() + float(line)
            while len(pieces) < LEAST or time.perf_counter() < end:
                pieces.append(1000 * clock(lambda: call(*arguments), together))
            print(json.dumps({"median_ms": statistics.median(pieces), "min_ms": min(pieces), "max_ms": max(pieces),
                              "runs": len(pieces) * together}), file=out, flush=True)


# ---- sides -----------------------------------------------------------------------------------------------------------


class Failed(Exception):
    pass


class Server:
    """A process that answers lines with lines. `name`: of the side."""

    def __init__(self, name, command, limit):
        self.name = name
        self.about = {}
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        os.set_blocking(self.process.stderr.fileno(), False)
        self.said = b""
        self.heard = b""
        try:
            self.about = self.answer(limit, "to get ready")
        except Failed:
            self.close()
            raise

    def answer(self, limit, what):
        end = time.monotonic() + limit
        out, err = self.process.stdout, self.process.stderr
        while b"\n" not in self.heard:
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"took more than {limit:.0f} s {what}")
            ready, _, _ = select.select([out, err], [], [], min(left, 1.0))
            for stream in ready:
                data = stream.read() or b""
                if stream is out:
                    self.heard += data
                else:
                    self.said = (self.said + data)[-20000:]
            if self.process.poll() is not None and b"\n" not in self.heard:
                self.said += err.read() or b""
                lines = self.said.decode(errors="replace").strip().splitlines()
                raise Failed(lines[-1] if lines else f"ended with status {self.process.returncode}")
        line, _, self.heard = self.heard.partition(b"\n")
        return json.loads(line)

    def burst(self, seconds):
        try:
            self.process.stdin.write(f"{seconds}\n".encode())
            self.process.stdin.flush()
        except OSError:
            pass  # answer() says why
        return self.answer(20 * seconds + 60, "for a burst")

    def close(self):
        self.process.kill()
        self.process.communicate()


class Program:
    """`repaint bench`, started for each burst."""

    def __init__(self, name, command, limit):
        self.name = name
        self.command = [str(word) for word in command]
        self.limit = limit
        self.about = {}
        self.each = self.run(1)["median_ms"]

    def run(self, runs):
        try:
            done = subprocess.run([*self.command, "--runs", str(runs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=self.limit, check=False)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"took more than {self.limit:.0f} s") from late
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip() or f"ended with status {done.returncode}")
        return json.loads(done.stdout)

    def burst(self, seconds):
        return self.run(max(3, round(1000 * seconds / self.each)))

    def close(self):
        pass


def torch_side(mode, network, batch, args, limit):
    command = [sys.executable, __file__, "--work", "--mode", mode, "--network", network, "--batch", batch]
    command += ["--device", args.device, "--precision", args.precision]
    return Server(mode, command, limit)


def own_side(network, batch, args, limit):
    if args.server:
        command = [args.server, "serve", "--preset", PRESETS[network], "--precision", args.precision, "--batch", batch]
        return Server("repaint", [*command, *(["--tune"] if args.tune else [])], limit)
    backend = "cpu" if args.device == "cpu" else "cuda"
    command = [args.program, "bench", "--preset", PRESETS[network], "--backend", backend, "--batch", batch]
    if backend == "cuda":
        command += ["--precision", args.precision, *(["--tune"] if args.tune else [])]
    return Program("repaint", command, limit)


# ---- cells -----------------------------------------------------------------------------------------------------------


def say(text):
    print(text, file=sys.stderr, flush=True)


def spread(values):
    digits = 3 if statistics.median(values) < 100 else 1
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def bench_cell(network, batch, args, left):
    """A record of the cell. left(): seconds until the end of the run."""
    started, failures, sides = [], {}, []

    def begin(name, make, limit):
        if limit < 5:
            failures[name] = "no time left"
        else:
            try:
                side = make(limit)
                started.append(side)
                sides.append(name)
                ready = side.about.get("seconds")
                say(f"{network}, batch {batch}, {name}: ready" + (f" after {ready:.0f} s" if ready else ""))
                return
            except (Failed, OSError, ValueError) as reason:
                failures[name] = str(reason)
        say(f"{network}, batch {batch}, {name}: {failures[name]}")

    with contextlib.ExitStack() as closing:
        closing.callback(lambda: [side.close() for side in started])
        if args.server or args.program:
            begin("repaint", lambda limit: own_side(network, batch, args, limit), min(args.ready_seconds, left()))
        for mode in args.settings:
            if mode == "reduce-overhead" and "max-autotune" in sides:
                continue  # only where the other could not be had
            limit = args.ready_seconds if MODES[mode] is None else args.compile_seconds
            begin(mode, lambda limit, mode=mode: torch_side(mode, network, batch, args, limit), min(limit, left()))
        bursts = {side.name: [] for side in started}
        for i in range(args.rounds):
            if i > 0 and left() < 2 * args.burst * len(started):
                break
            first = i % len(started) if started else 0
            for side in [*started[first:], *started[:first]]:
                if side.name in failures:
                    continue
                try:
                    bursts[side.name].append(side.burst(args.burst)["median_ms"])
                except (Failed, ValueError) as reason:
                    failures[side.name] = str(reason)
                    say(f"{network}, batch {batch}, {side.name}: {reason}")
    found = {name: rounds for name, rounds in bursts.items() if rounds}
    record = {"kind": "torch", "network": PRESETS[network], "batch": batch, "precision": args.precision,
              "device": args.device, "rounds": found, "failures": failures,
              "median_ms": {name: statistics.median(rounds) for name, rounds in found.items()},
              "about": {side.name: side.about for side in started if side.about}}
    others = [median for name, median in record["median_ms"].items() if name != "repaint"]
    if others and "repaint" in found:
        record["ratio"] = min(others) / record["median_ms"]["repaint"]
    return record


def print_table(records, settings):
    columns = [*settings, "repaint"]
    print("| network | batch | " + " | ".join(columns) + " | ratio |")
    print("|---|---:|" + "---:|" * (len(columns) + 1))
    for r in records:
        cells = [spread(r["rounds"][name]) if name in r["rounds"] else "-" for name in columns]
        print(f"| {r['network']} | {r['batch']} | " + " | ".join(cells) + f" | {r['ratio']:.2f} |" if "ratio" in r else
              f"| {r['network']} | {r['batch']} | " + " | ".join(cells) + " | - |")


def listed(known, kind=str):
    def parse(text):
        chosen = [kind(part) for part in text.split(",") if part]
        unknown = [part for part in chosen if known is not None and part not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"{text}: known are {','.join(map(str, known or []))}")
        return chosen

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=pathlib.Path, help="cuda_benchmark of tests/gpu.sh")
    parser.add_argument("--program", type=pathlib.Path, help="`repaint`, with the backend that --device names")
    parser.add_argument("--networks", type=listed(list(NETWORKS)), metavar="A,B,...", default=list(NETWORKS))
    parser.add_argument("--batches", type=listed(None, int), metavar="A,B,...", default=[1, 4, 16])
    parser.add_argument("--settings", type=listed(list(MODES)), metavar="A,B,...",
                        help="of PyTorch; default: all, with --device cpu eager")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--precision", choices=list(DTYPES), help="default: half, with --device cpu float")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it; default 8")
    parser.add_argument("--compile-seconds", type=float, default=150.0, help="for one setting; default 150")
    parser.add_argument("--ready-seconds", type=float, default=60.0, help="for a side that compiles nothing; default 60")
    parser.add_argument("--rounds", type=int, default=5, help="at most; default 5")
    parser.add_argument("--burst", type=float, default=0.5, help="seconds of each side's turn; default 0.5")
    parser.add_argument("--tune", action="store_true", help="repaint measures its plans first")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="append a line for each cell")
    for option in ("--work", "--mode", "--network", "--batch"):  # of a setting's own process
        parser.add_argument(option, help=argparse.SUPPRESS, **(
            {"action": "store_true"} if option == "--work" else {"type": int if option == "--batch" else str}))
    args = parser.parse_args()
    on_cpu = args.device == "cpu"
    args.precision = args.precision or ("float" if on_cpu else "half")
    args.settings = args.settings or (["eager"] if on_cpu else list(MODES))
    return args


def main():
    args = arguments()
    if args.work:
        work(args)
        return
    end = time.monotonic() + 60 * args.minutes
    records = []
    for network, batch in CELLS:
        if network not in args.networks or batch not in args.batches:
            continue
        left = end - time.monotonic()
        if left < 20:
            say(f"{network}, batch {batch}: no time left")
            continue
        record = bench_cell(network, batch, args, lambda: end - time.monotonic())
        records.append(record)
        if args.json:
            with args.json.open("a") as file:
                file.write(json.dumps(record) + "\n")
    print_table(records, args.settings)
    if not any("ratio" in record for record in records):
        sys.exit("no cell has both sides")


if __name__ == "__main__":
    main()
