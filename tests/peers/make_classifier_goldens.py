#!/usr/bin/env python3
"""Writes tests/data/classifier/*.safetensors: small random classifiers of noisy images and what PyTorch makes of them.

usage: make_classifier_goldens.py [FOLDER]

Each file holds
    golden.t [N] int64, golden.y [N] int64
    golden.logits [N, classes] float32: the network of guided_classifier.py, on one thread
    golden.gradient [N, 3, H, W] float32: SCALE * d log p(y | x) / dx, of each picture
    in __metadata__, "config": the configuration as JSON, with the official keys (and channel_mult, num_classes, hidden)
    in __metadata__, "generated": the weights and golden.x [N, 3, H, W], by the recipe of make_unet_goldens.py

guided_step.safetensors is one guided reverse step of a network and a classifier, computed in float64 from the formulas:
    x [2, 3, 16, 16] at index STEP of "10" timesteps of the linear schedule, z the noise, labels [2] int64
    mean, deviation: of the step without guidance; gradient: SCALE * d log p(label | x) / dx; sample: what comes out
    generated weights under network.* and classifier.*, in __metadata__ "network" and "classifier" their configurations

Running the script again gives the same numbers; only the order of the keys in __metadata__ may differ.
"""
import json
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file

sys.dont_write_bytecode = True
from guided_classifier import GuidedClassifier, guiding_gradient  # noqa: E402
from make_unet_goldens import REPOSITORY, GuidedUNet, generated, recipe_of  # noqa: E402

SCALE = 8.0  # of the gradients
LAST_LAYERS = ("out.2.c_proj.weight", "out.2.weight", "out.3.weight")
GAIN = 8.0  # of the last layer: logits that tell classes apart

BASE = {
    "image_size": 16,
    "classifier_width": 32,
    "classifier_depth": 1,
    "classifier_attention_resolutions": "8",
    "classifier_use_scale_shift_norm": True,
    "classifier_resblock_updown": True,
    "classifier_pool": "attention",
    "channel_mult": "1,2",
    "num_classes": 10,
    "hidden": 256,
}
PLAIN = {"classifier_use_scale_shift_norm": False, "classifier_resblock_updown": False}
DEEP = {"classifier_depth": 2}
# As the official program makes it for pictures of 64x64: (1, 2, 3, 4) times the width, attention in the last level.
OFFICIAL_64 = {"image_size": 64, "channel_mult": "", "num_classes": 1000, "hidden": 2048}

# name -> (changes to BASE, N, H, W)
VARIANTS = {
    "attention": ({}, 3, 16, 16),
    "attention_plain_depth_2": ({**PLAIN, **DEEP}, 2, 16, 16),
    "attention_strided": ({"classifier_resblock_updown": False}, 2, 16, 16),
    "attention_additive": ({"classifier_use_scale_shift_norm": False, "classifier_width": 64}, 2, 16, 16),
    "attention_one_level": ({"channel_mult": "2", "classifier_attention_resolutions": "4"}, 2, 16, 16),
    "attention_64": (OFFICIAL_64, 1, 64, 64),
    "adaptive": ({"classifier_pool": "adaptive"}, 3, 16, 16),
    "adaptive_plain_depth_2": ({**PLAIN, **DEEP, "classifier_pool": "adaptive"}, 2, 16, 24),
    "adaptive_64": ({**OFFICIAL_64, "classifier_pool": "adaptive", "classifier_resblock_updown": False}, 1, 64, 64),
    "spatial": ({"classifier_pool": "spatial"}, 3, 16, 16),
    "spatial_plain_depth_2": ({**PLAIN, **DEEP, "classifier_pool": "spatial"}, 2, 24, 16),
    "spatial_64": ({**OFFICIAL_64, **DEEP, "classifier_pool": "spatial"}, 1, 64, 64),
    "spatial_v2": ({"classifier_pool": "spatial_v2"}, 3, 16, 16),
    "spatial_v2_plain_depth_2": ({**PLAIN, **DEEP, "classifier_pool": "spatial_v2"}, 2, 16, 16),
    "spatial_v2_64": ({**OFFICIAL_64, "classifier_pool": "spatial_v2"}, 1, 64, 64),
}

UNET = {
    "image_size": 16,
    "num_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": "1,1",
    "attention_resolutions": "8",
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "class_cond": True,
    "num_classes": 10,
    "learn_sigma": True,
}
TIMESTEPS = 10
STEP = 4


def with_generated_weights(network, prefix=""):
    """Loads the generated weights, of names with the prefix, and returns their recipe."""
    recipe = recipe_of(network)
    if isinstance(network, GuidedClassifier):
        for name in recipe.keys() & LAST_LAYERS:
            recipe[name]["scale"] *= GAIN
    network.load_state_dict({name: generated(prefix + name, **how) for name, how in recipe.items()})
    network.eval()
    return {prefix + name: how for name, how in recipe.items()}


def write(path, tensors, metadata):
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in metadata.items()})
    path.chmod(0o644)  # save_file makes it private


def logits_and_gradient(network, x, timesteps, labels):
    """One picture at a time: a label's gradient does not depend on the batch, nor may its last bits."""
    logits, gradients = [], []
    for i in range(len(x)):
        one = slice(i, i + 1)
        with torch.no_grad():
            logits.append(network(x[one], timesteps[one]))
        gradients.append(guiding_gradient(network, x[one], timesteps[one], labels[one], SCALE))
    return torch.cat(logits), torch.cat(gradients)


def write_variants(folder):
    for index, (name, (changes, batch, height, width)) in enumerate(VARIANTS.items()):
        config = {**BASE, **changes}
        network = GuidedClassifier(config)
        recipe = with_generated_weights(network)
        generator = torch.Generator().manual_seed(100 + index)
        recipe["golden.x"] = {"shape": [batch, 3, height, width], "scale": 2.0, "offset": 0.0}
        x = generated("golden.x", **recipe["golden.x"])
        timesteps = torch.randint(0, 1000, (batch,), generator=generator)
        labels = torch.randint(0, config["num_classes"], (batch,), generator=generator)
        logits, gradient = logits_and_gradient(network, x, timesteps, labels)
        golden = {"t": timesteps, "y": labels, "logits": logits, "gradient": gradient}
        path = folder / f"{name}.safetensors"
        tensors = {f"golden.{key}": tensor for key, tensor in golden.items()}
        write(path, tensors, {"config": config, "generated": recipe})
        print(
            f"{name:26} {sum(p.numel() for p in network.parameters()):>9,} parameters {path.stat().st_size:>8,} bytes"
            f"  t {timesteps.tolist()} y {labels.tolist()}"
            f"  logits std {logits.std():.3f}  gradient std {gradient.std():.4f} max {gradient.abs().max():.3f}"
        )


def write_step(folder):
    # "10" of 1000 timesteps: 0, 111, 222, ..., 999. Its betas follow from the products of alphas up to each.
    kept = [111 * i for i in range(TIMESTEPS)]
    products = numpy.cumprod(1.0 - numpy.linspace(1e-4, 0.02, 1000))[kept]
    product, previous = products[STEP], products[STEP - 1]
    beta = 1.0 - product / previous
    lowest, highest = numpy.log(beta * (1.0 - previous) / (1.0 - product)), numpy.log(beta)

    network, classifier = GuidedUNet(UNET), GuidedClassifier(BASE)
    recipe = {
        **with_generated_weights(network, "network."),
        **with_generated_weights(classifier, "classifier."),
    }
    generator = torch.Generator().manual_seed(99)
    x, z = (torch.randn(2, 3, 16, 16, generator=generator) for _ in range(2))
    labels = torch.tensor([7, 2])
    timesteps = torch.full((2,), kept[STEP])
    with torch.no_grad():
        epsilon, v = network(x, timesteps, labels).double().chunk(2, dim=1)
    gradient = guiding_gradient(classifier, x, timesteps, labels, SCALE).double()
    start = (x.double() - (1.0 - product) ** 0.5 * epsilon) / product**0.5
    mean = (
        previous**0.5 * beta / (1.0 - product) * start.clamp(-1, 1)
        + (1.0 - beta) ** 0.5 * (1.0 - previous) / (1.0 - product) * x.double()
    )
    deviation = torch.exp(0.5 * ((v + 1.0) / 2.0 * highest + (1.0 - v) / 2.0 * lowest))
    sample = mean + deviation**2 * gradient + deviation * z.double()
    tensors = {"x": x, "z": z, "mean": mean, "deviation": deviation, "gradient": gradient, "sample": sample}
    path = folder / "guided_step.safetensors"
    write(
        path,
        {**{key: tensor.float() for key, tensor in tensors.items()}, "labels": labels},
        {"network": UNET, "classifier": BASE, "generated": recipe},
    )
    shift = (deviation**2 * gradient).abs()
    print(f"guided_step {path.stat().st_size:,} bytes, guidance moves by {shift.mean():.1e}, at most {shift.max():.1e}")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests" / "data" / "classifier"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    write_variants(folder)
    write_step(folder)


if __name__ == "__main__":
    main()
