"""Prints tests/data/randn.txt: numbers of PyTorch's CPU generator, to replay call by call.

usage: make_randn_data.py > randn.txt

Lines in order: "seed S" is torch.manual_seed(S); "randn N values", "rand N values" and "randint LOW HIGH N values" are
contiguous float32 (int64) draws from the stream as it stands. Floats have 9 significant digits, enough for every bit.
"""

import torch


def seed(value):
    print("seed", value)
    torch.manual_seed(value)


def floats(name, values):
    print(name, values.numel(), *(f"{v:.9g}" for v in values.tolist()))


def randn(n):
    floats("randn", torch.randn(n))


def rand(n):
    floats("rand", torch.rand(n))


def randint(low, high, n):
    print("randint", low, high, n, *torch.randint(low, high, (n,)).tolist())


def main():
    print("#", "torch", torch.__version__, "cpu capability", torch.backends.cpu.get_cpu_capability())
    for value in (0, 42):
        for n in range(1, 41):
            seed(value)
            randn(n)
    # Only the low 32 bits of a seed count; one stream runs through all sizes, the kept normal crossing the block draws.
    seed(2**40 + 1)
    for n in range(1, 41):
        randn(n)
    seed(0)
    randn(1000)
    randn(1)
    randn(1008)
    # The order of a class-conditional sampling run, then every kind of draw in turn.
    seed(42)
    randint(0, 1000, 2)
    for n in (3, 48, 5, 17, 1, 1, 16, 7, 31, 2, 15):
        randn(n)
    rand(5)
    randn(3)
    rand(20)
    randint(-5, 7, 6)
    randn(4)
    randint(0, 2**27, 3)
    randint(0, 2**28, 3)
    randint(0, 2**32, 3)
    randint(-2**40, 2**40, 3)
    randn(19)
    randn(9)


if __name__ == "__main__":
    main()
