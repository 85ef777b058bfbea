#!/usr/bin/env python3
"""Draws what the program ablation found: plot.py ablation.csv FIGURE.png. With --sheet contact_sheet.png it draws the
contact sheet instead, with the names of its rows and columns. Needs matplotlib 3.6."""
import argparse
import csv

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

MEASURES = {"mae_hole": "mean absolute error\n(8-bit levels)", "lpips_hole": "LPIPS (AlexNet)", "psnr_hole": "PSNR (dB)"}


def values(rows, column):
    return list(dict.fromkeys(row[column] for row in rows if row[column]))


def sections(rows):
    """Rows that belong into one figure: slowing down and the resampling after it, or jump lengths."""
    parts, before = [], None
    for row in rows:
        if row["sweep"] != before and (before, row["sweep"]) != ("slowing-down", "resampling"):
            parts.append([])
        parts[-1].append(row)
        before = row["sweep"]
    return parts


def lines(rows):
    """(name, rows) of every line, for all masks."""
    if rows[0]["sweep"] == "jump-length":
        return [(f"r = {r}", [row for row in rows if row["jump_n_sample"] == r]) for r in values(rows, "jump_n_sample")]
    slow = [row for row in rows if row["sweep"] == "slowing-down"]
    again = [row for row in rows if row["sweep"] == "resampling"]
    t, j, r, slow_t = (", ".join(values(of, column)) for of, column in (
        (again, "timesteps"), (again, "jump_length"), (again, "jump_n_sample"), (slow, "timesteps")))
    return [(f"slowing down: T = {slow_t}, one pass", slow), (f"resampling: T = {t}, j = {j}, r = {r}", again)]


def draw(rows, measure, into, columns):
    jumps = rows[0]["sweep"] == "jump-length"
    masks = values(rows, "mask")
    into.suptitle("Jump length at T = " + ", ".join(values(rows, "timesteps")) if jumps else "Slowing down or resampling",
                  x=0.01, ha="left", weight="bold")
    height = -(-len(masks) // columns)
    grid = into.add_gridspec(height + 1, columns, height_ratios=[10] * height + [1])
    for at, mask in enumerate(masks):
        panel = into.add_subplot(grid[at // columns, at % columns])
        for i, (name, points) in enumerate(lines(rows)):
            points = [row for row in points if row["mask"] == mask and row[measure] not in ("", "inf")]
            # A little aside, so that intervals at one place can be told apart.
            x = [float(row["jump_length" if jumps else "evaluations"]) * (0.99 + 0.02 * i) for row in points]
            intervals = [float(row[measure + "_ci95"] or 0) for row in points]
            panel.errorbar(x, [float(row[measure]) for row in points], intervals, marker="os^v"[i % 4], capsize=2.5, label=name)
        panel.set_title(mask, loc="left", size="medium")
        if jumps:
            panel.set_xticks([float(j) for j in values(rows, "jump_length")])
        panel.set_xlabel("jump length j" if jumps else "network evaluations")
        panel.set_ylabel(MEASURES.get(measure, measure))
        panel.grid(axis="y", color="0.9")
    below = into.add_subplot(grid[height, :], frameon=False, xticks=[], yticks=[])
    below.legend(*panel.get_legend_handles_labels(), loc="upper left", ncol=columns, frameon=False, fontsize="small")


def draw_all(rows, measure, out):
    places, row, column, heights = [], 0, 0, []  # sections side by side where there is room, in three columns
    for part in sections(rows):
        count = len(values(part, "mask"))
        width, height = min(count, 3), 1.2 + 2.4 * -(-count // 3)
        if not heights or column + width > 3:
            row, column = len(heights), 0
            heights.append(height)
        heights[row] = max(heights[row], height)
        places.append((part, row, column, width))
        column += width
    whole = plt.figure(figsize=(12, sum(heights)), layout="constrained")
    grid = whole.add_gridspec(len(heights), 3, height_ratios=heights)
    for part, row, column, width in places:
        draw(part, measure, whole.add_subfigure(grid[row, column:column + width]), width)
    whole.savefig(out, dpi=100)


def label_sheet(rows, sheet, out):
    pixels = plt.imread(sheet)
    height, width = pixels.shape[:2]
    columns = {"truth": "truth", "input": "input"}  # a setting of two sweeps is there once
    for row in rows:
        setting = "T {timesteps}".format(**row) + ("\nj {jump_length}, r {jump_n_sample}".format(**row) if row["jump_length"] else "")
        columns.setdefault(setting, row["sweep"].replace("-", " ") + "\n" + setting)
    masks = values(rows, "mask")
    left, top = 130, 60  # pixels for the names
    figure = plt.figure(figsize=((width + left) / 100, (height + top) / 100), dpi=100)
    axes = figure.add_axes((left / (width + left), 0, width / (width + left), height / (height + top)), frameon=False)
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="none", aspect="auto")
    axes.xaxis.tick_top()
    axes.set_xticks([width * (i + 0.5) / len(columns) for i in range(len(columns))], list(columns.values()), size=8)
    axes.set_yticks([height * (i + 0.5) / len(masks) for i in range(len(masks))], masks, weight="bold")
    axes.tick_params(length=0)
    figure.savefig(out, dpi=100)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("table", help="ablation.csv, or several below each other")
parser.add_argument("out", help="the picture")
parser.add_argument("--measure", help="a column of the table; default: the first measure, the error or LPIPS in the hole")
parser.add_argument("--sheet", help="contact_sheet.png: names its rows and columns")
given = parser.parse_args()
with open(given.table, newline="", encoding="utf-8") as file:
    table = list(csv.DictReader(file))
if given.sheet:
    label_sheet(table, given.sheet, given.out)
else:
    draw_all(table, given.measure or next(name[:-5] for name in table[0] if name.endswith("_ci95")), given.out)
