#!/usr/bin/env python3
"""Plots the losses of a training, from the log that train.py writes.

usage: plot_training.py RUN/log.jsonl OUT.png [--smooth 0.1]

Left: the error of epsilon on training patches, at each point the mean over the last SMOOTH of the patches drawn until
then; right: on held-out patches, in bands of timesteps, by the averaged weights. Needs matplotlib.
"""
import argparse
import json

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


def running_mean(entries, name, share):
    """The mean loss over the last `share` of the patches at each entry, which speaks for those since the one before."""
    means = []
    for entry in entries:
        total, patches, before = 0.0, 0, 0
        for other in entries:
            if (1 - share) * entry["images"] < other["images"] <= entry["images"]:
                total += (other["images"] - before) * other["loss"][name]
                patches += other["images"] - before
            before = other["images"]
        means.append(total / patches)
    return means


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("out")
    parser.add_argument("--smooth", type=float, default=0.1)
    args = parser.parse_args()

    with open(args.log, encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    losses = [entry for entry in entries if "loss" in entry]
    held_out = [entry for entry in entries if "held_out" in entry]
    images_of_step = {entry["step"]: entry["images"] for entry in entries if "images" in entry}
    steps = sorted(images_of_step)

    def images_at(step):
        """The log has the number of patches at other steps; between them it grows evenly."""
        after = next((s for s in steps if s >= step), steps[-1])
        before = max((s for s in steps if s <= step), default=0)
        if after == before:
            return images_of_step[after]
        low, high = images_of_step.get(before, 0), images_of_step[after]
        return low + (high - low) * (step - before) / (after - before)

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in ("epsilon", "variance"):
        left.plot([entry["images"] for entry in losses], running_mean(losses, name, args.smooth), label=name)
    left.set_title("training patches")
    left.set_ylabel("error of epsilon; bits of variance")
    for band in held_out[0]["held_out"] if held_out else ():
        points = [(images_at(entry["step"]), entry["held_out"][band]) for entry in held_out]
        right.plot(*zip(*points), marker=".", label=f"timesteps {band}")
    right.set_title("held-out patches, averaged weights")
    right.set_ylabel("error of epsilon")
    for axes in (left, right):
        axes.set_xlabel("patches drawn")
        axes.set_yscale("log")
        axes.grid(True, which="both", alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize="small")
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
