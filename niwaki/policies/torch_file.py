"""Tensors of a PyTorch file, read with PyTorch's own weights-only loader from memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from niwaki.policies.files import FILE_LIMIT, parsing, unzipped
from niwaki.types import NiwakiError

LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # how torch.save began before it wrote zips
_ASKED_FOR = re.compile(r"GLOBAL:? (\S+)")

Tensors = dict[str, NDArray]


def read_checkpoint(data: bytes) -> object:
    """What torch.save wrote, as long as it is tensors in plain containers.

    Raises NiwakiError for anything else (TorchScript, whole pickled modules, any other object), naming it,
    and for files that unpack to more than they should. Nothing of the file is run.
    """
    import torch  # takes over a second: only those who read a PyTorch file pay

    if data.startswith(b"PK"):
        with unzipped(BytesIO(data)) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise NiwakiError(
                    "this is a TorchScript program, which is not run here: save model.state_dict() instead"
                )
    with parsing("PyTorch file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's advice on how the file was written is no use to its reader
        try:
            checkpoint: object = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:
            asked = _ASKED_FOR.search(str(error))
            if asked is None:
                raise
            raise NiwakiError(
                f"refused: the file asks for {asked[1][:120]!r}, which weights do not need; nothing was run "
                "(a whole pickled module? save model.state_dict() instead)"
            ) from error
        return checkpoint


def to_arrays(mapping: Mapping[object, object], *, file_size: int) -> Tensors:
    """The tensors of a state_dict as float32 arrays, in file order; entries that are not tensors are left out.

    `file_size` bounds what is believed: a tensor may not claim more memory than the file has.
    """
    import torch

    arrays: Tensors = {}
    storages: dict[int, int] = {}
    for key, tensor in mapping.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        name = str(key)[:200]
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
        if not plain or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_complex():
            raise NiwakiError(f"{name!r} is not a plain array of real numbers")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if sum(storages.values()) > file_size or tensor.numel() > FILE_LIMIT // 8:
            raise NiwakiError(f"refused: {name!r} claims more numbers than the file holds")
        with parsing("tensor"):
            arrays[name] = np.array(tensor.detach().float().numpy())
    return arrays
