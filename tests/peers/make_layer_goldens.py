#!/usr/bin/env python3
"""Writes tests/data/layers.safetensors: what PyTorch computes for each primitive of the network, and the posterior.

usage: make_layer_goldens.py [FILE]

Names are PRIMITIVE.CASE.TENSOR, all float32 and NCHW unless said; y is the result. With every case:

conv2d.*      x, w [out, in, k, k], b [out]; k, stride and padding are in the name (k3s2p1)
group_norm.*  x, weight, bias, optionally scale and shift [N, C]; 32 groups, eps 1e-5;
              y: GN(x), y_silu: SiLU(GN(x)); with scale and shift y = GN(x) * (1 + scale) + shift and y_silu its SiLU.
              Computed in float64 and rounded: the case with a mean of 1000 is beyond a careless float32.
attention.*   qkv [N, 3C, H, W] with channels [Q of all heads | K of all heads | V of all heads]; qkv_legacy: the same
              numbers as [q | k | v of the first head, q | k | v of the second, ...]; heads int64 [1]; y [N, C, H, W].
              Computed in float64 and rounded.
upsample.*    x [N, C, H, W] -> y [N, C, 2H, 2W], nearest
downsample.*  x [N, C, 2H, 2W] -> y [N, C, H, W], mean of 2 x 2
linear.*      x [N, in], w [out, in], b, y; y_silu_input: the same applied to SiLU(x)
embedding.*   t int64 [4] -> y [4, dim], cosines first
posterior.*   the reverse step, evaluated in float64 and rounded once.
              posterior.x, posterior.z [1, 3, 4, 5], posterior.output [1, 6, 4, 5] (prediction, then v);
              posterior.betas float64 [10]: the process, linear, 1000 steps respaced to 10;
              posterior.v_as_log_variance [1, 3, 4, 5]: the variance channels of the cases called learned
              posterior.PREDICTION.VARIANCE.tT.x0 and .sample (x0 clipped to [-1, 1]);
              posterior.PREDICTION.unclipped.tT.x0 and .sample (learned_range, no clipping)
"""
import math
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file
from torch.nn import functional

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
generator = torch.Generator().manual_seed(20220124)
golden = {}


def randn(*shape):
    return torch.randn(*shape, generator=generator)


def add(prefix, **tensors):
    for name, tensor in tensors.items():
        golden[f"{prefix}.{name}"] = tensor.clone(memory_format=torch.contiguous_format)


def convolutions():
    cases = {  # name -> (x shape, out channels, kernel, stride, padding)
        "k1s1p0": ((1, 32, 8, 8), 48, 1, 1, 0),
        "k1s1p0_odd_batch2": ((2, 5, 7, 5), 3, 1, 1, 0),
        "k3s1p1": ((1, 32, 8, 8), 32, 3, 1, 1),
        "k3s1p1_first_layer": ((2, 3, 16, 16), 32, 3, 1, 1),
        "k3s1p1_last_layer": ((1, 32, 16, 12), 6, 3, 1, 1),
        "k3s1p1_odd_batch2": ((2, 7, 7, 5), 9, 3, 1, 1),
        "k3s1p1_one_pixel": ((1, 4, 1, 1), 5, 3, 1, 1),
        "k3s1p1_one_row": ((1, 4, 1, 9), 5, 3, 1, 1),
        "k3s1p1_one_column": ((1, 4, 9, 1), 5, 3, 1, 1),
        "k3s1p1_one_channel": ((1, 1, 6, 6), 1, 3, 1, 1),
        "k3s2p1": ((1, 32, 8, 8), 32, 3, 2, 1),
        "k3s2p1_odd_batch2": ((2, 6, 7, 5), 8, 3, 2, 1),
        "k3s2p1_one_pixel": ((1, 4, 1, 1), 5, 3, 2, 1),
        "k3s2p1_two_pixels": ((1, 4, 2, 2), 5, 3, 2, 1),
    }
    for name, (shape, out_channels, kernel, stride, padding) in cases.items():
        x, w = randn(*shape), randn(out_channels, shape[1], kernel, kernel) / (kernel * math.sqrt(shape[1]))
        b = 0.5 * randn(out_channels)
        add(f"conv2d.{name}", x=x, w=w, b=b, y=functional.conv2d(x, w, b, stride, padding))


def group_norms():
    cases = {  # name -> (x shape, modulated, mean, standard deviation)
        "plain": ((1, 64, 6, 6), False, 0.0, 1.0),
        "one_channel_per_group": ((2, 32, 7, 5), False, 0.3, 2.0),
        "three_channels_per_group": ((1, 96, 5, 3), False, -0.5, 1.0),
        "scale_shift": ((1, 64, 6, 6), True, 0.0, 1.0),
        "scale_shift_batch3": ((3, 32, 5, 4), True, 1.0, 3.0),
        "large_mean": ((1, 64, 8, 8), False, 1000.0, 1.0),
        "large_mean_scale_shift": ((2, 64, 8, 8), True, 1000.0, 1.0),
        "small": ((1, 64, 4, 4), False, 0.0, 1e-3),
        "one_pixel": ((1, 64, 1, 1), False, 0.0, 1.0),
        "constant": ((1, 32, 4, 4), False, 2.5, 0.0),
    }
    for name, (shape, modulated, mean, deviation) in cases.items():
        x, weight, bias = mean + deviation * randn(*shape), 1 + 0.3 * randn(shape[1]), 0.3 * randn(shape[1])
        tensors = {"x": x, "weight": weight, "bias": bias}
        y = functional.group_norm(x.double(), 32, weight.double(), bias.double(), 1e-5)
        if modulated:
            scale, shift = 0.5 * randn(*shape[:2]), 0.5 * randn(*shape[:2])
            tensors.update(scale=scale, shift=shift)
            y = y * (1 + scale.double()[:, :, None, None]) + shift.double()[:, :, None, None]
        add(f"group_norm.{name}", **tensors, y=y.float(), y_silu=functional.silu(y).float())


def attentions():
    cases = {  # name -> (N, channels, H, W, heads, factor on q and k)
        "one_head": (1, 32, 4, 4, 1, 1.0),
        "three_heads": (1, 96, 4, 4, 3, 1.0),
        "four_heads_odd_batch3": (3, 32, 5, 3, 4, 1.0),
        "one_token": (2, 64, 1, 1, 2, 1.0),
        "long": (1, 16, 16, 16, 2, 1.0),
        "one_channel_per_head": (1, 4, 3, 3, 4, 1.0),
        "sharp": (1, 32, 4, 4, 2, 12.0),  # scores in the hundreds: exp must not overflow
    }
    for name, (batch, channels, height, width, heads, factor) in cases.items():
        q, k, v = (randn(batch, heads, channels // heads, height * width) for _ in range(3))
        q, k = factor * q, factor * k
        scores = (q.double().transpose(-1, -2) @ k.double()) / math.sqrt(channels // heads)
        y = v.double() @ torch.softmax(scores, dim=-1).transpose(-1, -2)
        image = (height, width)
        add(
            f"attention.{name}",
            qkv=torch.stack([q, k, v], dim=1).reshape(batch, 3 * channels, *image),
            qkv_legacy=torch.stack([q, k, v], dim=2).reshape(batch, 3 * channels, *image),
            heads=torch.tensor([heads]),
            y=y.float().reshape(batch, channels, *image),
        )


def resamplings():
    for name, shape in {"square": (1, 8, 4, 4), "odd_batch2": (2, 3, 5, 3), "one_pixel": (1, 4, 1, 1)}.items():
        x = randn(*shape)
        add(f"upsample.{name}", x=x, y=functional.interpolate(x, scale_factor=2, mode="nearest"))
    for name, shape in {"square": (1, 8, 8, 8), "batch2": (2, 3, 10, 6), "to_one_pixel": (1, 4, 2, 2)}.items():
        x = randn(*shape)
        add(f"downsample.{name}", x=x, y=functional.avg_pool2d(x, 2))


def linears():
    for name, (batch, inputs, outputs) in {"batch1": (1, 32, 128), "batch3_odd": (3, 17, 5)}.items():
        x, w, b = randn(batch, inputs), randn(outputs, inputs) / math.sqrt(inputs), 0.5 * randn(outputs)
        y_silu_input = functional.linear(functional.silu(x), w, b)
        add(f"linear.{name}", x=x, w=w, b=b, y=functional.linear(x, w, b), y_silu_input=y_silu_input)


def embeddings():
    timesteps = torch.tensor([0, 1, 500, 999])
    for dim in (32, 33, 256):
        half = dim // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angles = timesteps.float()[:, None] * frequencies[None]
        y = functional.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim - 2 * half))
        add(f"embedding.dim{dim}", t=timesteps, y=y)


def posteriors():
    kept = numpy.array([0, 111, 222, 333, 444, 555, 666, 777, 888, 999])
    alpha_bar = numpy.cumprod(1 - numpy.linspace(1e-4, 2e-2, 1000))[kept]
    beta = 1 - alpha_bar / numpy.append(1.0, alpha_bar[:-1])
    alpha_bar = numpy.cumprod(1 - beta)
    previous = numpy.append(1.0, alpha_bar[:-1])
    variance = beta * (1 - previous) / (1 - alpha_bar)
    log_posterior = numpy.log(numpy.append(variance[1], variance[1:]))
    log_large = numpy.log(numpy.append(variance[1], beta[1:]))
    mean_from_x0 = beta * numpy.sqrt(previous) / (1 - alpha_bar)
    mean_from_x = (1 - previous) * numpy.sqrt(1 - beta) / (1 - alpha_bar)

    shape = (1, 3, 4, 5)
    x, z, output = randn(*shape), randn(*shape), randn(1, 6, 4, 5)
    v_as_log_variance = 0.5 * randn(*shape) - 3
    add("posterior", x=x, z=z, output=output, betas=torch.from_numpy(beta), v_as_log_variance=v_as_log_variance)
    x64, z64, prediction, v = (a.double().numpy() for a in (x, z, output[:, :3], output[:, 3:]))

    def x0_of(kind, t):
        if kind == "epsilon":
            return numpy.sqrt(1 / alpha_bar[t]) * x64 - numpy.sqrt(1 / alpha_bar[t] - 1) * prediction
        if kind == "x_0":
            return prediction
        return (prediction - mean_from_x[t] * x64) / mean_from_x0[t]

    def log_variance_of(kind, t):
        if kind == "learned_range":
            fraction = (v + 1) / 2
            return fraction * numpy.log(beta[t]) + (1 - fraction) * log_posterior[t]
        if kind == "learned":
            return v_as_log_variance.double().numpy()
        return (log_posterior if kind == "fixed_small" else log_large)[t]

    def step(prediction_kind, variance_kind, t, clip):
        x0 = x0_of(prediction_kind, t)
        if clip:
            x0 = numpy.clip(x0, -1, 1)
        previous_x = prediction_kind == "previous_x"
        mean = prediction if previous_x else mean_from_x0[t] * x0 + mean_from_x[t] * x64
        noise = 0.0 if t == 0 else numpy.exp(0.5 * log_variance_of(variance_kind, t)) * z64
        return {"x0": torch.from_numpy(x0).float(), "sample": torch.from_numpy(mean + noise).float()}

    for prediction_kind in ("epsilon", "x_0", "previous_x"):
        for t in (0, 1, 5, 9):
            for variance_kind in ("learned_range", "learned", "fixed_small", "fixed_large"):
                prefix = f"posterior.{prediction_kind}.{variance_kind}.t{t}"
                add(prefix, **step(prediction_kind, variance_kind, t, clip=True))
            prefix = f"posterior.{prediction_kind}.unclipped.t{t}"
            add(prefix, **step(prediction_kind, "learned_range", t, clip=False))


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests" / "data" / "layers.safetensors"
    torch.set_num_threads(1)
    for part in (convolutions, group_norms, attentions, resamplings, linears, embeddings, posteriors):
        part()
    save_file(golden, path)
    path.chmod(0o644)  # save_file makes it private

    cases = {}
    for name, tensor in golden.items():
        case, _, part = name.rpartition(".")
        kind = "" if tensor.dtype == torch.float32 else f" {str(tensor.dtype).removeprefix('torch.')}"
        cases.setdefault(case, []).append(f"{part} {list(tensor.shape)}{kind}")
    for case, parts in cases.items():
        print(f"{case:40} {'  '.join(parts)}")
    print(f"{len(golden)} tensors, {path.stat().st_size:,} bytes in {path}")


if __name__ == "__main__":
    main()
