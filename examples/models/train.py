#!/usr/bin/env python3
"""Trains a diffusion model (epsilon and learned variances) on a CPU or a GPU; made for slow machines and interruptions.

usage: train.py DATA.safetensors CONFIG.json RUN (--minutes M | --steps N) [--init WEIGHTS] [...]

DATA      uint8 pictures [height, width, 3] under "train/..." and "held/...", see make_photos.py and make_faces.py
CONFIG    the network and its schedule ("linear" or "cosine"): the keys of guided_unet.py
RUN       a folder: state.pt (all that is needed to go on, the averaged weights among it), log.jsonl (see
          plot_training.py), samples/*.png. Where it has a state.pt the run goes on from there, so the same command
          starts a training and continues it after any interruption; what was done before counts towards --minutes and
          --steps, which may change from call to call: the learning rate falls over the last --decay of them. Minutes
          are processor time on a CPU, so that a busy machine does not cut a training short, and of the clock on a GPU
          and wherever an option says how often. A run that is asked to end (SIGTERM, Ctrl-C) writes state.pt first;
          one that is killed loses --checkpoint-minutes.
--init    weights (.safetensors, also those in half precision that export.py writes, or a state.pt) to start from

    export.py RUN/state.pt CONFIG.json OUT.safetensors      # what `repaint` loads

Why colours drift, and the two options against it: averaged over the picture the noise is small (1/32 of a pixel's at
32 x 32), so the mean squared error hardly sees whether its mean is predicted. Early in sampling that mean decides the
colours. --low-frequency W adds W times the error of block averages, scaled so that each size of block counts as much as
the pixels do, and up to ten times more where noise is high; the best prediction is the same with and without it.
--high-noise SHARE draws that share of the timesteps from the noisier half of the process.

--weight-power G multiplies the error of epsilon by the variance of the noise to the power of G, over its mean: where
noise is low the error is mostly grain that no network could predict, which for G = 0 is most of the objective. 0.5 to 1
leaves more of a small network and a short training for the shapes, which are decided where noise is high.

Objective: Ho et al. 2020 (epsilon), Nichol and Dhariwal 2021 (cosine schedule, variances), Choi et al. 2022 (weight).
Needs torch, numpy, pillow and safetensors.
"""
import argparse
import contextlib
import copy
import hashlib
import json
import math
import os
import pathlib
import signal
import time

import numpy
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

from guided_unet import GuidedUNet

DIFFUSION_STEPS = 1000
WARM_UP_STEPS = 200
VARIANCE_LOSS_WEIGHT = 0.001  # times the bound in bits per dimension: it must not disturb epsilon
LARGEST_LOW_FREQUENCY_SCALE = 10.0
LARGEST_COSINE_BETA = 0.999
BANDS = 5  # of timesteps, for the error on held-out pictures
HELD_OUT_PER_BAND = 128
SAMPLES = 8  # pictures from nothing, and as many fills
SAMPLE_STEPS = 50


def betas(schedule):
    if schedule == "linear":
        return numpy.linspace(1e-4, 2e-2, DIFFUSION_STEPS)
    if schedule == "cosine":
        angle = (numpy.arange(DIFFUSION_STEPS + 1) / DIFFUSION_STEPS + 0.008) / 1.008 * math.pi / 2
        signal = numpy.cos(angle) ** 2
        return numpy.minimum(1 - signal[1:] / signal[:-1], LARGEST_COSINE_BETA)
    raise SystemExit(f"noise_schedule {schedule}: this script knows linear and cosine")


class Process:
    """The forward process and its posterior, as tables over the timestep; `keep` thins it out for sampling."""

    def __init__(self, schedule, device, keep=None):
        alpha_bar = numpy.cumprod(1 - betas(schedule))
        self.timesteps = numpy.arange(DIFFUSION_STEPS) if keep is None else keep
        alpha_bar = alpha_bar[self.timesteps]
        previous = numpy.append(1.0, alpha_bar[:-1])
        beta = 1 - alpha_bar / previous
        variance = beta * (1 - previous) / (1 - alpha_bar)
        tables = {
            "signal": numpy.sqrt(alpha_bar),
            "noise": numpy.sqrt(1 - alpha_bar),
            "min_log_variance": numpy.log(numpy.append(variance[1], variance[1:])),
            "max_log_variance": numpy.log(beta),
            "mean_from_x0": beta * numpy.sqrt(previous) / (1 - alpha_bar),
            "mean_from_x": (1 - previous) * numpy.sqrt(1 - beta) / (1 - alpha_bar),
        }
        self.tables = {name: torch.tensor(t, dtype=torch.float32, device=device) for name, t in tables.items()}

    def at(self, name, index):
        return self.tables[name][index][:, None, None, None]

    def noised(self, x0, index, z):
        return self.at("signal", index) * x0 + self.at("noise", index) * z

    def weight(self, power):
        """Of the squared error of epsilon at each timestep; their mean is 1."""
        weight = self.tables["noise"] ** (2 * power)
        return weight / weight.mean()

    def log_variance(self, v, index):
        fraction = (v + 1) / 2
        return fraction * self.at("max_log_variance", index) + (1 - fraction) * self.at("min_log_variance", index)

    def clean(self, x, epsilon, index):
        return ((x - self.at("noise", index) * epsilon) / self.at("signal", index)).clamp(-1, 1)

    def variance_loss(self, x0, x, epsilon, v, index):
        """Bits per dimension that the learned variance costs; epsilon is taken as given.

        The divergence from the posterior, and where there is none, in the last step, the negative log-likelihood.
        """
        log_variance, smallest = self.log_variance(v, index), self.at("min_log_variance", index)
        predicted = self.clean(x, epsilon.detach(), index)
        difference = self.at("mean_from_x0", index) * (x0 - predicted)
        divergence = 0.5 * (
            log_variance - smallest - 1 + torch.exp(smallest - log_variance) + difference**2 * torch.exp(-log_variance)
        )
        last = (index == 0)[:, None, None, None]
        bits = torch.where(last, surprise(x0, predicted, log_variance), divergence).mean(dim=(1, 2, 3)) / math.log(2)
        return bits.clamp(max=50).mean()

    def low_frequency_loss(self, error, index):
        """Squared error of means over blocks of a quarter, a half and all of the side, heavier where noise is high."""
        scale = (self.at("noise", index) / self.at("signal", index)).clamp(max=LARGEST_LOW_FREQUENCY_SCALE)
        side = error.shape[-1]
        total, count, block = 0.0, 0, max(2, side // 4)
        while block <= side:
            total = total + (scale * functional.avg_pool2d(error, block) ** 2).mean() * block**2
            count, block = count + 1, block * 2
        return total / count


def surprise(x0, mean, log_variance):
    """-log of the probability that a Gaussian gives to the 1/255 of the values that are stored as x0."""

    def below(edge):
        return 0.5 * (1 + torch.erf((edge - mean) * torch.exp(-0.5 * log_variance) / math.sqrt(2)))

    upper = torch.where(x0 > 0.999, torch.ones_like(x0), below(x0 + 1 / 255))
    lower = torch.where(x0 < -0.999, torch.zeros_like(x0), below(x0 - 1 / 255))
    return -torch.log((upper - lower).clamp(min=1e-12))


def to_signed(pictures):
    return pictures.float() / 127.5 - 1


class Pictures:
    """The pictures of one side of the data, and random patches of them; large ones are drawn from more often."""

    def __init__(self, path, side, patch):
        with safe_open(path, framework="numpy") as file:
            names = sorted(name for name in file.keys() if name.startswith(side + "/"))
            self.pictures = [file.get_tensor(name) for name in names]
        if any(min(p.shape[:2]) < patch for p in self.pictures):
            raise SystemExit(f"{path}: pictures smaller than {patch} pixels")
        self.patch = patch
        share = numpy.array([math.sqrt(p.shape[0] * p.shape[1]) for p in self.pictures])
        self.cumulative = numpy.cumsum(share) / max(share.sum(), 1)

    def patches(self, count, random):
        """uint8 [count, 3, patch, patch]"""
        chosen = numpy.minimum(numpy.searchsorted(self.cumulative, random.random(count)), len(self.pictures) - 1)
        patches = numpy.empty((count, self.patch, self.patch, 3), numpy.uint8)
        for patch, index in zip(patches, chosen):
            picture = self.pictures[index]
            y, x = (random.integers(side - self.patch + 1) for side in picture.shape[:2])
            patch[:] = picture[y : y + self.patch, x : x + self.patch]
        return torch.from_numpy(patches).permute(0, 3, 1, 2)


def varied(x0, jitter):
    """Half of the pictures mirrored; gains, offsets and saturation moved a little by `jitter`."""
    count, device = len(x0), x0.device
    x0 = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.5, x0.flip(-1), x0)
    if not jitter:
        return x0
    grey = x0.mean(dim=1, keepdim=True)
    x0 = grey + (x0 - grey) * (1 + 2 * jitter * torch.randn(count, 1, 1, 1, device=device))
    gain = torch.randn(count, 1, 1, 1, device=device) + 0.5 * torch.randn(count, 3, 1, 1, device=device)
    return (x0 * torch.exp(jitter * gain) + jitter * torch.randn(count, 1, 1, 1, device=device)).clamp(-1, 1)


def timesteps_of(count, high_noise, device):
    low = torch.where(torch.rand(count, device=device) < high_noise, DIFFUSION_STEPS // 2, 0)
    return (low + torch.rand(count, device=device) * (DIFFUSION_STEPS - low)).long().clamp(max=DIFFUSION_STEPS - 1)


@torch.no_grad()
def held_out_errors(network, process, pictures, device):
    """Mean squared error of epsilon in each band of timesteps, with the same patches and noise each time."""
    random = numpy.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    errors = {}
    for band in range(BANDS):
        first, last = band * DIFFUSION_STEPS // BANDS, (band + 1) * DIFFUSION_STEPS // BANDS - 1
        x0 = to_signed(pictures.patches(HELD_OUT_PER_BAND, random))
        timesteps = torch.linspace(first, last, HELD_OUT_PER_BAND).round().long()
        z = torch.randn(x0.shape, generator=generator)
        total = 0.0
        for a, t, b in zip(x0.split(32), timesteps.split(32), z.split(32)):
            a, t, b = a.to(device), t.to(device), b.to(device)
            total += functional.mse_loss(network(process.noised(a, t, b), t)[:, :3].float(), b).item() * len(a)
        errors[f"{first}-{last}"] = total / HELD_OUT_PER_BAND
    return errors


@torch.no_grad()
def sampled(network, schedule, known, keep, generator, device):
    """Ancestral sampling in SAMPLE_STEPS steps. Where `keep` is 1 the pixels of `known` are put in at each step."""
    kept = numpy.unique(numpy.linspace(0, DIFFUSION_STEPS - 1, SAMPLE_STEPS).round().astype(int))
    process = Process(schedule, device, kept)

    def noise():
        return torch.randn(known.shape, generator=generator).to(device)

    x = noise()
    for step in reversed(range(len(kept))):
        index = torch.full((len(x),), step, device=device)
        x = keep * process.noised(known, index, noise()) + (1 - keep) * x
        epsilon, v = network(x, torch.full_like(index, int(kept[step]))).float().chunk(2, dim=1)
        mean = (
            process.at("mean_from_x0", index) * process.clean(x, epsilon, index) + process.at("mean_from_x", index) * x
        )
        x = mean + torch.exp(0.5 * process.log_variance(v, index)) * noise() if step else mean
    return keep * known + (1 - keep) * x.clamp(-1, 1)


def sample_sheet(network, schedule, pictures, path, device):
    """A row of pictures from nothing, then held-out pictures with a hole in the middle, and filled."""
    generator = torch.Generator().manual_seed(1)
    known = to_signed(pictures.patches(SAMPLES, numpy.random.default_rng(1))).to(device)
    keep = torch.ones_like(known)
    quarter = pictures.patch // 4
    keep[:, :, quarter:-quarter, quarter:-quarter] = 0
    nothing = sampled(network, schedule, known, torch.zeros_like(known), generator, device)
    filled = sampled(network, schedule, known, keep, generator, device)
    rows = [torch.cat(list(row), dim=-1) for row in (nothing, keep * known + keep - 1, filled, known)]
    sheet = ((torch.cat(rows, dim=-2) + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(sheet.repeat(3, axis=0).repeat(3, axis=1)).save(path)


def learning_rate(peak, step, progress, decay):
    """Warm-up, the peak, and over the last `decay` of the run half a cosine down to a hundredth."""
    falling = min(1.0, max(0.0, progress - (1 - decay)) / decay) if decay else 0.0
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))


def read_weights(path):
    if str(path).endswith(".safetensors"):
        weights = load_file(path)
    else:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("average", content)
    return {name: tensor.float() for name, tensor in weights.items()}


def save(content, path):
    """Whole or not at all, also when the machine stops in between."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


class Log:
    """One JSON object a line. Lines of steps that an interruption undid are dropped."""

    def __init__(self, path, step):
        lines = path.read_text().splitlines() if path.exists() else []
        kept = []
        for line in lines:
            with contextlib.suppress(json.JSONDecodeError):
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        path.write_text("".join(kept))
        self.file = open(path, "a", buffering=1, encoding="utf-8")

    def write(self, **entry):
        line = json.dumps(entry)
        self.file.write(line + "\n")
        print(line, flush=True)


def rounded(values):
    return {name: round(value, 6) for name, value in values.items()}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps")
    parser.add_argument("--init", metavar="WEIGHTS")
    parser.add_argument("--patch", type=int, default=0, help="side of the training patches (default: image_size)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-4, help="the highest learning rate")
    parser.add_argument("--decay", type=float, default=0.3, help="the share of the run over which it falls")
    parser.add_argument("--ema", type=float, default=0.9995, help="how slowly the averaged weights follow")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--jitter", type=float, default=0.0, help="how much colours are moved at random")
    parser.add_argument("--weight-power", type=float, default=0.0, metavar="G")
    parser.add_argument("--high-noise", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--low-frequency", type=float, default=0.0, metavar="W")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the convolutions")
    parser.add_argument("--checkpoint-minutes", type=float, default=10)
    parser.add_argument("--log-minutes", type=float, default=1)
    parser.add_argument("--sample-minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.minutes == math.inf and not args.steps:
        parser.error("say when to stop: --minutes or --steps")
    return args


def main():
    args = options()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    config = json.loads(args.config.read_text())
    if not config.get("learn_sigma") or config.get("class_cond"):
        raise SystemExit("this script trains networks with learn_sigma and without class_cond")
    schedule = config.get("noise_schedule", "linear")
    args.run.mkdir(parents=True, exist_ok=True)
    state_path = args.run / "state.pt"

    network = GuidedUNet({**config, "dropout": args.dropout}).to(args.device)
    step, images, minutes_before = 0, 0, 0.0
    state = None
    if state_path.exists():
        state = torch.load(state_path, map_location=args.device, weights_only=True)
        network.load_state_dict(state["network"])
        step, images, minutes_before = state["step"], state["images"], state["minutes"]
    elif args.init:
        network.load_state_dict(read_weights(args.init))
    average = copy.deepcopy(network).eval()
    parameters, averaged = list(network.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, weight_decay=0.0, fused=True)
    if state:
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    torch.manual_seed(args.seed + step)
    random = numpy.random.default_rng([args.seed, step])

    patch = args.patch or config["image_size"]
    digest = hashlib.sha256(pathlib.Path(args.data).read_bytes()).hexdigest()
    training, held_out = Pictures(args.data, "train", patch), Pictures(args.data, "held", patch)
    process = Process(schedule, args.device)
    device_type = torch.device(args.device).type
    weight = process.weight(args.weight_power)
    log = Log(args.run / "log.jsonl", step)
    asked_to_end = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_end.append(True))

    def mixed():
        return torch.autocast(device_type, torch.bfloat16, enabled=args.precision == "bfloat16")

    def checkpoint(minutes):
        trained = {"step": step, "images": images, "minutes": minutes, "data_sha256": digest}
        weights = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save({**weights, **trained}, state_path)
        with mixed():
            if held_out.pictures:
                errors = held_out_errors(average, process, held_out, args.device)
                log.write(step=step, minutes=round(minutes, 2), held_out=rounded(errors))

    def draw_samples():
        with mixed():
            pictures = held_out if held_out.pictures else training
            sample_sheet(average, schedule, pictures, args.run / "samples" / f"{step:07}.png", args.device)

    log.write(
        step=step,
        minutes=round(minutes_before, 2),
        parameters=sum(p.numel() for p in parameters),
        pictures=[len(training.pictures), len(held_out.pictures)],
        patch=patch,
        data_sha256=digest,
        options={name: str(value) for name, value in vars(args).items() if name not in ("data", "config", "run")},
    )
    worked = time.process_time if device_type == "cpu" else time.monotonic
    start, worked_start = time.monotonic(), worked()
    next_log, next_checkpoint, next_samples = start + 60 * args.log_minutes, start + 60 * args.checkpoint_minutes, start
    next_samples += 60 * args.sample_minutes
    sums, summed, since, cpu_since = {}, 0, start, time.process_time()
    while True:
        now = time.monotonic()
        minutes = minutes_before + (worked() - worked_start) / 60
        progress = max(minutes / args.minutes, step / args.steps if args.steps else 0.0)
        if asked_to_end:
            progress = 1.0
        if summed and (now >= next_log or progress >= 1):
            means = {name: value.item() / summed for name, value in sums.items()}
            rate = optimizer.param_groups[0]["lr"]
            per_second = summed * args.batch / (now - since)
            log.write(
                step=step,
                minutes=round(minutes, 2),
                images=images,
                images_per_second=round(per_second, 1),
                images_per_cpu_second=round(summed * args.batch / (time.process_time() - cpu_since), 1),
                lr=rate,
                loss=rounded(means),
            )
            cpu_since = time.process_time()
            sums, summed, since, next_log = {}, 0, now, now + 60 * args.log_minutes
        if progress >= 1:
            break
        if now >= next_checkpoint:
            checkpoint(minutes)
            next_checkpoint = time.monotonic() + 60 * args.checkpoint_minutes
            since = since + time.monotonic() - now
        if now >= next_samples:
            draw_samples()
            next_samples = time.monotonic() + 60 * args.sample_minutes
            since = since + time.monotonic() - now
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(args.lr, step, progress, args.decay)

        x0 = varied(to_signed(training.patches(args.batch, random).to(args.device)), args.jitter)
        timesteps = timesteps_of(args.batch, args.high_noise, x0.device)
        z = torch.randn_like(x0)
        x = process.noised(x0, timesteps, z)
        with mixed():
            output = network(x, timesteps)
        epsilon, v = output.float().chunk(2, dim=1)
        errors = (epsilon - z).square().mean(dim=(1, 2, 3))
        losses = {
            "epsilon": errors.mean(),
            "variance": process.variance_loss(x0, x, epsilon, v, timesteps),
            "low": process.low_frequency_loss(epsilon - z, timesteps),
        }
        loss = (weight[timesteps] * errors).mean()
        loss = loss + VARIANCE_LOSS_WEIGHT * losses["variance"] + args.low_frequency * losses["low"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(args.ema, (1 + step) / (10 + step)))
        step, images, summed = step + 1, images + args.batch, summed + 1
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.detach()

    checkpoint(minutes)
    if not asked_to_end:
        draw_samples()


if __name__ == "__main__":
    main()
