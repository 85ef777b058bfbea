#!/usr/bin/env python3
"""Times one evaluation of guided-diffusion U-Nets side by side: `repaint bench`, PyTorch, ONNX Runtime and OpenVINO,
float32, on the CPU.

    python tests/peers/bench_unet.py

needs requirements.txt of this folder, a C++ compiler for torch.compile and a build of the program (--program). The
networks are those of examples/models/guided_unet.py with random weights, written once, into --cache (small64 40 MB,
imagenet64 1.2 GB, guided256 2.2 GB, and as much again in ONNX; --clean removes them). Before a network is timed, every
side computes one output, and all must agree. The whole takes up to 16 GB of memory. `--networks small64 --batches 1` is
the quick run, `--only repaint,openvino` one of some sides. --cache also keeps what PyTorch put out, which attention is
the faster, and what torch.compile and OpenVINO compiled: the whole run keeps to --minutes once it is there.

PyTorch's attention is the faster of two, which must agree: the explicit one of guided_unet.py and one with
scaled_dot_product_attention. Both are timed before the network is, for either memory layout; ONNX Runtime and OpenVINO
get the second, exported to ONNX here, with which neither is slower. PyTorch allocates huge pages
(THP_MEM_ALLOC_ENABLE=1, unless the environment says otherwise), with which it is a few percent faster. ONNX Runtime
runs with all its optimizations, OpenVINO for latency, with float32 as its precision of inference, and both compile for
the batch at hand.

The sides take turns: in each round every setting of PyTorch runs for about --burst seconds, then every other side does,
and each round starts one further on, so that a slow minute of the machine hits all alike. No side counts the first
call of a burst, nor loading, nor compiling. One round's figure is the burst's median; the table has the median of the
rounds and, in brackets, the lowest and the highest round. Bursts during which other processes were at work do not count
as long as a side has others; figures that had to use them are marked with *. "compile" is the fastest of the compiled
settings. The ratio is that of the fastest side to `repaint`: of the medians, and in brackets the lowest and the highest
of one round.

--contend N measures each side twice in each round, alone and while N processes that only count compete for the cores,
and prints how much slower each side gets.

PyTorch works out the embedding of the timestep in each call; `repaint bench` keeps it, as it does while inpainting.
That is less than 0.5 % of the work.
"""
import argparse
import contextlib
import functools
import importlib.metadata
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
import textwrap
import time
import typing
import warnings

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
        "use_scale_shift_norm": False,
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
CONTENDED = ("small64", "imagenet64")  # batch 1
BUILDS = ("dev", "program")
SEED = 0
TIMESTEP = 500
LEAST_ROUNDS = 3  # whatever the time
AGREEMENT = 1e-3  # of the largest output: far above rounding in float32, far below what a wrong layer does
PAUSE = 0.3  # seconds before a burst: OpenMP's threads stop spinning long before that
COLUMNS = 120
OTHERS = 0.1  # cores kept busy by other processes, from which on a burst counts as disturbed


class Setting(typing.NamedTuple):
    channels_last: bool
    compiled: bool
    options: dict = {}


PEERS = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
SIDES = ("pytorch", *PEERS, "repaint")
SETTINGS = {
    "eager": Setting(False, False),
    "eager_channels_last": Setting(True, False),
    "compile": Setting(False, True),
    "compile_channels_last": Setting(True, True),
    "compile_freezing": Setting(True, True, {"freezing": True}),
}
DEFAULT_SETTINGS = {name: ["eager", "eager_channels_last", "compile_channels_last"] for name in NETWORKS}
DEFAULT_SETTINGS["small64"].insert(2, "compile")  # for the others it takes minutes, and channels_last is faster


def least_calls(milliseconds):
    """Of a burst: the first calls after another process has run are slower, whatever is called."""
    return 3 if milliseconds < 2000 else 1


class Burst(typing.NamedTuple):
    median: float  # milliseconds per call, as the others
    fastest: float
    slowest: float
    calls: int
    others: float  # cores that other processes kept busy meanwhile
    contenders: int  # processes that were made to compete


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


COUNT = """
import os, sys
parent = int(sys.argv[1])
print(flush=True)
while os.getppid() == parent:
    for _ in range(1000000):
        pass
"""


@contextlib.contextmanager
def contention(processes):
    """That many processes which only count. They are waited for at the end, so that `Load` takes them for our own."""
    command = [sys.executable, "-S", "-E", "-c", COUNT, str(os.getpid())]
    started = []
    try:
        for _ in range(processes):
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for process in started:
            process.stdout.readline()
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.communicate()


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


@functools.cache
def fused_attention():
    """The attention of guided_unet.py for scaled_dot_product_attention: rows of channels, which it wants contiguous."""
    from guided_unet import AttentionBlock
    from torch.nn import functional

    class FusedAttention(AttentionBlock):
        def forward(self, x, embedding):
            rows = self.norm(x).flatten(2).transpose(1, 2)
            qkv = functional.linear(rows, self.qkv.weight[:, :, 0], self.qkv.bias)
            if self.new_order:
                qkv = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            else:
                qkv = qkv.unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
            mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).flatten(2)
            added = functional.linear(mixed, self.proj_out.weight[:, :, 0], self.proj_out.bias)
            return x + added.transpose(1, 2).reshape(x.shape)

    return FusedAttention


def attention_blocks(network):
    from guided_unet import AttentionBlock

    return [module for module in network.modules() if isinstance(module, AttentionBlock)]


def set_attention(network, kind):
    from guided_unet import AttentionBlock

    for block in attention_blocks(network):
        block.__class__ = fused_attention() if kind == "fused" else AttentionBlock


def time_attention(network, config, channels_last):
    """Milliseconds of the two kinds of attention, and the network's output.

    Only the attention blocks are timed, on what they are given in one call of the network: the rest is the same.
    """
    import torch

    blocks = attention_blocks(network)
    given = []
    hooks = [block.register_forward_pre_hook(lambda block, given_now: given.append((block, given_now)))
             for block in blocks]
    with torch.inference_mode():
        output = network(*inputs(config, 1, channels_last))
        for hook in hooks:
            hook.remove()

        def call(kind):
            set_attention(network, kind)
            start = time.perf_counter()
            outputs = [block(*block_given) for block, block_given in given]
            return 1000 * (time.perf_counter() - start), outputs

        expected, found = call("explicit")[1], call("fused")[1]
        error = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(expected, found))
        if not error < AGREEMENT:
            sys.exit(f"scaled_dot_product_attention differs by {error:.1e} of the largest, more than {AGREEMENT:.0e}")
        wait_for_quiet(0)
        times = {"explicit": [], "fused": []}
        end = time.monotonic() + 4
        while len(times["fused"]) < 3 or (len(times["fused"]) < 30 and time.monotonic() < end):
            for kind, found in times.items():
                found.append(call(kind)[0])
    return {kind: statistics.median(found) for kind, found in times.items()}, output.numpy()


def choose_attention(network, config, channels_last, wanted, kept):
    """Gives the network the attention that is faster, or the one that is wanted; its name, and the network's output.

    What was found is kept in the file `kept`, for this version of PyTorch and this kind of processor.
    """
    import numpy
    import torch

    machine = json.dumps([torch.__version__, cpu_model(), instruction_sets(), torch.get_num_threads()])
    medians = None
    with contextlib.suppress(OSError, ValueError, KeyError):
        with numpy.load(kept) as found:
            if str(found["machine"]) == machine:
                medians, output = json.loads(str(found["medians"])), found["output"]
    if medians is None:
        medians, output = time_attention(network, config, channels_last)
        numpy.savez(kept, machine=machine, medians=json.dumps(medians), output=output)
    chosen = min(medians, key=medians.get) if wanted == "faster" else wanted
    call_ms = ", ".join(f"{kind} {median:.1f} ms" for kind, median in medians.items())
    print(f"attention, {layout_name(channels_last)}: {call_ms}; {chosen} is used", file=sys.stderr)
    set_attention(network, chosen)
    return chosen, output


def layout_name(channels_last):
    return "channels_last" if channels_last else "NCHW"


class SideHere:
    """A side that runs in this process, and is warm: `call` gives the milliseconds of one evaluation."""

    failure = None

    def burst(self, seconds, patience, contenders):
        wait_for_quiet(patience)
        load = Load()
        with contention(contenders):
            self.call()
            times = []
            end = time.monotonic() + seconds
            while not times or time.monotonic() < end or len(times) < least_calls(min(times)):
                times.append(self.call())
        return Burst(statistics.median(times), min(times), max(times), len(times), load.others(), contenders)


class TorchSide(SideHere):
    """One setting with its network; `failure` says why there is none."""

    def __init__(self, name, network, config, batch):
        import torch

        setting = SETTINGS[name]
        self.name = name
        self.arguments = inputs(config, batch, setting.channels_last)
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


def export_onnx(folder, path, config):
    """Writes the network of a model file in ONNX, with a free batch, unless it is there; its file."""
    import torch

    exported = folder / "network.onnx"
    if exported.exists() and exported.stat().st_mtime >= path.stat().st_mtime:
        return exported
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network = load_network(path, config, channels_last=False)
    set_attention(network, "fused")
    given = feed(config, 1, to=lambda tensor: tensor)
    free = {name: {0: "batch"} for name in (*given, "out")}
    partial = folder / "partial.onnx"  # the weights of large networks become files beside it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, tuple(given.values()), str(partial), dynamo=False, opset_version=18,
                          input_names=list(given), output_names=["out"], dynamic_axes=free)
    os.replace(partial, exported)
    return exported


def feed(config, batch, to=lambda tensor: tensor.numpy()):
    """The inputs of the exported network by their names."""
    named = zip(("x", "timesteps", "labels"), inputs(config, batch))
    return {name: to(tensor) for name, tensor in named if tensor is not None}


class OnnxRuntimeSide(SideHere):
    name = "onnxruntime"

    def __init__(self, exported, config, batch, threads, _cache):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("batch", batch)
        self.session = onnxruntime.InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])
        self.feed = feed(config, batch)

    def output(self):
        return self.session.run(None, self.feed)[0]

    def call(self):
        start = time.perf_counter()
        self.session.run(None, self.feed)
        return 1000 * (time.perf_counter() - start)


class OpenvinoSide(SideHere):
    name = "openvino"

    def __init__(self, exported, config, batch, threads, cache):
        import openvino

        core = openvino.Core()
        core.set_property({"CACHE_DIR": str(cache)})
        model = core.read_model(exported)
        self.feed = feed(config, batch)
        model.reshape({name: list(value.shape) for name, value in self.feed.items()})
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()

    def output(self):
        self.request.infer(self.feed)
        return self.request.get_output_tensor(0).data.copy()

    def call(self):
        start = time.perf_counter()
        self.request.infer(self.feed, share_inputs=True)
        return 1000 * (time.perf_counter() - start)


PEER_SIDES = {side.name: side for side in (OnnxRuntimeSide, OpenvinoSide)}


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

    def burst(self, seconds, patience, contenders):
        if self.fastest is None:
            self.fastest = self.bench(1)["min_ms"]
        runs = max(least_calls(self.fastest), round(1000 * seconds / self.fastest))
        wait_for_quiet(patience)
        load = Load()
        own = time.process_time()
        with contention(contenders):
            found = self.bench(runs)
        own = time.process_time() - own
        if own > 0.1 + 0.02 * runs * found["median_ms"] / 1000:
            print(f"idle threads of its peers took {own:.2f} s of `repaint bench`'s time", file=sys.stderr)
        self.backend = found["backend"]
        self.fastest = min(self.fastest, found["min_ms"])
        return Burst(found["median_ms"], found["min_ms"], found["max_ms"], runs, load.others(), contenders)


def check_output(name, side, found, expected):
    """Ends the run when a side's output is not PyTorch's."""
    import numpy

    if found.shape != expected.shape or not numpy.isfinite(expected).all():
        sys.exit(f"{name}, {side}: outputs of shape {found.shape} and {expected.shape}, which must agree and be finite")
    error = float(numpy.abs(found - expected).max() / numpy.abs(expected).max())
    print(f"{name}, {side}: output differs by {error:.1e} of the largest", file=sys.stderr)
    if not error < AGREEMENT:
        sys.exit(f"{name}, {side}: output differs by {error:.1e} of the largest, more than {AGREEMENT:.0e}")


def program_output(program, path, config, threads, backend, environment):
    import numpy

    x, _, labels = inputs(config, 1)
    with tempfile.TemporaryDirectory() as folder:
        x_path, out_path = pathlib.Path(folder) / "x.npy", pathlib.Path(folder) / "out.npy"
        numpy.save(x_path, x.numpy())
        command = [program, "predict", path, "--config", path.with_suffix(".json"), "--input", x_path]
        command += ["--timestep", TIMESTEP, "--out", out_path, "--threads", threads]
        command += [*(["--label", 0] if labels is not None else []), *(["--backend", backend] if backend else [])]
        subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.DEVNULL, check=True)
        return numpy.load(out_path)


def measure(sides, rounds, seconds, burst_seconds, patience, contenders):
    """Bursts of each side that works, by its name."""
    bursts = {side.name: [] for side in sides if not side.failure}
    turns = [(side, n) for side in sides if not side.failure for n in ((0, contenders) if contenders else (0,))]
    start = time.monotonic()
    for i in range(rounds):
        elapsed = time.monotonic() - start
        if i >= LEAST_ROUNDS and elapsed * (i + 1) / i > seconds:
            break
        first = i % len(turns)
        for side, n in turns[first:] + turns[:first]:
            bursts[side.name].append(side.burst(burst_seconds, patience, n))
    return bursts


class Summary(typing.NamedTuple):
    median: float
    lowest: float
    highest: float
    disturbed: bool

    def __str__(self):
        digits = 1 if self.median < 100 else 0
        mark = "*" if self.disturbed else ""
        return f"{self.median:.{digits}f}{mark} ({self.lowest:.{digits}f}-{self.highest:.{digits}f})"


def summary(bursts, contenders=0):
    found = [burst for burst in bursts if burst.contenders == contenders]
    quiet = [burst for burst in found if burst.others < OTHERS]
    medians = [burst.median for burst in quiet or found]
    return Summary(statistics.median(medians), min(medians), max(medians), not quiet)


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_model():
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets():
    """Of those that matter here, the ones this processor has."""
    wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                found = line.partition(":")[2].split()
                return " ".join(name for name in wanted if name in found)
    return ""


def caches():
    """The caches of the first core, as the system tells them: "L1d 32K, L2 1024K, L3 32768K"."""
    found = []
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with contextlib.suppress(OSError):
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found)


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
    parser.add_argument("--networks", type=names(NETWORKS),
                        help=f"{','.join(NETWORKS)}; default: all, with --contend {','.join(CONTENDED)}", **listed)
    parser.add_argument("--batches", type=lambda text: [whole(part) for part in text.split(",")],
                        help="default: 1 and 4, for guided256 and with --contend 1", **listed)
    parser.add_argument("--settings", type=names(SETTINGS),
                        help=f"of PyTorch: {', '.join(SETTINGS)}; default: without freezing, compile only for small64",
                        **listed)
    parser.add_argument("--attention", choices=("faster", "explicit", "fused"), default="faster",
                        help="of PyTorch; default: the faster one")
    parser.add_argument("--threads", type=whole, default=cores(), help="default: the cores this process may use")
    parser.add_argument("--rounds", type=whole, default=5, help="at most; default 5")
    parser.add_argument("--minutes", type=positive(float), default=24.0,
                        help=f"shared out among the networks and batches, {LEAST_ROUNDS} rounds of each in any case; "
                        "default 24")
    parser.add_argument("--burst", type=positive(float), default=1.0, help="seconds of each side's turn; default 1")
    parser.add_argument("--patience", type=float, default=20.0,
                        help="seconds to wait before a turn for other processes to finish; default 20")
    parser.add_argument("--contend", type=whole, default=0, metavar="N", help="also measure beside N busy processes")
    parser.add_argument("--program", type=pathlib.Path,
                        help=f"default: build/{{{','.join(BUILDS)}}}/examples/cli/repaint, the first there is")
    parser.add_argument("--backend", help="of the program; default: its own choice")
    parser.add_argument("--only", type=names(SIDES), default=list(SIDES),
                        help=f"of the sides {', '.join(SIDES)}", **listed)
    parser.add_argument("--no-check", action="store_true", help="do not compare the outputs first")
    parser.add_argument("--cache", type=pathlib.Path, default=build / "bench", help="folder; default build/bench")
    parser.add_argument("--clean", action="store_true", help="remove the cache folder and do nothing else")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write every burst here")
    args = parser.parse_args()
    if not args.clean and "repaint" in args.only:
        if args.program is None:
            programs = [build / folder / "examples" / "cli" / "repaint" for folder in BUILDS]
            args.program = next((path for path in programs if path.is_file()), None)
            if args.program is None:
                parser.error(f"{programs[0]} is missing: build the program, or give --program or --only")
        elif not args.program.is_file():
            parser.error(f"--program {args.program} is not a file")
        args.program = args.program.resolve()
    args.networks = args.networks or list(CONTENDED if args.contend else NETWORKS)
    return args


def batches_of(network, args):
    return args.batches or ((1,) if args.contend else BATCHES[network])


class Cell(typing.NamedTuple):
    network: str
    batch: int
    backend: str | None
    attention: dict  # by memory layout
    failures: dict  # by side
    bursts: dict  # by side

    def best(self, settings):
        """The summary of the fastest, why there is none, or - if there is none of them."""
        found = [summary(self.bursts[name]) for name in settings if name in self.bursts]
        failed = [self.failures[name] for name in settings if name in self.failures]
        return min(found, default=None) or next(iter(failed), "-")

    def ratio(self):
        """Of the fastest peer to the program: of the medians, and the lowest and highest of one round."""
        medians = {name: summary(bursts) for name, bursts in self.bursts.items()}
        if "repaint" not in medians or len(medians) < 2:
            return "-"
        own = medians.pop("repaint")
        fastest = min(medians, key=medians.get)
        rounds = [[burst.median for burst in self.bursts[name] if not burst.contenders]
                  for name in (fastest, "repaint")]
        each = [peer / program for peer, program in zip(*rounds)]
        return f"{medians[fastest].median / own.median:.2f} ({min(each):.2f}-{max(each):.2f})"

    def record(self):
        bursts = {side: [burst._asdict() for burst in found] for side, found in self.bursts.items()}
        return {**self._asdict(), "bursts": bursts}


def bench_network(name, args, environment, seconds_for_next):
    """Yields the cell of each batch."""
    import torch

    config = NETWORKS[name]
    settings = (args.settings or DEFAULT_SETTINGS[name]) if "pytorch" in args.only else []
    cache = args.cache.resolve()
    path = cache / f"{name}.safetensors"
    write_model(path, config)
    networks, attention, expected = {}, {}, None
    for channels_last in dict.fromkeys(SETTINGS[setting].channels_last for setting in settings):
        network = networks[channels_last] = load_network(path, config, channels_last)
        if len(networks) == 1:
            print(f"{name}: {sum(p.numel() for p in network.parameters()):,} parameters", file=sys.stderr)
        layout = layout_name(channels_last)
        attention[layout], expected = choose_attention(network, config, channels_last, args.attention,
                                                       cache / f"{name}.{layout}.npz")
    exported = None
    if any(peer in args.only for peer in PEERS):
        exported = export_onnx(cache / f"{name}.onnx", path, config)
    check = not args.no_check
    if check and expected is None and args.only != ["repaint"]:
        _, expected = choose_attention(load_network(path, config, False), config, False, args.attention,
                                       cache / f"{name}.{layout_name(False)}.npz")
    if check and expected is not None:
        for peer in (peer for peer in PEERS if peer in args.only):
            side = PEER_SIDES[peer](exported, config, 1, args.threads, cache / "openvino")
            check_output(name, PEERS[peer], side.output(), expected)
        if "repaint" in args.only:
            found = program_output(args.program, path, config, args.threads, args.backend, environment)
            check_output(name, "repaint", found, expected)
    for batch in batches_of(name, args):
        end = time.monotonic() + seconds_for_next()
        torch.compiler.reset()
        sides = []
        for setting in settings:
            side = TorchSide(setting, networks[SETTINGS[setting].channels_last], config, batch)
            print(f"{name}, batch {batch}, {setting}: {side.failure or f'ready after {side.preparation:.0f} s'}",
                  file=sys.stderr)
            sides.append(side)
        for peer in (peer for peer in PEERS if peer in args.only):
            start = time.monotonic()
            sides.append(PEER_SIDES[peer](exported, config, batch, args.threads, cache / "openvino"))
            sides[-1].call()
            print(f"{name}, batch {batch}, {peer}: ready after {time.monotonic() - start:.0f} s", file=sys.stderr)
        if "repaint" in args.only:
            sides.append(ProgramSide(args.program, path, batch, args.threads, args.backend, environment))
        bursts = measure(sides, args.rounds, end - time.monotonic(), args.burst, args.patience, args.contend)
        for side, found in bursts.items():
            for contenders in sorted({burst.contenders for burst in found}):
                beside = f", {contenders} contending" if contenders else ""
                alike = [burst for burst in found if burst.contenders == contenders]
                print(f"{name}, batch {batch}, {side}{beside}: {summary(found, contenders)} ms, {len(alike)} rounds, "
                      f"{sum(burst.others < OTHERS for burst in alike)} quiet",
                      file=sys.stderr)
        failures = {side.name: side.failure for side in sides if side.failure}
        yield Cell(name, batch, sides[-1].backend if "repaint" in args.only else None, attention, failures, bursts)


def print_table(head, texts, rows):
    """As Markdown; the first `texts` columns are flush left."""
    print(f"| {' | '.join(head)} |")
    print(f"|{'|'.join(['---'] * texts + ['---:'] * (len(head) - texts))}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def print_speeds(cells):
    compiled = [name for name, setting in SETTINGS.items() if setting.compiled]
    rows = []
    for cell in cells:
        groups = (["eager"], ["eager_channels_last"], compiled, *([peer] for peer in PEERS), ["repaint"])
        rows.append([cell.network, str(cell.batch), *(str(cell.best(group)) for group in groups), cell.ratio()])
    head = ["network", "batch", "PyTorch eager", "channels_last", "compile", *PEERS.values(), "repaint", "ratio"]
    print_table(head, 1, rows)


def print_contention(cells, contenders):
    rows = []
    for cell in cells:
        for side, bursts in cell.bursts.items():
            alone, beside = summary(bursts), summary(bursts, contenders)
            label = PEERS.get(side) or (side if side == "repaint" else f"PyTorch {side.replace('_', ' ', 1)}")
            mark = "*" if alone.disturbed or beside.disturbed else ""
            rows.append([cell.network, str(cell.batch), label, str(alone), str(beside),
                         f"{beside.median / alone.median:.2f}{mark}"])
    processes = f"{contenders} busy process{'es' if contenders > 1 else ''}"
    print_table(["network", "batch", "side", "alone", f"beside {processes}", "slow-down"], 3, rows)


def about_attention(cells):
    """Which attention PyTorch had, in one sentence."""
    used = {}
    for network, attention in {cell.network: cell.attention for cell in cells}.items():
        for layout, kind in attention.items():
            used.setdefault(kind, []).append(f"{network} {layout}")
    titles = {"fused": "scaled_dot_product_attention", "explicit": "the explicit one"}
    if not used:
        return ""
    parts = [f"{titles[kind]} for {', '.join(places)}" for kind, places in used.items()]
    return f"PyTorch's attention is {'; '.join(parts)}."


def main():
    start = time.monotonic()
    args = arguments()
    if args.clean:
        shutil.rmtree(args.cache, ignore_errors=True)
        return
    environment = dict(os.environ)  # of the program, without what is set for PyTorch
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before libgomp is loaded, with torch
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(args.cache.resolve() / "inductor"))
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(REPOSITORY / "examples" / "models"))
    import torch

    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)

    about = {
        "cpu": cpu_model(),
        "caches": caches(),
        "instruction_sets": instruction_sets(),
        "cores": cores(),
        "threads": args.threads,
        "torch": torch.__version__,
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "peers": {peer: importlib.metadata.version(peer) for peer in PEERS if peer in args.only},
    }
    cells = []
    total = sum(len(batches_of(name, args)) for name in args.networks)

    def seconds_for_next():
        return (start + 60 * args.minutes - time.monotonic()) / (total - len(cells))

    for name in args.networks:
        for cell in bench_network(name, args, environment, seconds_for_next):
            cells.append(cell)
            if args.json:
                records = [cell.record() for cell in cells]
                args.json.write_text(json.dumps({**about, "cells": records}, indent=1) + "\n")

    backend = f", repaint backend {cells[0].backend}" if cells[0].backend else ""
    peers = "".join(f", {PEERS[peer]} {version}" for peer, version in about["peers"].items())
    described = (
        f"Milliseconds per evaluation in float32: median (lowest-highest round). {about['cpu']} "
        f"({about['instruction_sets']}; {about['caches']}), {about['cores']} cores, {about['threads']} threads, "
        f"PyTorch {about['torch']} ({about['torch_cpu_capability']}){peers}{backend}. {about_attention(cells)}"
    )
    print(textwrap.fill(described, COLUMNS, break_long_words=False, break_on_hyphens=False), end="\n\n")
    if args.contend:
        print_contention(cells, args.contend)
    else:
        print_speeds(cells)
    print(f"\nThe run took {(time.monotonic() - start) / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
