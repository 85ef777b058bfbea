#!/usr/bin/env python3
"""Writes tests/data/loops.safetensors: what diffusers and MONAI compute when a formula stands in for the network.

usage: make_loop_goldens.py [FILE]

The formula, for images x of shape [2, 3, 4, 4] at timestep t, with u = t / steps and a = exp(-0.1 u - 9.9 u^2):
    prediction  g x + 0.1 (1 - u) sin(3 x) + 0.05 u
                g = sqrt(1 - a) / (1 - 0.75 a) for epsilon (about what suits data of deviation 0.5), else 0.3
    variance    0.5 cos(x) - 0.2, or 0.02 + 0.01 cos(x) where the variance itself is meant ("learned")
Released pipelines run as they are where there is one (diffusers: RePaintPipeline, DDPMPipeline, DDIMPipeline). MONAI has
schedulers only: sampling is its DiffusionInferer's loop, inpainting the one of its tutorial 2d_ddpm_inpainting.
RePaintScheduler takes every prediction for epsilon, so others are turned into epsilon before it sees them.

In the file: image, keep (0 and 1) and soft (0 ... 1), [2, 3, 4, 4] and [2, 1, 4, 4]; for each case NAME.final, the last
x before any conversion to pictures; for some NAME.tape [2 draws, 3, 4, 4], all random numbers in the order drawn, the
others being those of torch's CPU generator after manual_seed(seed). __metadata__["cases"] is a JSON object of the
settings by name, with the number of network evaluations. Running the script again gives the same numbers.
"""
import json
import math
import pathlib
import sys
import warnings
from types import SimpleNamespace

import torch
from diffusers import DDIMPipeline, DDPMPipeline, RePaintPipeline, RePaintScheduler
from diffusers import DDIMScheduler as DiffusersDDIM
from diffusers import DDPMScheduler as DiffusersDDPM
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import DDIMScheduler as MonaiDDIM
from monai.networks.schedulers import DDPMScheduler as MonaiDDPM
from safetensors.torch import save_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (2, 3, 4, 4)
DIFFUSERS_BETAS = {"linear": "linear", "scaled_linear": "scaled_linear", "sigmoid": "sigmoid",
                   "cosine": "squaredcos_cap_v2"}
MONAI_BETAS = {"linear": "linear_beta", "scaled_linear": "scaled_linear_beta", "sigmoid": "sigmoid_beta",
               "cosine": "cosine"}
PREDICTIONS = {"epsilon": "epsilon", "x_0": "sample", "velocity": "v_prediction"}

DEFAULTS = {
    "task": "inpaint",
    "steps": 40,  # of the training
    "timesteps": "",  # of the run, "" being all
    "betas": "linear",
    "start": 1e-4,
    "end": 0.02,
    "prediction": "epsilon",
    "variance": "fixed_small",
    "clip": True,
    "limits": [-1, 1],  # of clipping
    "spacing": "leading",
    "offset": 0,
    "ends_clean": True,
    "ends_in_noise": False,  # the betas
    "eta": None,
    "jump_length": 10,
    "jump_n_sample": 10,
    "n_sample": 1,
    "mask": "keep",
    "seed": 3,
    "tape": False,
}
# The end of the betas that leaves as little signal after 40 steps as 0.02 does after 1000.
STEEP = {"end": 0.4}


def cases():
    def case(name, algorithm, **changes):
        return name, {**DEFAULTS, "algorithm": algorithm, **changes}

    few = {"steps": 1000, "timesteps": "5", "jump_length": 2, "jump_n_sample": 2}
    all_of_them = {**STEEP, "jump_length": 5, "jump_n_sample": 3}
    yield case("diffusers_fast_test", "diffusers", **few, seed=0)
    yield case("diffusers_all", "diffusers", **all_of_them)
    yield case("diffusers_all_half", "diffusers", **all_of_them, eta=0.5)
    yield case("diffusers_all_one", "diffusers", **all_of_them, eta=1.0)
    yield case("diffusers_few_half", "diffusers", **few, eta=0.5)
    yield case("diffusers_few_one", "diffusers", **few, eta=1.0, mask="soft")
    yield case("diffusers_uneven", "diffusers", steps=1000, timesteps="30", jump_length=7, jump_n_sample=2, eta=0.3)
    yield case("diffusers_published", "diffusers", steps=1000, timesteps="250")
    yield case("diffusers_long_jumps", "diffusers", steps=1000, timesteps="8")  # jumps of 10 in a walk of 8
    yield case("diffusers_jump_one", "diffusers", **STEEP, timesteps="10", jump_length=1, jump_n_sample=3)
    yield case("diffusers_soft", "diffusers", **all_of_them, mask="soft")
    yield case("diffusers_unclipped", "diffusers", **all_of_them, clip=False)
    for betas in ("scaled_linear", "sigmoid", "cosine"):
        yield case("diffusers_" + betas, "diffusers", **{**few, "steps": 100, "timesteps": "20"}, betas=betas)
    yield case("diffusers_x_0", "diffusers", **all_of_them, prediction="x_0", eta=0.5)
    yield case("diffusers_velocity", "diffusers", **all_of_them, prediction="velocity", eta=0.5)
    yield case("diffusers_velocity_few", "diffusers", **few, prediction="velocity")
    yield case("diffusers_tape", "diffusers", **STEEP, timesteps="8", jump_length=2, jump_n_sample=2, eta=0.7,
               tape=True)

    yield case("monai_published", "monai", steps=1000, n_sample=4)
    yield case("monai_once", "monai", **STEEP)
    yield case("monai_four", "monai", **STEEP, n_sample=4)
    yield case("monai_few", "monai", steps=1000, timesteps="12", n_sample=2)
    yield case("monai_few_leading", "monai", steps=1000, timesteps="ddim12", n_sample=2)
    yield case("monai_one_timestep", "monai", **STEEP, timesteps="1", n_sample=2)
    yield case("monai_soft", "monai", **STEEP, n_sample=2, mask="soft")
    yield case("monai_unclipped", "monai", **STEEP, n_sample=2, clip=False)
    for betas in ("scaled_linear", "sigmoid", "cosine"):
        yield case("monai_" + betas, "monai", **STEEP, betas=betas, n_sample=2)
    for variance in ("fixed_large", "learned", "learned_range"):
        yield case("monai_" + variance, "monai", **STEEP, variance=variance, n_sample=2)
    for prediction in ("x_0", "velocity"):
        yield case("monai_" + prediction, "monai", **STEEP, prediction=prediction, n_sample=2)
        yield case("monai_ddim_" + prediction, "monai", **STEEP, prediction=prediction, n_sample=2, eta=0.5)
    yield case("monai_ddim_zero", "monai", **STEEP, n_sample=4, eta=0.0)
    yield case("monai_ddim_half", "monai", **STEEP, n_sample=4, eta=0.5)
    yield case("monai_ddim_one", "monai", **STEEP, n_sample=4, eta=1.0)
    yield case("monai_ddim_few", "monai", steps=1000, timesteps="12", n_sample=2, eta=0.5)
    yield case("monai_ddim_few_leading", "monai", steps=1000, timesteps="ddim12", n_sample=2, eta=0.5)
    yield case("monai_tape", "monai", **STEEP, timesteps="ddim8", n_sample=2, tape=True)
    yield case("monai_ddim_tape", "monai", **STEEP, timesteps="ddim8", n_sample=2, eta=0.0, tape=True)

    for algorithm in ("diffusers", "monai"):
        def draw(name, **changes):
            return case(algorithm + "_sample_" + name, algorithm, task="sample", **changes)

        yield draw("all", **STEEP)
        yield draw("published", steps=1000)
        yield draw("few", steps=1000, timesteps="7")
        yield draw("unclipped", **STEEP, clip=False)
        yield draw("cosine", betas="cosine", timesteps="10")
        for variance in ("fixed_large", "learned", "learned_range"):
            yield draw(variance, **STEEP, variance=variance)
        yield draw("few_learned_range", steps=1000, timesteps="7", variance="learned_range")
        for prediction in ("x_0", "velocity"):
            yield draw(prediction, **STEEP, prediction=prediction)
            yield draw("ddim_" + prediction, **STEEP, timesteps="9", prediction=prediction, eta=0.5)
        for name, eta in (("zero", 0.0), ("half", 0.5), ("one", 1.0)):
            yield draw("ddim_" + name, steps=1000, timesteps="7", eta=eta)
        settings = {"timesteps": "9", "offset": 1, "ends_clean": False}
        yield draw("ddim_settings", **STEEP, **settings, eta=0.5, limits=[-0.5, 0.5])
        yield draw("tape", **STEEP, timesteps="8", tape=True)
        yield draw("ddim_tape", **STEEP, timesteps="8", eta=0.5, tape=True)

    yield case("monai_offset", "monai", steps=1000, timesteps="15", n_sample=2, eta=0.5, offset=1, ends_clean=False)
    yield case("monai_offset_leading", "monai", **STEEP, timesteps="ddim8", n_sample=2, eta=0.0, offset=3)
    yield case("monai_limits", "monai", **STEEP, n_sample=2, limits=[0, 1])
    yield case("diffusers_sample_offset", "diffusers", task="sample", **STEEP, timesteps="9", offset=1)
    yield case("diffusers_sample_limits", "diffusers", task="sample", **STEEP, limits=[-2, 2])
    for spacing in ("linspace", "trailing"):
        for name, eta in (("", None), ("_ddim", 0.5)):
            yield case("diffusers_sample_" + spacing + name, "diffusers", task="sample", steps=1000, timesteps="30",
                       spacing=spacing, offset=1, eta=eta)
            yield case("diffusers_sample_noise_" + spacing + name, "diffusers", task="sample", steps=1000,
                       timesteps="10", spacing=spacing, eta=eta, prediction="velocity", ends_in_noise=True)


class Formula(torch.nn.Module):
    """Stands in for the network of a pipeline."""

    def __init__(self, settings):
        super().__init__()
        self.config = SimpleNamespace(in_channels=SHAPE[1], sample_size=SHAPE[2])
        self.dtype = torch.float32
        self.device = torch.device("cpu")
        self.settings = settings
        self.calls = 0
        self.convert = lambda prediction, x, t: prediction

    def forward(self, x, timesteps, **_):
        self.calls += 1
        t = float(timesteps.flatten()[0]) if torch.is_tensor(timesteps) else float(timesteps)
        u = t / self.settings["steps"]
        a = math.exp(-0.1 * u - 9.9 * u * u)
        g = math.sqrt(1 - a) / (1 - 0.75 * a) if self.settings["prediction"] == "epsilon" else 0.3
        out = self.convert(g * x + 0.1 * (1 - u) * torch.sin(3 * x) + 0.05 * u, x, int(t))
        if self.settings["variance"] == "learned":
            out = torch.cat([out, 0.02 + 0.01 * torch.cos(x)], 1)
        elif self.settings["variance"] == "learned_range":
            out = torch.cat([out, 0.5 * torch.cos(x) - 0.2], 1)
        return out


class DiffusersFormula(Formula):
    def forward(self, x, timesteps, **_):
        return SimpleNamespace(sample=super().forward(x, timesteps))


def last_of(scheduler):
    """The last x that a pipeline's scheduler returns: the pipeline itself returns pictures."""
    kept = []
    step = scheduler.step

    def keeping(*arguments, **options):
        result = step(*arguments, **options)
        kept[:] = [result.prev_sample]
        return result

    scheduler.step = keeping
    return kept


def run_diffusers(c, image, mask):
    generator = torch.Generator("cpu").manual_seed(c["seed"])
    count = int(c["timesteps"] or c["steps"])
    betas = {"num_train_timesteps": c["steps"], "beta_schedule": DIFFUSERS_BETAS[c["betas"]],
             "beta_start": c["start"], "beta_end": c["end"], "clip_sample": c["clip"]}
    sampling = {"prediction_type": PREDICTIONS[c["prediction"]], "timestep_spacing": c["spacing"],
                "steps_offset": c["offset"], "rescale_betas_zero_snr": c["ends_in_noise"],
                "clip_sample_range": c["limits"][1]}
    network = DiffusersFormula(c)
    if c["task"] == "inpaint":
        scheduler = RePaintScheduler(**betas)
        alpha_bars = scheduler.alphas_cumprod

        def to_epsilon(prediction, x, t):
            a = alpha_bars[t]
            if c["prediction"] == "x_0":
                return (x - a.sqrt() * prediction) / (1 - a).sqrt()
            return a.sqrt() * prediction + (1 - a).sqrt() * x if c["prediction"] == "velocity" else prediction

        network.convert = to_epsilon
        pipeline = RePaintPipeline(unet=network, scheduler=scheduler)
        options = {"image": image, "mask_image": mask, "eta": c["eta"] or 0.0, "jump_length": c["jump_length"],
                   "jump_n_sample": c["jump_n_sample"]}
    elif c["eta"] is None:
        scheduler = DiffusersDDPM(**betas, **sampling, variance_type=c["variance"])
        pipeline = DDPMPipeline(unet=network, scheduler=scheduler)
        options = {"batch_size": SHAPE[0]}
    else:
        scheduler = DiffusersDDIM(**betas, **sampling, set_alpha_to_one=c["ends_clean"])
        pipeline = DDIMPipeline(unet=network, scheduler=scheduler)
        options = {"batch_size": SHAPE[0], "eta": c["eta"]}
    pipeline.set_progress_bar_config(disable=True)
    kept = last_of(pipeline.scheduler)
    pipeline(generator=generator, num_inference_steps=count, output_type="np", **options)
    return kept[0], network.calls, generator.get_state()


def run_monai(c, image, mask):
    torch.manual_seed(c["seed"])
    arguments = {"num_train_timesteps": c["steps"], "schedule": MONAI_BETAS[c["betas"]], "clip_sample": c["clip"],
                 "prediction_type": PREDICTIONS[c["prediction"]],
                 "clip_sample_min": c["limits"][0], "clip_sample_max": c["limits"][1]}
    if c["betas"] != "cosine":
        arguments.update(beta_start=c["start"], beta_end=c["end"])
    if c["eta"] is None:
        scheduler = MonaiDDPM(variance_type=c["variance"], **arguments)
    else:
        scheduler = MonaiDDIM(**arguments, set_alpha_to_one=c["ends_clean"], steps_offset=c["offset"])
    count = int(c["timesteps"].removeprefix("ddim") or c["steps"])
    scheduler.set_timesteps(count)
    if c["timesteps"].startswith("ddim"):  # as versions before 1.6 spaced them
        scheduler.timesteps = torch.arange(count - 1, -1, -1) * (c["steps"] // count) + c["offset"]
    network = Formula(c)
    x = torch.randn(SHAPE)
    if c["task"] == "sample":
        if c["eta"]:
            step = scheduler.step
            scheduler.step = lambda output, t, sample: step(output, t, sample, eta=c["eta"])
        final = DiffusionInferer(scheduler).sample(x, network, scheduler, verbose=False)
        return final, network.calls, torch.random.get_rng_state()
    known_image = image * mask
    step_options = {} if c["eta"] is None else {"eta": c["eta"]}
    for t in scheduler.timesteps:
        for repeat in range(c["n_sample"]):
            known = known_image
            if t > 0:
                known = scheduler.add_noise(original_samples=known_image, noise=torch.randn(SHAPE), timesteps=t - 1)
                filled, _ = scheduler.step(network(x, t), t, x, **step_options)
            x = torch.where(mask == 1, known, filled)
            if t > 0 and repeat < c["n_sample"] - 1:
                beta = scheduler.betas[t - 1]
                x = torch.sqrt(1 - beta) * x + torch.sqrt(beta) * torch.randn(SHAPE)
    return x, network.calls, torch.random.get_rng_state()


def tape_of(seed, end):
    """The draws that lead from the seed to a generator's state."""
    generator = torch.Generator("cpu").manual_seed(seed)
    draws = []
    while not torch.equal(generator.get_state(), end):
        draws.append(torch.randn(SHAPE, generator=generator))
        assert len(draws) < 1000
    return torch.cat(draws)


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "tests/data/loops.safetensors"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    generator = torch.Generator("cpu").manual_seed(11)
    image = torch.rand(SHAPE, generator=generator) * 2 - 1
    soft = torch.rand((SHAPE[0], 1, *SHAPE[2:]), generator=generator)
    masks = {"keep": (soft > 0.5).float(), "soft": torch.where(soft > 0.7, torch.ones(()), soft)}
    tensors = {"image": image, **masks}
    settings = {}
    for name, c in cases():
        with torch.no_grad():
            run = run_diffusers if c["algorithm"] == "diffusers" else run_monai
            final, evaluations, state = run(c, image, masks[c["mask"]])
        assert torch.isfinite(final).all(), name
        tensors[name + ".final"] = final.contiguous()
        settings[name] = {**c, "evaluations": evaluations}
        if c["tape"]:
            tensors[name + ".tape"] = tape_of(c["seed"], state)
        clipped = (final.abs() == 1).float().mean()
        print(f"{name:36} {evaluations:5} evaluations, largest {final.abs().max():.3f}, {clipped:.0%} at 1", flush=True)
    save_file(tensors, path, {"cases": json.dumps(settings)})


if __name__ == "__main__":
    main()
