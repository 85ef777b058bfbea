"""The guided-diffusion classifiers of noisy images in PyTorch: what `repaint` loads to guide a run, for checks.

    from guided_classifier import GuidedClassifier
    network = GuidedClassifier({"image_size": 64, "classifier_width": 32, "classifier_pool": "spatial", ...})
    logits = network(x, timesteps)           # x [N, 3, H, W] -> [N, classes]

The dictionary has the keys of the official programs; `DEFAULTS` lists those that count and what they are when missing.
The last three are not official: there they are always what `DEFAULTS` says. The names in the state_dict are the official
ones, so a checkpoint of either loads in the other.

Architecture: Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 4; the attention pool
is that of Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, section 2.4.
"""
import pathlib
import sys

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "models"))
from guided_unet import (  # noqa: E402
    GROUPS,
    AttentionBlock,
    Downsample,
    ResidualBlock,
    Stage,
    channel_multipliers,
    timestep_embedding,
    zeroed,
)

DEFAULTS = {
    "image_size": 64,
    "classifier_width": 128,
    "classifier_depth": 2,
    "classifier_attention_resolutions": "32,16,8",
    "classifier_use_scale_shift_norm": True,
    "classifier_resblock_updown": True,
    "classifier_pool": "attention",
    "channel_mult": "",  # empty: from image_size
    "num_classes": 1000,
    "hidden": 2048,  # width between the linear layers of spatial and spatial_v2
}

HEAD_CHANNELS = 64  # of all attention, the pool's included


class AttentionPool(nn.Module):
    """Attention over the pixels and, in front of them, their mean; what the mean attends to becomes the logits."""

    def __init__(self, side, channels, out_channels):
        super().__init__()
        self.heads = channels // HEAD_CHANNELS
        self.positional_embedding = nn.Parameter(torch.randn(channels, side * side + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x):
        batch, channels = x.shape[:2]
        flat = x.flatten(2)
        tokens = torch.cat([flat.mean(dim=2, keepdim=True), flat], dim=2) + self.positional_embedding
        qkv = self.qkv_proj(tokens).reshape(batch, 3, self.heads, HEAD_CHANNELS, -1)
        query, key, value = qkv.unbind(dim=1)  # [N, heads, channels of a head, tokens]
        scores = torch.einsum("nhct,nhcs->nhts", query, key) / HEAD_CHANNELS**0.5
        mixed = torch.einsum("nhts,nhcs->nhct", scores.softmax(dim=-1), value)
        return self.c_proj(mixed.reshape(batch, channels, -1))[:, :, 0]


class GuidedClassifier(nn.Module):
    """The network. `config` is a dictionary as described at the top of this file; other keys in it are ignored."""

    def __init__(self, config):
        super().__init__()
        config = {**DEFAULTS, **config}
        self.config = config
        base = config["classifier_width"]
        widths = [int(m * base) for m in channel_multipliers(config)]
        image_size = config["image_size"]
        attention_at = {image_size // int(r) for r in config["classifier_attention_resolutions"].split(",") if r}
        embedding = 4 * base
        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

        def residual(channels, out_channels, resample=None):
            scale_shift = config["classifier_use_scale_shift_norm"]
            return ResidualBlock(channels, out_channels, embedding, 0.0, scale_shift, resample)

        def attention(channels):
            if channels % HEAD_CHANNELS:
                raise ValueError(f"{channels} channels do not divide into heads of {HEAD_CHANNELS}")
            return AttentionBlock(channels, channels // HEAD_CHANNELS, new_order=False)

        channels, downsampling = widths[0], 1
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(3, channels, 3, padding=1))])
        gathered = [channels]
        for level, width in enumerate(widths):
            for _ in range(config["classifier_depth"]):
                layers = [residual(channels, width)]
                channels = width
                if downsampling in attention_at:
                    layers.append(attention(channels))
                self.input_blocks.append(Stage(*layers))
                gathered.append(channels)
            if level + 1 < len(widths):
                resampled = config["classifier_resblock_updown"]
                down = residual(channels, channels, "down") if resampled else Downsample(channels)
                self.input_blocks.append(Stage(down))
                gathered.append(channels)
                downsampling *= 2
        self.middle_block = Stage(residual(channels, channels), attention(channels), residual(channels, channels))
        gathered.append(channels)

        pool, classes, hidden = config["classifier_pool"], config["num_classes"], config["hidden"]
        norm = nn.GroupNorm(GROUPS, channels)
        self.gathers = pool.startswith("spatial")
        if pool == "adaptive":
            logits = zeroed(nn.Conv2d(channels, classes, 1))
            self.out = nn.Sequential(norm, nn.SiLU(), nn.AdaptiveAvgPool2d(1), logits, nn.Flatten())
        elif pool == "attention":
            self.out = nn.Sequential(norm, nn.SiLU(), AttentionPool(image_size // downsampling, channels, classes))
        elif pool == "spatial":
            self.out = nn.Sequential(nn.Linear(sum(gathered), hidden), nn.ReLU(), nn.Linear(hidden, classes))
        elif pool == "spatial_v2":
            normalised = nn.GroupNorm(GROUPS, hidden)
            self.out = nn.Sequential(
                nn.Linear(sum(gathered), hidden), normalised, nn.SiLU(), nn.Linear(hidden, classes)
            )
        else:
            raise ValueError(f"classifier_pool {pool} is none of adaptive, attention, spatial, spatial_v2")

    def forward(self, x, timesteps):
        """x [N, 3, H, W] float, timesteps [N] of the full process."""
        embedding = self.time_embed(timestep_embedding(timesteps, self.config["classifier_width"]))
        means = []
        for stage in [*self.input_blocks, self.middle_block]:
            x = stage(x, embedding)
            means.append(x.mean(dim=(2, 3)))
        return self.out(torch.cat(means, dim=1) if self.gathers else x)


def guiding_gradient(classifier, x, timesteps, labels, scale):
    """scale * d sum_n log p(label_n | x_n, t_n) / dx: what a guided run adds, times the variance, to the mean."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        chosen = torch.log_softmax(classifier(x, timesteps), dim=1)[torch.arange(len(labels)), labels]
        return torch.autograd.grad(scale * chosen.sum(), x)[0]
