"""The guided-diffusion U-Net family in PyTorch: what `repaint` loads, for training and for checks.

    from guided_unet import GuidedUNet
    network = GuidedUNet({"image_size": 32, "num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2,4", ...})
    out = network(x, timesteps, labels)      # x [N, 3, H, W] -> [N, 3 or 6, H, W]; the first three channels are epsilon

The dictionary has the keys of the official programs; `DEFAULTS` lists those that count and what they are when missing.
The names in the state_dict are the official ones (time_embed.0.weight, input_blocks.1.0.in_layers.0.weight, ...), so a
checkpoint of either loads in the other.

Architecture: Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021.
"""
import math

import torch
from torch import nn
from torch.nn import functional

DEFAULTS = {
    "image_size": 64,
    "num_channels": 128,
    "num_res_blocks": 2,
    "channel_mult": "",  # empty: from image_size
    "attention_resolutions": "16,8",  # feature sizes of a square image of image_size
    "num_heads": 4,  # counts where num_head_channels is -1
    "num_head_channels": -1,
    "use_scale_shift_norm": True,
    "resblock_updown": False,
    "use_new_attention_order": False,
    "class_cond": False,
    "num_classes": 1000,  # counts where class_cond is set
    "learn_sigma": False,
    "dropout": 0.0,
}

CHANNEL_MULT_OF_SIZE = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
}

GROUPS = 32


def _numbers(value, kind):
    """"1,2,4", [1, 2, 4] or 4 as a tuple of numbers."""
    if isinstance(value, str):
        return tuple(kind(part) for part in value.split(",") if part.strip())
    return tuple(kind(part) for part in (value if isinstance(value, (list, tuple)) else (value,)))


def channel_multipliers(config):
    """The widths of the levels in units of num_channels, finest first."""
    given = _numbers(config.get("channel_mult") or "", float)
    if given:
        return given
    size = config["image_size"]
    if size not in CHANNEL_MULT_OF_SIZE:
        known = sorted(CHANNEL_MULT_OF_SIZE)
        raise ValueError(f"channel_mult is needed for image_size {size}; it has a default for {known}")
    return CHANNEL_MULT_OF_SIZE[size]


def timestep_embedding(timesteps, dim):
    """[N] -> [N, dim]: cosines, then sines, of t * 10000^(-i / half); an odd dim ends with a zero."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half)
    angles = timesteps.float()[:, None] * frequencies[None]
    embedding = torch.cat([angles.cos(), angles.sin()], dim=1)
    return functional.pad(embedding, (0, dim - 2 * half))


def zeroed(module):
    """The module with all its parameters zero: a residual branch that starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class ResidualBlock(nn.Module):
    """Norm, SiLU, (resample), convolution; time embedding; norm, SiLU, dropout, convolution; plus the input."""

    def __init__(self, channels, out_channels, embedding_channels, dropout, scale_shift, resample=None):
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding_channels, out_channels * (2 if scale_shift else 1))
        )
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def resampled(self, x):
        if self.resample == "up":
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.resample == "down":
            return functional.avg_pool2d(x, 2)
        return x

    def forward(self, x, embedding):
        norm, activation, convolution = self.in_layers
        h = convolution(self.resampled(activation(norm(x))))
        x = self.resampled(x)
        embedded = self.emb_layers(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = embedded.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)
        else:
            h = self.out_layers(h + embedded)
        return self.skip_connection(x) + h


class AttentionBlock(nn.Module):
    """Self-attention over all pixels, plus the input."""

    def __init__(self, channels, heads, new_order):
        super().__init__()
        self.heads = heads
        self.new_order = new_order
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x, embedding):
        batch, channels, height, width = x.shape
        flat = x.reshape(batch, channels, height * width)
        qkv = self.qkv(self.norm(flat))
        per_head = channels // self.heads
        if self.new_order:  # [q of all heads, k of all heads, v of all heads]
            qkv = qkv.reshape(batch, 3, self.heads, per_head, -1)
            query, key, value = qkv[:, 0], qkv[:, 1], qkv[:, 2]
        else:  # [q, k, v] of the first head, then of the second, ...
            qkv = qkv.reshape(batch, self.heads, 3, per_head, -1)
            query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        scale = per_head**-0.25  # on both factors, so that neither is large in half precision
        weights = torch.softmax((query * scale).transpose(-1, -2) @ (key * scale), dim=-1)
        mixed = (value @ weights.transpose(-1, -2)).reshape(batch, channels, -1)
        return x + self.proj_out(mixed).reshape(x.shape)


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, embedding):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, embedding):
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class Stage(nn.Sequential):
    """Layers in turn; all but plain convolutions are given the time embedding too."""

    def forward(self, x, embedding):
        for layer in self:
            x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, embedding)
        return x


class GuidedUNet(nn.Module):
    """The network. `config` is a dictionary as described at the top of this file; other keys in it are ignored."""

    def __init__(self, config):
        super().__init__()
        config = {**DEFAULTS, **config}
        self.config = config
        base = config["num_channels"]
        widths = [int(m * base) for m in channel_multipliers(config)]
        blocks = config["num_res_blocks"]
        attention_at = {config["image_size"] // r for r in _numbers(config["attention_resolutions"], int)}
        embedding = 4 * base
        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if config["class_cond"]:
            self.label_emb = nn.Embedding(config["num_classes"], embedding)

        def residual(channels, out_channels, resample=None):
            return ResidualBlock(
                channels, out_channels, embedding, config["dropout"], config["use_scale_shift_norm"], resample
            )

        def attention(channels):
            per_head = config["num_head_channels"]
            heads = config["num_heads"] if per_head == -1 else channels // per_head
            if heads < 1 or channels % heads or (per_head != -1 and heads * per_head != channels):
                wanted = f"{config['num_heads']} heads" if per_head == -1 else f"heads of {per_head} channels"
                raise ValueError(f"{channels} channels do not divide into {wanted}")
            return AttentionBlock(channels, heads, config["use_new_attention_order"])

        channels, downsampling = widths[0], 1
        skips = [channels]
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(3, channels, 3, padding=1))])
        for level, width in enumerate(widths):
            for _ in range(blocks):
                layers = [residual(channels, width)]
                channels = width
                if downsampling in attention_at:
                    layers.append(attention(channels))
                self.input_blocks.append(Stage(*layers))
                skips.append(channels)
            if level + 1 < len(widths):
                down = residual(channels, channels, "down") if config["resblock_updown"] else Downsample(channels)
                self.input_blocks.append(Stage(down))
                skips.append(channels)
                downsampling *= 2

        self.middle_block = Stage(residual(channels, channels), attention(channels), residual(channels, channels))

        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for block in range(blocks + 1):
                layers = [residual(channels + skips.pop(), width)]
                channels = width
                if downsampling in attention_at:
                    layers.append(attention(channels))
                if level > 0 and block == blocks:
                    up = residual(channels, channels, "up") if config["resblock_updown"] else Upsample(channels)
                    layers.append(up)
                    downsampling //= 2
                self.output_blocks.append(Stage(*layers))

        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            zeroed(nn.Conv2d(channels, 6 if config["learn_sigma"] else 3, 3, padding=1)),
        )

    def forward(self, x, timesteps, labels=None):
        """x [N, 3, H, W] float, timesteps [N] of the full process, labels [N] int64 where class_cond is set."""
        if (labels is None) == bool(self.config["class_cond"]):
            raise ValueError("labels are needed by, and only by, a class-conditional network")
        embedding = self.time_embed(timestep_embedding(timesteps, self.config["num_channels"]))
        if labels is not None:
            embedding = embedding + self.label_emb(labels)
        skips = []
        for stage in self.input_blocks:
            x = stage(x, embedding)
            skips.append(x)
        x = self.middle_block(x, embedding)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.out(x)
