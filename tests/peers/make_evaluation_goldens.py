#!/usr/bin/env python3
"""Writes tests/data/evaluation/*.safetensors: pictures, and what scikit-image and lpips say of them.

usage: make_evaluation_goldens.py [FOLDER]

NAME.safetensors holds
    images [N, H, W, C], truth [1 or N, H, W, C], keep [H, W] uint8: pictures, and a mask of which 255 is known
    psnr, psnr_hole            [N] float64  skimage.metrics.peak_signal_noise_ratio
    ssim, ssim_hole            [N]          skimage.metrics.structural_similarity, its defaults
    gaussian, gaussian_hole    [N]          the same with gaussian_weights, sigma=1.5, use_sample_covariance=False
    lpips, lpips_hole          [N]          lpips.LPIPS(net="alex") in float64 (pictures of 31 pixels a side and more)
    diversity, diversity_hole  [1]          the mean of lpips over all pairs of images (N > 1)
    deviation, deviation_hole  [1]          the mean of the images' standard deviation, N - 1 degrees of freedom (N > 1)
The hole weighs a pixel by w = 1 - keep / 255. psnr_hole takes the mean squared error with these weights, ssim_hole the
mean of scikit-image's full map (without the borders that it leaves out of its own mean), lpips_hole the mean of the map
of LPIPS(spatial=True).

The weights of LPIPS are random and not stored. weights.safetensors holds, in __metadata__, "generated": shape, scale
and offset of every tensor under the names that torchvision's AlexNet and lpips' linear layers have, by the recipe of
make_unet_goldens.py.
"""
import itertools
import json
import math
import pathlib
import sys
import warnings

import lpips
import numpy
import torch
from safetensors.numpy import save_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from make_unet_goldens import REPOSITORY, generated  # noqa: E402

# name -> (images, truths, height, width, channels, soft mask)
CASES = {
    "square": (1, 1, 32, 32, 3, False),
    "wide_pair": (2, 2, 48, 64, 3, False),
    "odd": (1, 1, 97, 71, 3, True),
    "grey": (1, 1, 57, 40, 1, False),
    "samples": (3, 1, 33, 47, 3, True),
    "tiny": (1, 1, 11, 12, 3, False),
}
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def pictures(rng, count, height, width, channels):
    """Waves and noise: smooth and rough regions, dark and bright ones."""
    y, x = numpy.mgrid[0:height, 0:width]
    result = []
    for _ in range(count):
        planes = []
        for _ in range(channels):
            a, b, phase = rng.uniform(0.02, 0.3, 2).tolist() + [rng.uniform(0, 6)]
            wave = 128 + 100 * numpy.sin(a * x + b * y + phase)
            planes.append(wave + rng.normal(0, 12, (height, width)) * (x > width / 3))
        result.append(numpy.stack(planes, -1))
    return numpy.stack(result)


def bytes_of(values):
    return numpy.clip(numpy.rint(values), 0, 255).astype(numpy.uint8)


def mask(rng, height, width, soft):
    keep = numpy.full((height, width), 255.0)
    keep[height // 4 : height * 3 // 4, width // 3 :] = 0
    keep[: height // 5, : width // 4] = 0
    if soft:
        keep = keep * rng.uniform(0, 1, keep.shape)
    return bytes_of(keep)


def recipe():
    names = {}
    network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "net":
            scale = 0.25 if parts[3] == "bias" else 2.0 ** round(math.log2(math.sqrt(6.0 / tensor[0].numel())))
            names[f"features.{parts[2]}.{parts[3]}"] = {"shape": list(tensor.shape), "scale": scale, "offset": 0.0}
        elif parts[0].startswith("lin") and parts[0] != "lins":
            names[name] = {"shape": list(tensor.shape), "scale": 0.5, "offset": 0.5}
    return names


def network(names, spatial):
    result = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, spatial=spatial, verbose=False)
    state = result.state_dict()
    for name in state:
        parts = name.split(".")
        if parts[0] == "net":
            source = f"features.{parts[2]}.{parts[3]}"
        elif parts[0].startswith("lin"):
            source = name.replace("lins.", "lin")
        else:
            continue
        state[name] = generated(source, **names[source])
    result.load_state_dict(state)
    return result.double().eval()


def weighted(values, weights):
    return float((values * weights).sum() / numpy.broadcast_to(weights, values.shape).sum())


def skimage_measures(image, truth, hole):
    weights = hole[..., None]
    difference = image.astype(numpy.float64) - truth.astype(numpy.float64)
    measures = {
        "psnr": peak_signal_noise_ratio(truth, image, data_range=255),
        "psnr_hole": 10 * math.log10(255**2 / weighted(difference**2, weights)),
    }
    for name, options, border in (("ssim", {}, 3), ("gaussian", GAUSSIAN, 5)):
        mean, full = structural_similarity(
            truth, image, data_range=255, channel_axis=-1, full=True, **options
        )
        inner = (slice(border, -border), slice(border, -border))
        measures[name] = mean
        measures[name + "_hole"] = weighted(full[inner], weights[inner])
    return measures


def tensor(image):
    """float32 as the library reads a picture, then float64."""
    values = image.astype(numpy.float32) / numpy.float32(127.5) - numpy.float32(1)
    result = torch.from_numpy(values.astype(numpy.float64)).permute(2, 0, 1)[None]
    return result.expand(1, 3, -1, -1)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests" / "data" / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # torchvision's, of options that lpips still uses
    torch.set_num_threads(1)
    names = recipe()
    mean_of, map_of = network(names, False), network(names, True)

    def write(name, arrays, **options):
        path = folder / f"{name}.safetensors"
        save_file(arrays, path, **options)
        path.chmod(0o644)  # save_file makes it private

    write("weights", {"none": numpy.zeros(1, numpy.float32)}, metadata={"generated": json.dumps(names)})
    for index, (name, (count, truths, height, width, channels, soft)) in enumerate(CASES.items()):
        rng = numpy.random.default_rng(index)
        original = pictures(rng, truths, height, width, channels)
        truth = bytes_of(original)
        keep = mask(rng, height, width, soft)
        hole = 1 - keep / 255.0
        changed = 0.5 * (original + pictures(rng, count, height, width, channels))
        images = bytes_of(numpy.where(hole[..., None] > 0, changed, original + rng.normal(0, 2, changed.shape)))

        rows = []
        with torch.no_grad():
            for i in range(count):
                one, other = images[i], truth[i % truths]
                row = skimage_measures(one, other, hole)
                if min(height, width) >= 31:
                    row["lpips"] = mean_of(tensor(one), tensor(other)).item()
                    row["lpips_hole"] = weighted(map_of(tensor(one), tensor(other))[0, 0].numpy(), hole)
                rows.append(row)
            measures = {key: numpy.array([row[key] for row in rows], numpy.float64) for key in rows[0]}
            if count > 1:
                pairs = list(itertools.combinations(images, 2))
                between = [mean_of(tensor(a), tensor(b)).item() for a, b in pairs]
                over_hole = [weighted(map_of(tensor(a), tensor(b))[0, 0].numpy(), hole) for a, b in pairs]
                deviation = images.astype(numpy.float64).std(0, ddof=1)
                measures["diversity"] = numpy.array([numpy.mean(between)])
                measures["diversity_hole"] = numpy.array([numpy.mean(over_hole)])
                measures["deviation"] = numpy.array([deviation.mean()])
                measures["deviation_hole"] = numpy.array([weighted(deviation, hole[..., None])])
        write(name, {"images": images, "truth": truth, "keep": keep, **measures})
        print(name, {key: numpy.round(value, 6).tolist() for key, value in measures.items()})


if __name__ == "__main__":
    main()
