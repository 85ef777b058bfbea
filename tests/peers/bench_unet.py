#!/usr/bin/env python3
"""Times one evaluation of guided-diffusion U-Nets side by side: `repaint bench` and PyTorch, float32, on the CPU.

    python tests/peers/bench_unet.py

needs requirements.txt of this folder, a C++ compiler for torch.compile and a build of the program (--program). The
networks are those of examples/models/guided_unet.py with random weights, written once, into --cache (small64 40 MB,
imagenet64 1.2 GB, guided256 2.2 GB; --clean removes them). Before a network is timed, both sides compute one output,
and the two must agree. PyTorch needs up to 10 GB of memory. `--networks small64 --batches 1` is the quick run.

The sides take turns: in each round every PyTorch setting runs for about --burst seconds, then `repaint bench` does, and
each round starts one further on, so that a slow minute of the machine hits all alike. Neither side counts the first
call of a burst, nor loading, nor compiling. One round's figure is the burst's median; the table has the median of the
rounds and, in brackets, the fastest and the slowest call. Bursts during which other processes were at work do not count
as long as a side has others; figures that had to use them are marked with *.

PyTorch works out the embedding of the timestep in each call; `repaint bench` keeps it, as it does while inpainting.
That is less than 0.5 % of the work.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

UNET = {
    "num_heads": 4,
    "num_head_channels": -1,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "use_new_attention_order": False,
    "class_cond": False,
    "learn_sigma": True,
}
NETWORKS = {
    "small64": {
        **UNET,
        "image_size": 64,
        "num_channels": 64,
        "num_res_blocks": 2,
        "channel_mult": "1,2,2,2",
        "attention_resolutions": "16,8",
    },
    "imagenet64": {
        **UNET,
        "image_size": 64,
        "num_channels": 192,
        "num_res_blocks": 3,
        "channel_mult": "1,2,3,4",
        "attention_resolutions": "32,16,8",
        "num_head_channels": 64,
        "use_new_attention_order": True,
        "resblock_updown": True,
        "class_cond": True,
    },
    "guided256": {
        **UNET,
        "image_size": 256,
        "num_channels": 256,
        "num_res_blocks": 2,
        "channel_mult": "1,1,2,2,4,4",
        "attention_resolutions": "32,16,8",
        "num_head_channels": 64,
        "resblock_updown": True,
    },
}
BATCHES = {"small64": (1, 4), "imagenet64": (1, 4), "guided256": (1,)}
SEED = 0
TIMESTEP = 500
AGREEMENT = 1e-3  # of the largest output: far above rounding in float32, far below what a wrong layer does
PAUSE = 0.3  # seconds before a burst: OpenMP's threads stop spinning long before that
OTHERS = 0.1  # cores kept busy by other processes, from which on a burst counts as disturbed


class Setting(typing.NamedTuple):
    channels_last: bool
    compiled: bool
    options: dict = {}


SETTINGS = {
    "eager": Setting(False, False),
    "eager_channels_last": Setting(True, False),
    "compile": Setting(False, True),
    "compile_channels_last": Setting(True, True),
    "compile_freezing": Setting(True, True, {"freezing": True}),
}


def least_calls(milliseconds):
    """Of a burst: the first calls after another process has run are slower, whatever is called."""
    return 3 if milliseconds < 2000 else 1


class Burst(typing.NamedTuple):
    median: float  # milliseconds per call, as the others
    fastest: float
    slowest: float
    calls: int
    others: float  # cores that other processes kept busy meanwhile


class Load:
    """What other processes take of the machine; zero where the system does not tell."""

    def __init__(self):
        self.start = (time.monotonic(), *self._seconds())

    @staticmethod
    def _seconds():
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        own = sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
        try:
            fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except OSError:
            return own, own
        user, nice, system, _idle, _wait, irq, soft_irq, steal = fields
        return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK"), own

    def others(self):
        wall, everything, own = (now - then for now, then in zip((time.monotonic(), *self._seconds()), self.start))
        ticks = 2 / os.sysconf("SC_CLK_TCK")  # the system counts in these
        return max(0.0, everything - own - ticks) / wall


def wait_for_quiet(patience):
    """A pause, prolonged while other processes are at work, by up to `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        load = Load()
        time.sleep(PAUSE)
        if load.others() < OTHERS or time.monotonic() >= end:
            return


def random_weights(network):
    """Of a size that keeps activations near 1. None is zero, not even where training starts from zero."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, tensor in network.state_dict().items():
        z = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() > 1:
            weights[name] = z.mul_(0.5 if name.startswith("label_emb") else tensor[0].numel() ** -0.5)
        else:
            norm = isinstance(network.get_submodule(name.rpartition(".")[0]), torch.nn.GroupNorm)
            weights[name] = z.mul_(0.1).add_(1.0 if norm and name.endswith("weight") else 0.0)
    return weights


def unloaded(config):
    """The network without memory for its weights."""
    import torch
    from guided_unet import GuidedUNet

    with torch.device("meta"):
        return GuidedUNet(config).eval()


def write_model(path, config):
    """Writes the weights and, beside them, the configuration, unless they are there."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    recipe = json.dumps({"config": config, "seed": SEED})
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("recipe") == recipe:
                return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    network = unloaded(config)
    needed = 4 * sum(p.numel() for p in network.parameters()) + (1 << 28)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        sys.exit(f"{path} takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
    partial = path.with_name(path.name + ".partial")
    save_file(random_weights(network), partial, metadata={"recipe": recipe})
    path.with_suffix(".json").write_text(json.dumps(config, indent=4) + "\n")
    os.replace(partial, path)


def load_network(path, config, channels_last):
    import torch
    from safetensors.torch import load_file

    network = unloaded(config)
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}  # out of the file's mapping
    network.load_state_dict(weights, assign=True)
    return network.to(memory_format=torch.channels_last) if channels_last else network


def inputs(config, batch, channels_last=False):
    import torch

    side = config["image_size"]
    x = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(SEED + 1))
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64) if config["class_cond"] else None
    return x, torch.full((batch,), TIMESTEP), labels


class TorchSide:
    """One setting with its network, which is warm; `failure` says why there is none."""

    def __init__(self, name, network, config, batch):
        import torch

        setting = SETTINGS[name]
        self.name = name
        self.arguments = inputs(config, batch, setting.channels_last)
        self.failure = None
        self.network = network
        if setting.compiled:
            self.network = torch.compile(network, dynamic=False, options=setting.options or None)
        start = time.monotonic()
        try:
            self.call()
        except Exception as error:
            if not setting.compiled:
                raise
            self.network = None
            self.failure = f"failed: {type(error).__name__}"
            print(f"{name}: {error}", file=sys.stderr)
            return
        self.preparation = time.monotonic() - start
        self.call()

    def call(self):
        """Milliseconds of one call."""
        import torch

        with torch.inference_mode():
            start = time.perf_counter()
            self.network(*self.arguments)
            return 1000 * (time.perf_counter() - start)

    def burst(self, seconds, patience):
        wait_for_quiet(patience)
        load = Load()
        self.call()
        times = []
        end = time.monotonic() + seconds
        while not times or time.monotonic() < end or len(times) < least_calls(min(times)):
            times.append(self.call())
        return Burst(statistics.median(times), min(times), max(times), len(times), load.others())


class ProgramSide:
    name = "repaint"
    failure = None

    def __init__(self, program, path, batch, threads, backend, environment):
        self.command = [program, "bench", path, "--config", path.with_suffix(".json"), "--batch", batch]
        self.command += ["--threads", threads, *(["--backend", backend] if backend else [])]
        self.environment = environment
        self.fastest = None
        self.backend = None

    def bench(self, runs):
        command = [str(word) for word in (*self.command, "--runs", runs)]
        printed = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True).stdout
        return json.loads(printed)

    def burst(self, seconds, patience):
        if self.fastest is None:
            self.fastest = self.bench(1)["min_ms"]
        runs = max(least_calls(self.fastest), round(1000 * seconds / self.fastest))
        wait_for_quiet(patience)
        load = Load()
        own = time.process_time()
        found = self.bench(runs)
        own = time.process_time() - own
        if own > 0.1 + 0.02 * runs * found["median_ms"] / 1000:
            print(f"PyTorch's idle threads took {own:.2f} s of `repaint bench`'s time", file=sys.stderr)
        self.backend = found["backend"]
        self.fastest = min(self.fastest, found["min_ms"])
        return Burst(found["median_ms"], found["min_ms"], found["max_ms"], runs, load.others())


def disagreement(program, path, config, network, threads, backend, environment):
    """The largest difference between both sides' outputs, as a part of the largest output."""
    import numpy
    import torch

    x, timesteps, labels = inputs(config, 1)
    with torch.inference_mode():
        expected = network(x, timesteps, labels).numpy()
    with tempfile.TemporaryDirectory() as folder:
        x_path, out_path = pathlib.Path(folder) / "x.npy", pathlib.Path(folder) / "out.npy"
        numpy.save(x_path, x.numpy())
        command = [program, "predict", path, "--config", path.with_suffix(".json"), "--input", x_path]
        command += ["--timestep", TIMESTEP, "--out", out_path, "--threads", threads]
        command += [*(["--label", 0] if labels is not None else []), *(["--backend", backend] if backend else [])]
        subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.DEVNULL, check=True)
        found = numpy.load(out_path)
    if found.shape != expected.shape or not numpy.isfinite(expected).all():
        sys.exit(f"{path}: outputs of shape {found.shape} and {expected.shape}, which must agree and be finite")
    return float(numpy.abs(found - expected).max() / numpy.abs(expected).max())


def measure(sides, rounds, seconds, burst_seconds, patience):
    """Bursts of each side that works, by its name."""
    bursts = {side.name: [] for side in sides if not side.failure}
    active = [side for side in sides if not side.failure]
    start = time.monotonic()
    for i in range(rounds):
        elapsed = time.monotonic() - start
        if i > 0 and elapsed * (i + 1) / i > seconds:
            break
        turn = i % len(active)
        for side in active[turn:] + active[:turn]:
            bursts[side.name].append(side.burst(burst_seconds, patience))
    return bursts


class Summary(typing.NamedTuple):
    median: float
    fastest: float
    slowest: float
    disturbed: bool

    def __str__(self):
        digits = 1 if self.median < 1000 else 0
        mark = "*" if self.disturbed else ""
        return f"{self.median:.{digits}f}{mark} ({self.fastest:.{digits}f}..{self.slowest:.{digits}f})"


def summary(bursts):
    quiet = [burst for burst in bursts if burst.others < OTHERS]
    counted = quiet or bursts
    return Summary(
        statistics.median(burst.median for burst in counted),
        min(burst.fastest for burst in counted),
        max(burst.slowest for burst in counted),
        not quiet,
    )


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_model():
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def names(known):
    def parse(text):
        chosen = [part for part in text.split(",") if part]
        unknown = [part for part in chosen if part not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(f"{text}: known are {','.join(known)}")
        return chosen

    return parse


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} must be above 0")
        return value

    parse.__name__ = kind.__name__
    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = REPOSITORY / "build"
    listed = {"metavar": "A,B,..."}
    whole = positive(int)
    parser.add_argument("--networks", type=names(NETWORKS), default=list(NETWORKS), help=",".join(NETWORKS), **listed)
    parser.add_argument("--batches", type=lambda text: [whole(part) for part in text.split(",")],
                        help="default: 1 and 4, for guided256 1", **listed)
    parser.add_argument("--settings", type=names(SETTINGS), default=list(SETTINGS),
                        help="of PyTorch: " + ", ".join(SETTINGS), **listed)
    parser.add_argument("--threads", type=whole, default=cores(), help="default: the cores this process may use")
    parser.add_argument("--rounds", type=whole, default=5, help="at most; default 5")
    parser.add_argument("--seconds", type=positive(float), default=300.0,
                        help="no round starts that would end later than this, for each network and batch; default 300")
    parser.add_argument("--burst", type=positive(float), default=1.0, help="seconds of each side's turn; default 1")
    parser.add_argument("--patience", type=float, default=20.0,
                        help="seconds to wait before a turn for other processes to finish; default 20")
    parser.add_argument("--program", type=pathlib.Path, help="default: the newest of build/*/examples/cli/repaint")
    parser.add_argument("--backend", help="of the program; default: its own choice")
    parser.add_argument("--torch-only", action="store_true")
    parser.add_argument("--no-check", action="store_true", help="do not compare the outputs first")
    parser.add_argument("--cache", type=pathlib.Path, default=build / "bench", help="folder; default build/bench")
    parser.add_argument("--clean", action="store_true", help="remove the cache folder and do nothing else")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every burst here")
    args = parser.parse_args()
    if not args.clean and not args.torch_only:
        if args.program is None:
            found = sorted(build.glob("*/examples/cli/repaint"), key=lambda path: path.stat().st_mtime)
            if not found:
                parser.error("no build/*/examples/cli/repaint: build the program, or give --program or --torch-only")
            args.program = found[-1]
        elif not args.program.is_file():
            parser.error(f"--program {args.program} is not a file")
        args.program = args.program.resolve()
    return args


def bench_network(name, args, environment):
    """Yields the batch, the failures and the bursts of each cell."""
    import torch

    config = NETWORKS[name]
    path = args.cache.resolve() / f"{name}.safetensors"
    write_model(path, config)
    layouts = dict.fromkeys(SETTINGS[setting].channels_last for setting in args.settings)
    networks = {channels_last: load_network(path, config, channels_last) for channels_last in layouts}
    some = next(iter(networks.values()))
    print(f"{name}: {sum(p.numel() for p in some.parameters()):,} parameters", file=sys.stderr)
    if not args.torch_only and not args.no_check:
        error = disagreement(args.program, path, config, some, args.threads, args.backend, environment)
        print(f"{name}: outputs differ by {error:.1e} of the largest", file=sys.stderr)
        if not error < AGREEMENT:
            sys.exit(f"{name}: outputs differ by {error:.1e} of the largest, more than {AGREEMENT:.0e}")
    for batch in args.batches or BATCHES[name]:
        torch.compiler.reset()
        sides = []
        for setting in args.settings:
            side = TorchSide(setting, networks[SETTINGS[setting].channels_last], config, batch)
            print(f"{name}, batch {batch}, {setting}: {side.failure or f'ready after {side.preparation:.0f} s'}",
                  file=sys.stderr)
            sides.append(side)
        if not args.torch_only:
            sides.append(ProgramSide(args.program, path, batch, args.threads, args.backend, environment))
        bursts = measure(sides, args.rounds, args.seconds, args.burst, args.patience)
        for side, found in bursts.items():
            print(f"{name}, batch {batch}, {side}: {summary(found)} ms, {len(found)} rounds, "
                  f"{sum(burst.others < OTHERS for burst in found)} quiet",
                  file=sys.stderr)
        backend = None if args.torch_only else sides[-1].backend
        yield batch, {side.name: side.failure for side in sides if side.failure}, bursts, backend


def main():
    args = arguments()
    if args.clean:
        shutil.rmtree(args.cache, ignore_errors=True)
        return
    environment = dict(os.environ)  # of the program, without what is set for PyTorch
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before libgomp is loaded, with torch
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(args.cache.resolve() / "inductor"))
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(REPOSITORY / "examples" / "models"))
    import torch

    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)

    about = {
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": args.threads,
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    cells = []
    rows = []
    for name in args.networks:
        for batch, failures, bursts, backend in bench_network(name, args, environment):
            cells.append({"network": name, "batch": batch, "backend": backend, "failures": failures,
                          "bursts": {side: [burst._asdict() for burst in found] for side, found in bursts.items()}})
            summaries = {side: summary(found) for side, found in bursts.items()}
            row = [name, str(batch)]
            row += [failures.get(setting) or str(summaries[setting]) for setting in args.settings]
            if not args.torch_only:
                about["backend"] = backend
                torch_medians = [summaries[setting].median for setting in args.settings if setting in summaries]
                ratio = min(torch_medians) / summaries["repaint"].median if torch_medians else float("nan")
                row += [str(summaries["repaint"]), f"{ratio:.2f}"]
            rows.append(row)
            if args.json:
                args.json.write_text(json.dumps({**about, "cells": cells}, indent=1) + "\n")

    head = ["network", "batch", *(f"torch {setting.replace('_', ' ')}, ms" for setting in args.settings)]
    if not args.torch_only:
        head += ["repaint, ms", "best torch / repaint"]
    program = f", repaint backend {about['backend']}" if not args.torch_only else ""
    print(f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads, PyTorch {about['torch']} "
          f"({about['torch_cpu_capability']}){program}, float32; median (fastest..slowest)\n")
    print(f"| {' | '.join(head)} |")
    print(f"|{'|'.join(['---'] * 2 + ['---:'] * (len(head) - 2))}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
