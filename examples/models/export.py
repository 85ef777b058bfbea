#!/usr/bin/env python3
"""Turns trained weights into what `repaint` loads best: half precision .safetensors, with the configuration beside it.

usage: export.py WEIGHTS.pt CONFIG.json OUT.safetensors

WEIGHTS.pt is a state_dict, or the state.pt of train.py, of which the averaged weights are taken. Writes OUT.safetensors
(float16, the names of guided_unet.py; how long it was trained and the hash of the data in its metadata) and OUT.json
(the official keys), and says how far one evaluation of the network moves by the rounding. Needs torch and safetensors.
"""
import argparse
import json
import os
import pathlib

import torch
from safetensors.torch import save_file

from guided_unet import GuidedUNet

TRAINED = ("step", "images", "minutes", "data_sha256")  # of a state.pt, for the metadata


def network_of(weights, config):
    network = GuidedUNet(config)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network.eval()


def rounding_error(weights, rounded, config):
    """The largest difference between the outputs of two sets of weights, for one noise image at three timesteps."""
    size = config["image_size"]
    x = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([10, 500, 990])
    labels = torch.zeros(3, dtype=torch.int64) if config.get("class_cond") else None
    with torch.no_grad():
        exact = network_of(weights, config)(x, timesteps, labels)
        return (network_of(rounded, config)(x, timesteps, labels) - exact).abs().max().item()


def export(weights, config, out, trained):
    """Writes the state_dict `weights` to `out` (.safetensors) and `config` beside it; returns the rounding error."""
    out = pathlib.Path(out)
    rounded = {name: tensor.detach().half().contiguous() for name, tensor in weights.items()}
    overflown = [name for name, tensor in rounded.items() if not torch.isfinite(tensor).all()]
    if overflown:
        raise ValueError(f"float16 cannot hold {', '.join(overflown)}")
    error = rounding_error(weights, rounded, config)
    partial = out.with_name(out.name + ".partial")
    save_file(rounded, partial, metadata={"format": "pt", **trained})
    partial.chmod(0o644)  # save_file makes it private
    os.replace(partial, out)
    out.with_suffix(".json").write_text(json.dumps(config, indent=4) + "\n")
    return error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("config")
    parser.add_argument("out")
    args = parser.parse_args()

    content = torch.load(args.weights, map_location="cpu", weights_only=True)
    weights = content.get("average", content)
    trained = {name: str(content[name]) for name in TRAINED if name in content}
    config = json.loads(pathlib.Path(args.config).read_text())
    error = export(weights, config, args.out, trained)
    count = sum(tensor.numel() for tensor in weights.values())
    print(f"{args.out}: {len(weights)} tensors, {count:,} parameters, rounding moves the output by up to {error:.1e}")


if __name__ == "__main__":
    main()
