"""Strange model files: the project's own, changed at random."""

import json
import math
import struct

from safetensors.torch import save

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from tests.torture.strange import LENGTH, NAMES, forge

PARAMS = ModelParams(
    cell="gru", nonlinearity="tanh", hidden_size=4, num_layers=1, bias=True, bidirectional=False, dropout=0.0,
    execution="sequence", head="last", output="quadrature",
)  # fmt: skip


def make_network(output="quadrature"):
    network = QuadratureNetwork(PARAMS.model_copy(update={"output": output}), LENGTH)
    initialize(network, 0)
    return network


HEADERS = [
    *(b"", b"{}", b"null", b"[]", b"\xff", b"{" * 10**5, b"[" * 10**6, b'{"a":' * 10**5, b"9" * 10**6, b" " * 10**7),
    *(b'{"__metadata__":1}', b'{"__metadata__":{"quadrature":1}}', b'{"__metadata__":{"quadrature":"{}"}}'),
    *(b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', b'{"a":{"dtype":"F32"}}', b'{"a":1}'),
]
VALUES = [
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    8192,
    8193,
    2**31,
    2**40,
    2**62,
    2**64,
    1e300,
    0.5,
    True,
    None,
    "gru",
    "lstm",
    "analytic",
    [],
    {},
]
DTYPES = ["F32", "F64", "F16", "BF16", "I64", "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "U64", "F4", "X", "", 1]
CHANGES = [
    *("blueprint", "blueprint", "window", "values", "dtype", "shape", "offsets", "name", "drop", "header", "size"),
    *("metadata", "retyped"),
]


def strange_model(path, rng):
    """Writes a safetensors file with a model, changed at random."""
    network = make_network(str(rng.choice(["analytic", "quadrature"])))
    save_model(network, path)
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    blueprint = json.loads(header["__metadata__"]["quadrature"])
    raw = None
    for _ in range(int(rng.integers(1, 3))):
        name = str(rng.choice([name for name in header if name != "__metadata__"] or ["x"]))
        tensor = header.setdefault(name, {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
        value = VALUES[int(rng.integers(0, len(VALUES)))]
        match str(rng.choice(CHANGES)):
            case "blueprint":
                blueprint["model"][str(rng.choice([*blueprint["model"], "other"]))] = value
            case "window":
                blueprint["window_length"] = value
            case "values":
                place = int(rng.integers(0, len(data) // 4)) * 4
                data[place : place + 4] = struct.pack("<f", rng.choice([math.nan, math.inf, -math.inf, 3e38, 1e-45]))
            case "dtype":
                tensor["dtype"] = DTYPES[int(rng.integers(0, len(DTYPES)))]
            case "shape":
                tensor["shape"] = [[], [value], [value, value], [2**32, 2**32], [0, 2**62], value][
                    int(rng.integers(0, 6))
                ]
            case "offsets":
                tensor["data_offsets"] = [[0, 0], [0, value], [4, 0], [value, value], [0, len(data)], value][
                    int(rng.integers(0, 6))
                ]
            case "name":
                header[str(rng.choice(NAMES))] = header.pop(name)
            case "drop":
                del header[name]
            case "header":
                raw = HEADERS[int(rng.integers(0, len(HEADERS)))]
            case "size":
                size = int(rng.choice([0, 1, 7, 2**31, 2**40, 10**8, 10**8 + 1, 2**62]))
                path.write_bytes(struct.pack("<Q", size) + content[8:])
                forge(path)
                return
            case "metadata":
                header["__metadata__"] = {"quadrature": "[" * 10**5, "x": "y" * 10**6}
                raw = json.dumps(header).encode()
            case "retyped":
                weights = {key: weight.double() for key, weight in network.state_dict().items()}
                path.write_bytes(save(weights, metadata={"quadrature": json.dumps(blueprint)}))
                forge(path)
                return
    if raw is None:
        header["__metadata__"] = {"quadrature": json.dumps(blueprint)}
        raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    forge(path)
