"""Constants of devices: the better data sheet is never slower, and a shared CPU is slower by as many."""

from training.costs import CPU, DEVICES, shared_out


def test_newer_gpus_are_no_slower():
    a100, h100, h200 = (DEVICES[kind] for kind in ("a100", "h100", "h200"))
    for slower, faster in ((a100, h100), (h100, h200)):
        for step in ("sparse", "dense"):
            pairs = zip(vars(getattr(slower, step)).values(), vars(getattr(faster, step)).values(), strict=True)
            assert all(before >= after for before, after in pairs)
        assert slower.memory <= faster.memory
        assert slower.link <= faster.link


def test_every_device_says_where_its_constants_are_from():
    assert all(device.source and device.kind == kind for kind, device in DEVICES.items())
    assert all("never measured" in device.source for kind, device in DEVICES.items() if kind != "cpu")


def test_a_shared_cpu_is_slower():
    half = shared_out(CPU, 2)
    assert half.sparse.flop == 2 * CPU.sparse.flop
    assert half.model_flop["float32"] == 2 * CPU.model_flop["float32"]
    assert half.token == 2 * CPU.token
    assert half.told["files"] == 2 * CPU.told["files"]
