"""Silero's network of speech detection (https://github.com/snakers4/silero-vad, v5, 16 kHz), in numpy.

One set of weights, of 1.3 MB, and one set of scratch memory serve every call of a process; a call's own
state is 1.3 kB. A frame costs 50 µs of CPU. A runtime session for each call, as the package has it, costs
150 µs alone and twice that beside thirty others, since their weights push each other out of the cache,
with 10 MB and 43 ms for each.

The network: a Fourier transform of four overlapping windows, four convolutions, an LSTM cell and a logistic
output. Each step is one matrix product; a column of ones in its input carries the bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from agentsd.audio.onnx_weights import Weights

    Array = np.ndarray[Any, np.dtype[np.float32]]

FRAME_SAMPLES = 512
_CONTEXT = 64
"""Samples of the frame before that the network hears again."""
_PADDED = _CONTEXT + FRAME_SAMPLES + 64
"""Samples with a mirrored end."""
_WINDOW, _HOP, _WINDOWS = 256, 128, 4
_BINS = _WINDOW // 2 + 1
_WIDE, _NARROW = 128, 64
"""Channels of the first and last convolution and of the cell; of the convolutions between."""
_TAPS = 3


class SpeechState:
    """State of the network after what one call heard: the end of its last frame, the cell's memory."""

    __slots__ = ("cell", "context", "hidden")

    def __init__(self) -> None:
        import numpy as np

        self.context: Array = np.zeros(_CONTEXT, np.float32)
        self.hidden: Array = np.zeros(_WIDE, np.float32)
        self.cell: Array = np.zeros(_WIDE, np.float32)


class SileroNetwork:
    """Network with its scratch memory: for one thread at a time. Arrays of a layer are made once."""

    def __init__(self, weights: Weights) -> None:
        self._make_fourier(weights["stft.forward_basis_buffer"])
        self._make_convolutions(weights)
        self._make_cell(weights)
        import numpy as np

        self._absolute, self._maximum, self._tanh = np.absolute, np.maximum, np.tanh
        self._zero: Array = np.zeros((), np.float32)
        self._one, self._half = np.float32(1), np.float32(0.5)

    def _make_fourier(self, basis: Array) -> None:
        """Interleave the cosines and sines, so that products are complex numbers."""
        import numpy as np

        self._basis = np.ascontiguousarray(
            basis.reshape(2, _BINS, _WINDOW).transpose(2, 1, 0).reshape(_WINDOW, 2 * _BINS)
        )
        self._sound = _make_array(_PADDED)
        self.frame = self._sound[_CONTEXT:][:FRAME_SAMPLES]
        """Input of ``compute``: samples from -1 to 1."""
        end = _CONTEXT + FRAME_SAMPLES
        self._context, self._newest = self._sound[:_CONTEXT], self._sound[end - _CONTEXT : end]
        self._mirror, self._mirrored = self._sound[end:], self._sound[end - 65 : end - 1][::-1]
        self._windows = _view_rows(self._sound, _WINDOWS, _WINDOW, _HOP)
        self._windowed = _make_array(_WINDOWS, _WINDOW)
        self._products = _make_array(_WINDOWS, 2 * _BINS)
        self._spectrum: Any = self._products.view(np.complex64)

    def _make_convolutions(self, weights: Weights) -> None:
        """Lay out the layers: each is padded by a row of silence on either side, as the next one reads it.

        The third reads two rows and silence, the fourth one row between two of silence: what only meets
        silence is left out.
        """
        import numpy as np

        def weigh(number: int, taps: slice) -> Array:
            kernel = weights[f"encoder.{number}.reparam_conv.weight"][:, :, taps]
            bias = weights[f"encoder.{number}.reparam_conv.bias"]
            rows = kernel.transpose(2, 1, 0).reshape(-1, kernel.shape[0])
            layer: Array = np.ascontiguousarray(np.vstack((rows, bias)))
            return layer

        self._weights = [
            weigh(at, taps) for at, taps in enumerate((slice(0, 3), slice(0, 3), slice(1, 3), slice(1, 2)))
        ]
        self._magnitudes = _make_array(_WINDOWS + 2, _BINS)
        self._inner_magnitudes = self._magnitudes[1:-1]
        self._first_view = _view_rows(self._magnitudes, _WINDOWS, _TAPS * _BINS, _BINS)
        self._first_input, self._first_taps = _make_input(_WINDOWS, _TAPS * _BINS)
        self._first = _make_array(_WINDOWS, _WIDE)
        padded = _make_array(_WINDOWS + 2, _WIDE)
        self._first_inner = padded[1:-1]
        self._second_view = _view_rows(padded, 2, _TAPS * _WIDE, 2 * _WIDE)
        self._second_input, self._second_taps = _make_input(2, _TAPS * _WIDE)
        self._second = _make_array(2, _NARROW)
        self._third_input, self._third_taps = _make_input(1, 2 * _NARROW)
        self._third_rows = self._third_taps.reshape(2, _NARROW)
        self._third = _make_array(1, _NARROW)
        self._fourth_input, self._fourth_taps = _make_input(1, _NARROW)
        self._fourth = _make_array(1, _WIDE)

    def _make_cell(self, weights: Weights) -> None:
        """Order the gates: input, forget, output, all halved for tanh in place of the logistic; candidate."""
        import numpy as np

        bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
        rows = (weights["decoder.rnn.weight_ih"].T, weights["decoder.rnn.weight_hh"].T, bias)
        gates = np.vstack(rows).reshape(-1, 4, _WIDE)[:, [0, 1, 3, 2]].copy()
        gates[:, :3] *= np.float32(0.5)
        self._gates = np.ascontiguousarray(gates.reshape(-1, 4 * _WIDE))
        self._cell_input, _ = _make_input(1, 2 * _WIDE)
        self._cell_heard, self._cell_hidden = self._cell_input[:, :_WIDE], self._cell_input[0, _WIDE:-1]
        self._activations = _make_array(1, 4 * _WIDE)
        gate = self._activations[0].reshape(4, _WIDE)
        self._input_gate, self._forget_gate, self._output_gate, self._candidate = gate
        self._logistic = self._activations[0, : 3 * _WIDE]
        self._positive = _make_array(_WIDE)
        self._last = np.ascontiguousarray(weights["decoder.decoder.2.weight"].reshape(_WIDE))
        self._last_bias = float(weights["decoder.decoder.2.bias"][0])

    def compute(self, state: SpeechState) -> float:
        """Return the probability, from 0 to 1, that ``frame`` is speech, after what ``state`` heard."""
        self._context[:] = state.context
        self._mirror[:] = self._mirrored
        state.context[:] = self._newest
        self._windowed[:] = self._windows
        self._windowed.dot(self._basis, self._products)
        self._absolute(self._spectrum, out=self._inner_magnitudes)
        self._convolve()
        self._step(state)
        self._maximum(state.hidden, self._zero, out=self._positive)
        return 1 / (1 + math.exp(-float(self._positive.dot(self._last)) - self._last_bias))

    def _convolve(self) -> None:
        """Compute the four convolutions, up to the input of the cell."""
        first, second, third, fourth = self._weights
        self._first_taps[:] = self._first_view
        self._first_input.dot(first, self._first)
        self._maximum(self._first, self._zero, out=self._first_inner)
        self._second_taps[:] = self._second_view
        self._second_input.dot(second, self._second)
        self._maximum(self._second, self._zero, out=self._third_rows)
        self._third_input.dot(third, self._third)
        self._maximum(self._third, self._zero, out=self._fourth_taps)
        self._fourth_input.dot(fourth, self._fourth)
        self._maximum(self._fourth, self._zero, out=self._cell_heard)

    def _step(self, state: SpeechState) -> None:
        """Advance the LSTM cell."""
        cell, hidden = state.cell, state.hidden
        self._cell_hidden[:] = hidden
        self._cell_input.dot(self._gates, self._activations)
        self._tanh(self._activations, out=self._activations)
        self._logistic += self._one
        self._logistic *= self._half
        cell *= self._forget_gate
        self._input_gate *= self._candidate
        cell += self._input_gate
        self._tanh(cell, out=hidden)
        hidden *= self._output_gate


def _make_array(*shape: int) -> Array:
    import numpy as np

    array: Array = np.zeros(shape, np.float32)
    return array


def _view_rows(array: Array, rows: int, width: int, step: int) -> Array:
    """Return overlapping rows of ``width`` values, which begin ``step`` values apart."""
    import numpy as np

    view: Array = np.lib.stride_tricks.as_strided(array, (rows, width), (step * 4, 4))
    return view


def _make_input(rows: int, width: int) -> tuple[Array, Array]:
    """Return the input of a product, whose last column is ones, and its other columns."""
    import numpy as np

    whole: Array = np.ones((rows, width + 1), np.float32)
    return whole, whole[:, :-1]
