"""Turns a JSON of official schedules into tests/data/schedules.txt.

usage: make_schedule_data.py schedules.json > schedules.txt

The JSON holds, per respacing of the 1000-step linear schedule, "timestep_map" and float64 tables, and under "schedules"
the jump lists ("ts") of several option sets. One line per list: name, key, values. Floats have 17 significant digits,
enough to restore every bit of a float64.
"""

import json
import sys

JUMP_OPTIONS = ["t_T", "n_sample", "jump_length", "jump_n_sample", "jump2_length", "jump2_n_sample", "jump3_length",
                "jump3_n_sample", "start_resampling"]
JUMP_DEFAULTS = {"jump2_length": 1, "jump2_n_sample": 1, "jump3_length": 1, "jump3_n_sample": 1,
                 "start_resampling": 100000000}


def line(name, key, values):
    print(name, key, *(str(v) if isinstance(v, int) else f"{v:.17g}" for v in values))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        data = json.load(file)
    for name, tables in data.items():
        if name != "schedules":
            for key, values in tables.items():
                line(name, key, values)
    for number, (options, expected) in enumerate(data["schedules"].items()):
        options = {**JUMP_DEFAULTS, **json.loads(options)}
        line(f"jump_{number}", "options", [options[key] for key in JUMP_OPTIONS])
        line(f"jump_{number}", "times", expected["ts"])


if __name__ == "__main__":
    main()
