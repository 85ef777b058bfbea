#!/usr/bin/env python3
"""Writes tests/data/unet/*.safetensors: small random networks and what PyTorch computes with them.

usage: make_unet_goldens.py [FOLDER]

Each file holds
    golden.x [N, 3, H, W], golden.t [N] int64, golden.y [N] int64 (class-conditional networks only)
    golden.out [N, 3 or 6, H, W] float32: the network of examples/models/guided_unet.py, on one thread
    the weights, float16, under their official names: `out` was computed with these rounded values, in float32
    in __metadata__, "config": the configuration as JSON, with the official keys (and num_classes)

Wide networks are too large to store. Their files hold no weights but, in __metadata__, "generated": a JSON object that
gives for each name its "shape", "scale" and "offset", and element i (in row-major order) of the tensor `name` is
    offset + scale * (2 * (mix(fnv1a(name) + i * 0x9E3779B9) >> 21) - 2047) / 2048          all exact in float32
where fnv1a is the 32-bit FNV-1a hash of the name's bytes and mix the 32-bit finaliser of MurmurHash3
    x ^= x >> 16; x *= 0x85EBCA6B; x ^= x >> 13; x *= 0xC2B2AE35; x ^= x >> 16              all modulo 2^32.

No layer is zero, not even those that training starts from zero, so that every path shows in the output. Running the
script again gives the same numbers; only the order of the two keys in __metadata__ may differ.
"""
import json
import math
import pathlib
import sys

import numpy
import torch
from safetensors.torch import save_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(REPOSITORY / "examples" / "models"))
from guided_unet import GuidedUNet  # noqa: E402

BASE = {
    "image_size": 16,
    "num_channels": 16,
    "num_res_blocks": 1,
    "channel_mult": "2,2",
    "attention_resolutions": "8",
    "num_heads": 4,
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "use_new_attention_order": False,
    "class_cond": False,
    "learn_sigma": True,
}
ONE_LEVEL = {"channel_mult": "2", "attention_resolutions": "16"}
HALF_MULTIPLIER = {"num_channels": 64, "channel_mult": "0.5,1,2", "attention_resolutions": "8,4"}
TWO_BLOCKS_THREE_LEVELS = {
    "image_size": 32,
    "num_channels": 32,
    "num_res_blocks": 2,
    "channel_mult": "1,2,2",
    "attention_resolutions": "16,8",
}
LABELS_NEW_ORDER_STRIDED = {
    "num_channels": 32,
    "channel_mult": "1,2",
    "attention_resolutions": "16,8",
    "num_heads": 2,
    "num_head_channels": -1,
    "use_new_attention_order": True,
    "resblock_updown": False,
    "class_cond": True,
    "num_classes": 10,
    "learn_sigma": False,
}

# name -> (changes to BASE, N, H, W, weights stored)
VARIANTS = {
    "updown_legacy": ({"num_channels": 32, "channel_mult": "1,1"}, 1, 16, 16, True),
    "strided_additive": ({"use_scale_shift_norm": False, "resblock_updown": False}, 2, 16, 16, True),
    "one_level": ({"channel_mult": "2", "attention_resolutions": "1"}, 1, 8, 8, True),  # attention in the middle only
    "new_order": ({**ONE_LEVEL, "use_new_attention_order": True, "num_head_channels": 8}, 1, 16, 16, True),
    "heads_by_count": ({**ONE_LEVEL, "num_head_channels": -1, "learn_sigma": False}, 3, 8, 8, True),
    "class_labels": ({**ONE_LEVEL, "class_cond": True, "num_classes": 10}, 3, 8, 8, True),
    "non_square_odd_batch": ({}, 5, 16, 24, False),
    "non_square_strided": ({"use_scale_shift_norm": False, "resblock_updown": False}, 1, 24, 16, False),
    "half_multiplier": (HALF_MULTIPLIER, 1, 16, 16, False),
    "two_blocks_three_levels": (TWO_BLOCKS_THREE_LEVELS, 2, 32, 32, False),
    "labels_new_order_strided": (LABELS_NEW_ORDER_STRIDED, 3, 16, 16, False),
}


def fan_in(tensor):
    return tensor[0].numel()


def is_norm(network, name):
    return isinstance(network.get_submodule(name.rpartition(".")[0]), torch.nn.GroupNorm)


def random_weights(network, generator):
    """Random, rounded to half precision."""
    weights = {}
    for name, tensor in network.state_dict().items():
        z = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() > 1:
            value = z * (0.5 if name.startswith("label_emb") else fan_in(tensor) ** -0.5)
        else:
            value = 0.2 * z + (1.0 if is_norm(network, name) and name.endswith("weight") else 0.0)
        weights[name] = value.half()
    return weights


def recipe_of(network):
    recipe = {}
    for name, tensor in network.state_dict().items():
        scale, offset = 0.25, 0.0
        if name.startswith("label_emb"):
            scale = 1.0
        elif tensor.dim() > 1:
            scale = 2.0 ** round(math.log2(math.sqrt(3.0 / fan_in(tensor))))
        elif is_norm(network, name) and name.endswith("weight"):
            offset = 1.0
        recipe[name] = {"shape": list(tensor.shape), "scale": scale, "offset": offset}
    return recipe


def generated(name, shape, scale, offset):
    """The tensor that the recipe at the top of this file describes."""
    mask = 0xFFFFFFFF
    start = 0x811C9DC5
    for byte in name.encode():
        start = ((start ^ byte) * 0x01000193) & mask
    x = (start + numpy.arange(math.prod(shape), dtype=numpy.uint64) * 0x9E3779B9) & mask
    x ^= x >> 16
    x = (x * 0x85EBCA6B) & mask
    x ^= x >> 13
    x = (x * 0xC2B2AE35) & mask
    x ^= x >> 16
    fraction = (2.0 * (x >> 21).astype(numpy.float64) - 2047.0) / 2048.0
    return torch.from_numpy((offset + scale * fraction).astype(numpy.float32)).reshape(shape)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests" / "data" / "unet"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for index, (name, (changes, batch, height, width, stored)) in enumerate(VARIANTS.items()):
        config = {**BASE, **changes}
        network = GuidedUNet(config).eval()
        generator = torch.Generator().manual_seed(index)
        metadata = {"config": json.dumps(config)}
        if stored:
            weights = random_weights(network, generator)
            network.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
        else:
            weights = {}
            recipe = recipe_of(network)
            metadata["generated"] = json.dumps(recipe)
            network.load_state_dict({key: generated(key, **entry) for key, entry in recipe.items()})

        x = torch.randn(batch, 3, height, width, generator=generator)
        timesteps = torch.randint(0, 1000, (batch,), generator=generator)
        golden = {"golden.x": x, "golden.t": timesteps}
        labels = None
        if config["class_cond"]:
            labels = torch.randint(0, config["num_classes"], (batch,), generator=generator)
            golden["golden.y"] = labels
        with torch.no_grad():
            golden["golden.out"] = network(x, timesteps, labels)

        path = folder / f"{name}.safetensors"
        save_file({**weights, **golden}, path, metadata=metadata)
        path.chmod(0o644)  # save_file makes it private
        count = sum(p.numel() for p in network.parameters())
        out = golden["golden.out"]
        print(
            f"{name:26} {count:>9,} parameters {'stored' if stored else 'generated':9} {path.stat().st_size:>8,} bytes"
            f"  x {list(x.shape)} t {timesteps.tolist()} y {None if labels is None else labels.tolist()}"
            f"  out mean {out.mean():+.3f} std {out.std():.3f}"
        )


if __name__ == "__main__":
    main()
