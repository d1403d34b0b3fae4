"""GELU and softmax for bf16 on a CPU, by `kernels.c`; everywhere else torch's own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

SOURCE = Path(__file__).with_name("kernels.c")
LONGEST_ROW = 2048


def _compile() -> ctypes.CDLL | None:
    compiler = shutil.which("gcc")
    if not compiler or os.environ.get("LOQA_NO_KERNELS"):
        return None
    library = Path(tempfile.mkdtemp(prefix="loqa-kernels-")) / "kernels.so"
    command = [compiler, "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-lm", "-lmvec"]
    try:
        subprocess.run(command, check=True, capture_output=True)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.CalledProcessError):
        return None
    finally:
        shutil.rmtree(library.parent, ignore_errors=True)


C = _compile()


def _at(t: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


def _fused(x: torch.Tensor) -> bool:
    return C is not None and x.dtype == torch.bfloat16 and x.device.type == "cpu"


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        y = torch.empty_like(x)
        C.gelu_forward(_at(x), _at(y), ctypes.c_long(x.numel()))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad = grad.to(torch.bfloat16).contiguous()
        d = torch.empty_like(x)
        C.gelu_backward(_at(x), _at(grad), _at(d), ctypes.c_long(x.numel()))
        return d


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        n = x.shape[-1]
        y = torch.empty_like(x)
        C.softmax_forward(_at(x), _at(y), ctypes.c_long(x.numel() // n), ctypes.c_long(n))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        grad = grad.to(torch.bfloat16).contiguous()
        n = y.shape[-1]
        d = torch.empty_like(y)
        C.softmax_backward(_at(y), _at(grad), _at(d), ctypes.c_long(y.numel() // n), ctypes.c_long(n))
        return d


def gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh approximation, which is what ggml computes."""
    return _Gelu.apply(x) if _fused(x) else F.gelu(x, approximate="tanh")


def softmax(x: torch.Tensor) -> torch.Tensor:
    return _Softmax.apply(x) if _fused(x) and x.shape[-1] <= LONGEST_ROW else torch.softmax(x, -1)
