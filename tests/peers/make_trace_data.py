#!/usr/bin/env python3
"""The official sampler's trace on a toy denoiser, from JSON to safetensors.

usage: make_trace_data.py trace_repaint.json plain|guided OUT

Every noise draw in order, every network input and every reverse step's result of one run; written by a run of the
official program on eps = 0.3 x + 0.1 sin(3 x) + 0.05 t / 1000, v = 0.5 cos(x) - 0.2, and the guided one with the
gradient 0.7 (0.2 - x) (1 + t / 1000).
"""
import json
import os
import sys

import numpy as np
from safetensors.numpy import save_file

trace = json.load(open(sys.argv[1], encoding="utf-8"))
run, shape = trace[sys.argv[2]], trace["shape"]
stacked = [-1] + shape[1:]
save_file(
    {
        "gt": np.array(trace["gt"], np.float32).reshape(shape),
        "keep": np.array(trace["mask"], np.float32).reshape(shape),
        "tape": np.array(run["tape"], np.float32).reshape(stacked),
        "net_inputs": np.array(run["net_inputs"], np.float32).reshape(stacked),
        "reverse_outputs": np.array(run["reverse_outputs"], np.float32).reshape(stacked),
        "final": np.array(run["final"], np.float32).reshape(shape),
        "ts": np.array(run["ts"], np.int64),
        "timestep_map": np.array(run["timestep_map"], np.int64),
    },
    sys.argv[3],
    metadata={"what": "; ".join(part.strip() for part in trace["toy"].split(";")[:2])},
)
os.chmod(sys.argv[3], 0o644)
