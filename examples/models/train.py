#!/usr/bin/env python3
"""Trains a small diffusion model (epsilon and learned variances, linear schedule of 1000 steps) on a CPU or a GPU.

usage: train.py PICTURES.npy CONFIG.json OUT.pt [--minutes M] [--steps N] [--resume FILE] [--export OUT] [...]

PICTURES.npy   uint8 [N, size, size, 3], see make_dataset.py
CONFIG.json    the network: the keys of guided_unet.py
OUT.pt         the averaged (EMA) weights, a plain state_dict with the official names; OUT.state.pt beside it holds
               everything that is needed to continue an interrupted run
--resume FILE  a .state.pt continues that run; weights start a new run from there

The first stage of the demo model, from nothing, and the second, which mostly repaired its colours:

    make_dataset.py 32 faces32.npy
    train.py faces32.npy faces32.json stage1.pt --minutes 82 --batch 32 --lr 4e-4 --ema 0.9995 --dropout 0.1
    train.py faces32.npy faces32.json stage2.pt --resume stage1.pt --minutes 100 --batch 32 --lr 3e-4 --ema 0.999 \\
        --high-noise 0.5 --low-frequency 0.02 --threads 2 --save-every 500 --export faces32.safetensors

Why colours drift, and the two options against it: averaged over the picture the noise is small (1/32 of a pixel's at
32 x 32), so the mean squared error hardly sees whether its mean is predicted. Early in sampling that mean decides the
colours. --low-frequency W adds W times the error of block averages, scaled so that each size of block counts as much as
the pixels do, and up to ten times more where noise is high; the best prediction is the same with and without it.
--high-noise SHARE draws that share of the timesteps from the noisier half of the process.

Objective: Ho et al. 2020 (epsilon), Nichol and Dhariwal 2021 (variances). Needs torch, numpy and safetensors.
"""
import argparse
import copy
import json
import math
import os
import pathlib
import time

import numpy
import torch
from torch.nn import functional

from export import export
from guided_unet import GuidedUNet

DIFFUSION_STEPS = 1000
WARM_UP_STEPS = 200
VARIANCE_LOSS_WEIGHT = 0.001  # times the bound in bits per dimension: it must not disturb epsilon
LARGEST_LOW_FREQUENCY_SCALE = 10.0


class Process:
    """The forward process and its posterior, as tables over the timestep."""

    def __init__(self, device):
        beta = numpy.linspace(1e-4, 2e-2, DIFFUSION_STEPS)
        alpha_bar = numpy.cumprod(1 - beta)
        previous = numpy.append(1.0, alpha_bar[:-1])
        variance = beta * (1 - previous) / (1 - alpha_bar)
        tables = {
            "signal": numpy.sqrt(alpha_bar),
            "noise": numpy.sqrt(1 - alpha_bar),
            "min_log_variance": numpy.log(numpy.append(variance[1], variance[1:])),
            "max_log_variance": numpy.log(beta),
            "mean_from_x0": beta * numpy.sqrt(previous) / (1 - alpha_bar),
        }
        self.tables = {name: torch.tensor(t, dtype=torch.float32, device=device) for name, t in tables.items()}

    def at(self, name, timesteps):
        return self.tables[name][timesteps][:, None, None, None]

    def noised(self, x0, timesteps, z):
        return self.at("signal", timesteps) * x0 + self.at("noise", timesteps) * z

    def variance_loss(self, x0, x, epsilon, v, timesteps):
        """Bits per dimension by which the learned variance misses the posterior; epsilon is taken as given."""
        fraction = (v + 1) / 2
        smallest, largest = self.at("min_log_variance", timesteps), self.at("max_log_variance", timesteps)
        log_variance = fraction * largest + (1 - fraction) * smallest
        predicted = (x - self.at("noise", timesteps) * epsilon.detach()) / self.at("signal", timesteps)
        difference = self.at("mean_from_x0", timesteps) * (x0 - predicted.clamp(-1, 1))
        divergence = 0.5 * (
            log_variance - smallest - 1 + torch.exp(smallest - log_variance) + difference**2 * torch.exp(-log_variance)
        )
        return (divergence.mean(dim=(1, 2, 3)) / math.log(2)).clamp(max=50).mean()

    def low_frequency_loss(self, error, timesteps):
        """Squared error of means over blocks of a quarter, a half and all of the side, heavier where noise is high."""
        scale = (self.at("noise", timesteps) / self.at("signal", timesteps)).clamp(max=LARGEST_LOW_FREQUENCY_SCALE)
        side = error.shape[-1]
        total, count, block = 0.0, 0, max(2, side // 4)
        while block <= side:
            total = total + (scale * functional.avg_pool2d(error, block) ** 2).mean() * block**2
            count, block = count + 1, block * 2
        return total / count


def read_pictures(path, holdout, device):
    """(training, held out) pictures, uint8 [N, 3, H, W]."""
    pictures = torch.from_numpy(numpy.load(path)).permute(0, 3, 1, 2).contiguous().to(device)
    held = torch.zeros(len(pictures), dtype=torch.bool)
    if holdout:
        held[holdout - 1 :: holdout] = True
    return pictures[~held], pictures[held]


def to_signed(pictures):
    return pictures.float() / 127.5 - 1


def batch_of(pictures, size):
    """Random pictures, half of them mirrored."""
    x0 = to_signed(pictures[torch.randint(0, len(pictures), (size,), device=pictures.device)])
    mirrored = torch.rand(size, device=x0.device) < 0.5
    return torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)


def timesteps_of(size, high_noise, device):
    low = torch.where(torch.rand(size, device=device) < high_noise, DIFFUSION_STEPS // 2, 0)
    return (low + torch.rand(size, device=device) * (DIFFUSION_STEPS - low)).long().clamp(max=DIFFUSION_STEPS - 1)


@torch.no_grad()
def held_out_error(network, process, pictures):
    """Mean squared error of epsilon on pictures that training does not see, with the same noise each time."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(pictures.shape, generator=generator).to(pictures.device)
    timesteps = (torch.arange(len(pictures)) * DIFFUSION_STEPS // len(pictures)).to(pictures.device)
    x = process.noised(to_signed(pictures), timesteps, z)
    parts = zip(x.split(64), timesteps.split(64), z.split(64))
    return sum(functional.mse_loss(network(a, t)[:, :3], b).item() * len(a) for a, t, b in parts) / len(pictures)


def learning_rate(peak, step, progress):
    """Warm-up, the peak for the first half, then half a cosine down to a hundredth."""
    falling = max(0.0, 2 * progress - 1)
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))


def save(content, path):
    partial = f"{path}.partial"
    torch.save(content, partial)
    os.replace(partial, path)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures")
    parser.add_argument("config")
    parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-4, help="the highest learning rate")
    parser.add_argument("--ema", type=float, default=0.9995, help="how slowly the averaged weights follow")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--high-noise", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--low-frequency", type=float, default=0.0, metavar="W")
    parser.add_argument("--holdout", type=int, default=0, metavar="N", help="keep every N-th picture out of training")
    parser.add_argument("--resume", metavar="FILE")
    parser.add_argument("--export", metavar="OUT.safetensors")
    parser.add_argument("--save-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.minutes == math.inf and not args.steps:
        parser.error("say when to stop: --minutes or --steps")
    return args


def main():
    args = options()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    config = json.loads(pathlib.Path(args.config).read_text())
    if not config.get("learn_sigma") or config.get("class_cond"):
        raise SystemExit("this script trains networks with learn_sigma and without class_cond")

    network = GuidedUNet({**config, "dropout": args.dropout}).to(args.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=0.0)
    average = copy.deepcopy(network).eval()
    step, minutes_before = 0, 0.0
    if args.resume:
        content = torch.load(args.resume, map_location=args.device, weights_only=True)
        if "step" in content:
            network.load_state_dict(content["network"])
            average.load_state_dict(content["average"])
            optimizer.load_state_dict(content["optimizer"])
            step, minutes_before = content["step"], content["minutes"]
            torch.manual_seed(args.seed + step)
        else:
            network.load_state_dict({name: tensor.float() for name, tensor in content.items()})
            average.load_state_dict(network.state_dict())

    process = Process(args.device)
    pictures, held_out = read_pictures(args.pictures, args.holdout, args.device)
    parameters, averaged = list(network.parameters()), list(average.parameters())
    count = sum(p.numel() for p in parameters)
    print(f"{count:,} parameters, {len(pictures)} pictures, {len(held_out)} held out", flush=True)

    state_path = pathlib.Path(args.out).with_suffix(".state.pt")

    def checkpoint(minutes):
        save(average.state_dict(), args.out)
        state = {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
        save({**state, "step": step, "minutes": minutes}, state_path)
        if len(held_out):
            print(f"step {step} held-out error {held_out_error(average, process, held_out):.5f}", flush=True)

    start, running, first_step = time.monotonic(), {}, step
    while True:
        minutes = minutes_before + (time.monotonic() - start) / 60
        progress = max(minutes / args.minutes, step / args.steps if args.steps else 0.0)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(args.lr, step, progress)

        x0 = batch_of(pictures, args.batch)
        timesteps = timesteps_of(args.batch, args.high_noise, x0.device)
        z = torch.randn_like(x0)
        x = process.noised(x0, timesteps, z)
        epsilon, v = network(x, timesteps).chunk(2, dim=1)
        losses = {
            "epsilon": functional.mse_loss(epsilon, z),
            "variance": process.variance_loss(x0, x, epsilon, v, timesteps),
            "low": process.low_frequency_loss(epsilon - z, timesteps),
        }
        loss = losses["epsilon"] + VARIANCE_LOSS_WEIGHT * losses["variance"] + args.low_frequency * losses["low"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(args.ema, (1 + step) / (10 + step)))
        step += 1

        for name, value in losses.items():
            running[name] = 0.99 * running.get(name, value.item()) + 0.01 * value.item()
        if step % 100 == 0 or step - first_step in (1, 10):
            seconds = (time.monotonic() - start) / (step - first_step)
            means = " ".join(f"{name} {value:.5f}" for name, value in running.items())
            rate = optimizer.param_groups[0]["lr"]
            print(f"step {step} min {minutes:.1f} {means} lr {rate:.1e} {seconds:.3f} s/step", flush=True)
        if step % args.save_every == 0:
            checkpoint(minutes)

    checkpoint(minutes)
    print(f"done: {step} steps in {minutes:.1f} minutes", flush=True)
    if args.export:
        error = export(average.state_dict(), config, args.export)
        print(f"{args.export}: rounding moves the output by up to {error:.1e}", flush=True)


if __name__ == "__main__":
    main()
