"""A LightGBM booster answered by LightGBM's C library alone: ctypes and numpy, one thread."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hedonic.errors import HedonicError
from hedonic.model.booster_text import checked_booster_text

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

_FLOAT64 = 1
_ROW_MAJOR = 1
_NORMAL, _CONTRIBUTIONS = 0, 3
_ONE_THREAD = b"num_threads=1"


class Booster:
    """A fitted booster read from LightGBM's text, which needs no pickle.

    Rows of a batch get the same bits as single rows. NaN is a missing value, for which every split
    has learnt a side. Several threads may predict at once.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._averages = "\naverage_output\n" in text.partition("\nTree=")[0]
        self._lock = threading.Lock()
        answering = checked_booster_text(text).encode()
        library = _library()
        handle, n_trees = ctypes.c_void_p(), ctypes.c_int()
        _call(
            library.LGBM_BoosterLoadModelFromString,
            answering,
            ctypes.byref(n_trees),
            ctypes.byref(handle),
        )
        handles = [(library.LGBM_BoosterFree, handle)]
        weakref.finalize(self, _free, handles)
        self._handle = handle
        n_features = ctypes.c_int()
        _call(library.LGBM_BoosterGetNumFeature, handle, ctypes.byref(n_features))
        self.n_features: int = n_features.value
        self.n_trees: int = n_trees.value
        fast = ctypes.c_void_p()
        _call(
            library.LGBM_BoosterPredictForMatSingleRowFastInit,
            handle, _NORMAL, 0, -1, _FLOAT64, self.n_features, _ONE_THREAD, ctypes.byref(fast),
        )  # fmt: skip
        handles.append((library.LGBM_FastConfigFree, fast))
        self._fast = fast

    @classmethod
    def from_text(cls, text: str) -> Booster:
        """Return the booster that LightGBM wrote as ``text``.

        Raises:
            HedonicError: ``text`` is cut off, or is not a LightGBM model of one output.
        """
        return cls(text)

    def __reduce__(self) -> tuple[type[Booster], tuple[str]]:
        """Return how a copy is made in another process: from the text."""
        return Booster, (self.text,)

    def predict(self, matrix: Matrix) -> Vector:
        """Return a raw score for each row, shape (n_rows,).

        Args:
            matrix: features, shape (n_rows, n_features); NaN is missing.

        Raises:
            ValueError: the shape is another one.
        """
        if np.shape(matrix) == (1, self.n_features):
            return np.array([self.predict_row(matrix[0])])
        return self._predict_matrix(matrix, _NORMAL, 1)[:, 0]

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return exact TreeSHAP contributions, shape (n_rows, n_features + 1); the base is last.

        Source: Lundberg et al. (2020), "From local explanations to global understanding", algorithm 2.
        """
        contributions = self._predict_matrix(matrix, _CONTRIBUTIONS, self.n_features + 1)
        # LightGBM averages a forest's scores but adds up its contributions.
        return contributions / self.n_trees if self._averages else contributions

    def predict_row(self, row: Vector) -> float:
        """Return the raw score of one row of shape (n_features,): the fastest way for a single row."""
        row = np.ascontiguousarray(row, dtype=np.float64)
        if row.shape != (self.n_features,):
            raise ValueError(f"row has shape {row.shape}, the booster takes ({self.n_features},)")
        result, length = ctypes.c_double(), ctypes.c_int64()
        with self._lock:  # the fast configuration holds one row's buffer
            status = _library().LGBM_BoosterPredictForMatSingleRowFast(
                self._fast, row.ctypes.data, ctypes.byref(length), ctypes.byref(result)
            )
        _raise_for(status)
        return result.value

    def _predict_matrix(self, matrix: Matrix, kind: int, width: int) -> Matrix:
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features:
            raise ValueError(
                f"matrix has shape {matrix.shape}, the booster takes (n_rows, {self.n_features})"
            )
        n_rows = matrix.shape[0]
        result = np.empty((n_rows, width), dtype=np.float64)
        if n_rows == 0:
            return result
        length = ctypes.c_int64()
        _call(
            _library().LGBM_BoosterPredictForMat,
            self._handle, matrix.ctypes.data, _FLOAT64, n_rows, self.n_features, _ROW_MAJOR,
            kind, 0, -1, _ONE_THREAD, ctypes.byref(length), result.ctypes.data,
        )  # fmt: skip
        if length.value != result.size:
            raise HedonicError(f"LightGBM answered {length.value} numbers for {result.size}")
        return result


def library_path() -> Path:
    """Return where the installed LightGBM keeps its C library; its Python package is not imported.

    Raises:
        HedonicError: LightGBM is not installed here.
    """
    spec = importlib.util.find_spec("lightgbm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "lib" / "lib_lightgbm.so"
        if path.is_file():
            return path
    raise HedonicError("lib_lightgbm.so: not found; install lightgbm in this environment (make does)")


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(str(library_path()))
    except OSError as err:
        raise HedonicError(f"lib_lightgbm.so: {err}. On Debian: apt-get install libgomp1") from err
    pointer, integer, out = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    library.LGBM_RegisterLogCallback(_silence)
    for name, arguments in {
        "LGBM_BoosterLoadModelFromString": (ctypes.c_char_p, out, out),
        "LGBM_BoosterFree": (pointer,),
        "LGBM_FastConfigFree": (pointer,),
        "LGBM_BoosterGetNumFeature": (pointer, out),
        "LGBM_BoosterPredictForMatSingleRowFastInit":
            (pointer, integer, integer, integer, integer, ctypes.c_int32, ctypes.c_char_p, out),
        "LGBM_BoosterPredictForMatSingleRowFast": (pointer, pointer, out, out),
        "LGBM_BoosterPredictForMat":
            (pointer, pointer, integer, ctypes.c_int32, ctypes.c_int32, integer, integer, integer, integer,
             ctypes.c_char_p, out, pointer),
    }.items():  # fmt: skip
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, integer
    return library


@ctypes.CFUNCTYPE(None, ctypes.c_char_p)  # type: ignore[untyped-decorator]
def _silence(_message: bytes) -> None:
    """Keep LightGBM's messages off the terminal: errors come back as statuses."""


def _free(handles: list[tuple[Any, ctypes.c_void_p]]) -> None:
    """Free what was allocated, the latest first: a row's configuration refers to its booster."""
    for function, handle in reversed(handles):
        function(handle)


def _call(function: Any, *arguments: object) -> None:
    _raise_for(function(*arguments))


def _raise_for(status: int) -> None:
    if status != 0:
        reason = _library().LGBM_GetLastError().decode(errors="replace")
        raise HedonicError(f"LightGBM: {reason}")
