"""Writes tests/data/torch: small checkpoints as torch.save makes them, and what they hold.

Made with torch 2.9.1. Usage: python make_torch_files.py tests/data/torch
Every file but the refused ones holds the tensors of contents(); expected.safetensors holds them as float32.
"""

import argparse
import collections
import json
import pathlib
import struct

import numpy
import torch


def contents():
    ramp = torch.arange(24, dtype=torch.float32)
    shared = torch.linspace(-1.0, 1.0, 40)
    return collections.OrderedDict(
        plain=ramp.reshape(2, 3, 4) / 8,
        scalar=torch.tensor(2.5),
        empty=torch.zeros(0, 3),
        half=torch.tensor([1.0, -2.5, 6.103515625e-05, 5.960464477539063e-08, 65504.0, float("inf")]).half(),
        bfloat=torch.tensor([1.0, -3.140625, 1e30, -0.0], dtype=torch.bfloat16),
        double=torch.tensor([0.1, -1e-3], dtype=torch.float64),
        long=torch.tensor([-3, 1 << 40]),
        int=torch.tensor([-7, 7], dtype=torch.int32),
        short=torch.tensor([-300, 300], dtype=torch.int16),
        char=torch.tensor([-128, 127], dtype=torch.int8),
        byte=torch.tensor([0, 255], dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        transposed=ramp.reshape(4, 6).t(),
        channels_last=ramp.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        slice=shared[8:20].reshape(3, 4),
        slice_strided=shared[1::3],
        tied=shared[8:20].reshape(3, 4),
        expanded=torch.tensor([1.0, 2.0]).reshape(2, 1).expand(2, 3),
        parameter=torch.nn.Parameter(torch.tensor([4.0, 5.0])),
    )


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        values = tensor.detach().to(torch.float32).contiguous().numpy().astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(values)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class layer(torch.nn.Module):
    def forward(self, x):
        return x * 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    tensors = contents()
    write_safetensors(folder / "expected.safetensors", tensors)
    torch.save(tensors, folder / "zip.pt")
    torch.save(tensors, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(tensors, folder / "zip_protocol4.pt", pickle_protocol=4)
    torch.save(tensors, folder / "legacy_protocol4.pt", _use_new_zipfile_serialization=False, pickle_protocol=4)
    torch.serialization.set_crc32_options(False)
    torch.save(tensors, folder / "zip_without_crc.pt")
    torch.serialization.set_crc32_options(True)

    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    state = collections.OrderedDict(("module." + k, v) for k, v in network.state_dict().items())
    state._metadata = {"": {"version": 1}}
    wrapped = {"epoch": 3, "rate": 1e-4, "tags": {"a", "b"}, "shape": torch.Size([3, 4]), "device": torch.device("cpu"),
               "type": torch.float32, "none": None, "big": 1 << 80, "state_dict": state,
               "optimizer": optimizer.state_dict()}
    torch.save(wrapped, folder / "wrapped.pt")

    torch.save({"array": numpy.ones(3)}, folder / "refused_numpy.pt")
    torch.save(network, folder / "refused_module.pt")
    torch.jit.script(layer()).save(str(folder / "refused_torchscript.pt"))
    torch.save(torch.ones(2), folder / "refused_tensor.pt")
    torch.save([torch.ones(2)], folder / "refused_list.pt")


if __name__ == "__main__":
    main()
