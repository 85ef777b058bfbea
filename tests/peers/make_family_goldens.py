#!/usr/bin/env python3
"""Writes tests/data/families: small random networks as diffusers and MONAI save them, and what PyTorch computes.

usage: make_family_goldens.py [FOLDER] [--generative-0.1 DIR] [--generative-0.2 DIR]

DIR holds the package `generative` of MONAI's GenerativeModels 0.1.0 (the tag of its repository) and 0.2.3 (monai-generative
on PyPI); without them the networks of those releases are left as they are.

    FOLDER/<name>/...                what save_pretrained or torch.save wrote, with a configuration of this script's own
                                     beside it where the name says so
    FOLDER/golden/<name>.safetensors golden.x [N, C, H, W], golden.t [N] int64, golden.y [N] int64 (class-conditional
                                     networks only), golden.out [N, C, H, W], float32, on one thread

Weights are random and rounded to half precision, in which most are stored; `out` was computed with the rounded values in
float32. No layer is zero, not even those that training starts from zero, so that every path shows in the output.
"""
import argparse
import inspect
import json
import os
import pathlib
import shutil
import subprocess
import sys
import warnings

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TIMESTEPS = [0, 457, 999]

DIFFUSERS_BASE = {
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
ATTENTION_EVERYWHERE = {
    "down_block_types": ("AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D"),
}
# What the networks of google/ddpm-* have, in small.
PUBLISHED = {
    "block_out_channels": (4, 4, 8),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
}
# name -> (changes to DIFFUSERS_BASE, (height, width), layout)
DIFFUSERS = {
    "published_flat_legacy": (PUBLISHED, (8, 12), "flat legacy bin"),
    "pipeline": ({"block_out_channels": (4, 16), "norm_eps": 1e-3}, (16, 8), "pipeline"),
    "scale_shift": ({"resnet_time_scale_shift": "scale_shift", "attention_head_dim": 4}, (8, 8), "plain"),
    "scale_shift_groups": (
        {
            "resnet_time_scale_shift": "scale_shift",
            "attn_norm_num_groups": 4,
            "mid_block_scale_factor": 1.5,
            "act_fn": "swish",
            "attention_head_dim": 2,
        },
        (8, 8),
        "plain",
    ),
    "resnet_resampling": (
        {**ATTENTION_EVERYWHERE, "downsample_type": "resnet", "upsample_type": "resnet", "downsample_padding": 0,
         "attention_head_dim": 4},
        (8, 8),
        "plain",
    ),
    "resnet_blocks": (
        {
            "block_out_channels": (4, 4, 8),
            "attention_head_dim": 4,
            "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"),
            "downsample_padding": 0,
            "upsample_type": "resnet",
        },
        (12, 8),
        "plain",
    ),
    "narrow_heads_odd_width": (
        {"block_out_channels": (5, 10), "norm_num_groups": 5, "attention_head_dim": 6, "freq_shift": 1},
        (8, 8),
        "bin",
    ),
    "centred": (
        {**ATTENTION_EVERYWHERE, "add_attention": False, "center_input_sample": True, "downsample_padding": 0,
         "mid_block_scale_factor": 2.0, "attention_head_dim": None, "flip_sin_to_cos": False},
        (8, 8),
        "plain",
    ),
    "attention_on_the_way_up": (
        {"down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
         "attention_head_dim": 2, "mid_block_scale_factor": -0.5, "attn_norm_num_groups": 8},
        (8, 8),
        "plain",
    ),
    "no_middle": ({"mid_block_type": None}, (8, 8), "plain"),
    "classes_sharded": (
        {"num_class_embeds": 5, "time_embedding_dim": 20, "out_channels": 6, "block_out_channels": (8, 12),
         "attention_head_dim": 4},
        (8, 8),
        "sharded",
    ),
    "one_level_sharded_bin": (
        {"block_out_channels": (4,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",),
         "in_channels": 1, "out_channels": 1, "layers_per_block": 3, "norm_num_groups": 4, "attention_head_dim": 2},
        (7, 9),
        "sharded bin",
    ),
}
MONAI_BASE = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 1,
    "channels": (4, 8),
    "attention_levels": (False, True),
    "num_res_blocks": 1,
    "num_head_channels": 8,
    "norm_num_groups": 4,
}
# One group is the only number that divides 5 and 8, and heads of 8 are that class's default: no configuration is needed.
DETERMINED = {"channels": (5, 8), "norm_num_groups": 1}
UNEVEN = {"num_res_blocks": (1, 2), "num_head_channels": (2, 4), "norm_num_groups": 2, "resblock_updown": True}
# name -> (package, changes to MONAI_BASE, (height, width), what lies beside the weights)
MONAI = {
    "monai_core": ("core", {**DETERMINED}, (8, 8), None),
    "monai_core_uneven": (
        "core",
        {**UNEVEN, "attention_levels": (True, False), "use_combined_linear": True, "norm_eps": 1e-4},
        (8, 16),
        "json",
    ),
    "monai_core_no_projection": (
        "core",
        {"include_fc": False, "num_class_embeds": 4, "out_channels": 2, "num_head_channels": 4, "norm_num_groups": 1},
        (8, 8),
        "json",
    ),
    "monai_core_bundle": (
        "core",
        {"channels": (5, 5, 10), "attention_levels": (False, False, True), "num_head_channels": 5,
         "norm_num_groups": 1, "in_channels": 2, "out_channels": 2},
        (8, 12),
        "bundle",
    ),
    "monai_core_middle_only": ("core", {"attention_levels": (False, False)}, (8, 8), "json"),
    "monai_generative_0_2": ("0.2", {**DETERMINED}, (8, 8), None),
    "monai_generative_0_2_uneven": ("0.2", {**UNEVEN, "num_class_embeds": 3}, (8, 8), "json"),
    "monai_generative_0_1": ("0.1", {**DETERMINED}, (8, 8), None),
    "monai_generative_0_1_groups": (
        "0.1",
        {"channels": (4, 4, 8), "attention_levels": (False, True, False), "norm_num_groups": 2, "num_head_channels": 4},
        (8, 8),
        "json",
    ),
}


def randomise(network, seed):
    """Random weights, rounded to half precision."""
    generator = torch.Generator().manual_seed(seed)
    norms = {id(p) for m in network.modules() if isinstance(m, torch.nn.GroupNorm) for p in [m.weight]}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            z = torch.randn(parameter.shape, generator=generator)
            if name.startswith("class_embedding"):
                value = 0.5 * z
            elif parameter.dim() > 1:
                value = z * parameter[0].numel() ** -0.5
            else:
                value = 0.2 * z + (1.0 if id(parameter) in norms else 0.0)
            parameter.copy_(value.half().float())
    return network.eval()


def write_golden(path, network, channels, size, classes, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    x = torch.randn(len(TIMESTEPS), channels, *size, generator=generator)
    golden = {"golden.x": x, "golden.t": torch.tensor(TIMESTEPS)}
    labels = {}
    if classes:
        golden["golden.y"] = torch.randint(0, classes, (len(TIMESTEPS),), generator=generator)
        labels["class_labels"] = golden["golden.y"]
    with torch.no_grad():
        out = network(x, golden["golden.t"], **labels)
    golden["golden.out"] = (out if torch.is_tensor(out) else out.sample).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(golden, path)
    path.chmod(0o644)  # save_file makes it private
    count = sum(p.numel() for p in network.parameters())
    print(f"{path.stem:28} {count:>8,} parameters  out std {golden['golden.out'].std():.3f}")


def legacy_names(weights):
    """What diffusers before 0.12 called the parts of its attention."""
    renamed = {}
    for name, tensor in weights.items():
        if ".attentions." in name:
            for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
                name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = tensor
    return renamed


def save_diffusers(network, folder, layout):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    half = UNet2DModel(**{k: v for k, v in network.config.items() if not k.startswith("_")}).half()
    half.load_state_dict(network.state_dict())
    if layout == "pipeline":
        scheduler = DDPMScheduler(
            num_train_timesteps=500,
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            variance_type="fixed_large",
            clip_sample=False,
        )
        DDPMPipeline(half, scheduler).save_pretrained(folder)
    elif layout == "flat legacy bin":
        folder.mkdir(parents=True)
        torch.save(legacy_names(half.state_dict()), folder / "diffusion_pytorch_model.bin")
        keys = ("act_fn", "block_out_channels", "center_input_sample", "down_block_types", "downsample_padding",
                "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block", "mid_block_scale_factor", "norm_eps",
                "norm_num_groups", "out_channels", "sample_size", "time_embedding_type", "up_block_types")
        config = {"_class_name": "UNet2DModel", "_diffusers_version": "0.0.4"}
        write_json(folder / "config.json", {**config, **{key: network.config[key] for key in keys}})
        scheduler = {"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02,
                     "beta_schedule": "linear", "beta_start": 0.0001, "clip_sample": True,
                     "num_train_timesteps": 1000, "trained_betas": None, "variance_type": "fixed_large"}
        write_json(folder / "scheduler_config.json", scheduler)
        parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
        write_json(folder / "model_index.json",
                   {"_class_name": "DDPMPipeline", "_diffusers_version": "0.1.1", **parts})
    else:
        options = {"max_shard_size": "24KB" if network.config.in_channels == 3 else "4KB"} if "sharded" in layout else {}
        half.save_pretrained(folder, safe_serialization="bin" not in layout, **options)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def make_diffusers(folder):
    from diffusers import UNet2DModel

    for seed, (name, (changes, size, layout)) in enumerate(DIFFUSERS.items()):
        shutil.rmtree(folder / name, ignore_errors=True)
        config = {**DIFFUSERS_BASE, **changes}
        network = randomise(UNet2DModel(**config), seed)
        write_golden(folder / "golden" / f"{name}.safetensors", network, config["in_channels"], size,
                     config.get("num_class_embeds"), seed)
        save_diffusers(network, folder / name, layout)

    # The network of diffusers' own test of DDPMPipeline: torch.manual_seed(0) and its default initialisation.
    name = "ddpm_fast_test"
    shutil.rmtree(folder / name, ignore_errors=True)
    torch.manual_seed(0)
    network = UNet2DModel(**{**DIFFUSERS_BASE, "norm_num_groups": 4}).eval()
    write_golden(folder / "golden" / f"{name}.safetensors", network, 3, (8, 8), None, 100)
    network.save_pretrained(folder / name)
    for path in (folder / name).iterdir():
        path.chmod(0o644)


def make_monai(folder, package):
    if package == "core":
        from monai.networks.nets import DiffusionModelUNet
    else:
        from generative.networks.nets import DiffusionModelUNet
    for seed, (name, (of, changes, size, beside)) in enumerate(MONAI.items()):
        if of != package:
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        config = {**MONAI_BASE, **changes}
        if package != "core":
            config["num_channels"] = config.pop("channels")
        network = randomise(DiffusionModelUNet(**config), 200 + seed)
        write_golden(folder / "golden" / f"{name}.safetensors", network, config["in_channels"], size,
                     config.get("num_class_embeds"), 200 + seed)
        target = folder / name
        weights = {key: tensor.half() for key, tensor in network.state_dict().items()}
        if beside == "bundle":
            (target / "models").mkdir(parents=True)
            (target / "configs").mkdir()
            torch.save({"model": weights}, target / "models" / "model.pt")
            definition = {"_target_": "monai.networks.nets.DiffusionModelUNet", **config, "in_channels": "@channels",
                          "out_channels": "$@channels"}
            scheduler = {"_target_": "monai.networks.schedulers.DDPMScheduler", "num_train_timesteps": 200,
                         "schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0195}
            write_json(target / "configs" / "metadata.json", {"version": "0.1.0"})
            write_json(target / "configs" / "inference.json",
                       {"imports": ["$import glob"], "channels": 2, "network_def": definition,
                        "network": "$@network_def.to(@device)", "device": "$torch.device('cpu')",
                        "noise_scheduler": scheduler})
        else:
            target.mkdir(parents=True)
            torch.save(weights, target / "model.pt")
        if beside == "json":
            write_json(target / "model.json", {**config, "data_range": [-1, 1]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=REPOSITORY / "tests" / "data" / "families")
    parser.add_argument("--generative-0.1", dest="old", type=pathlib.Path)
    parser.add_argument("--generative-0.2", dest="new", type=pathlib.Path)
    parser.add_argument("--package", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.package:
        make_monai(options.folder, options.package)
        return
    make_diffusers(options.folder)
    make_monai(options.folder, "core")
    for package, path in (("0.1", options.old), ("0.2", options.new)):
        if path:  # two packages of one name: a process for each
            known = [str(path), os.environ.get("PYTHONPATH", "")]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in known if p)}
            subprocess.run([sys.executable, __file__, str(options.folder), "--package", package], check=True,
                           env=environment)


if __name__ == "__main__":
    main()
