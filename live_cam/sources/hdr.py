"""Converts HDR and wide-gamut frames to 8-bit BT.709 pixels, which networks were trained on and screens show.

    signal --transfer curve--> light --BT.2020 to BT.709--> light --tone curve--> BT.1886 signal

Peaks: a video is assumed to be mastered for 1000 cd/m2; white in the result is HDR's reference white, 203 cd/m2
(ITU-R BT.2408-7, table 1). The tone curve is that of ITU-R BT.2390-11, section 5.4.1, applied to each of R, G and B.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SOURCE_PEAK_NITS = 1000.0
WHITE_NITS = 203.0
# Numbers of ISO/IEC 23091-2: TransferCharacteristics and ColorPrimaries.
PQ, HLG = 16, 18
BT2020_PRIMARIES = 9

# BT.2020 RGB to BT.709 RGB, both linear light, as columns R, G, B: the inverse of ITU-R BT.2087-0, equation 4.
_BT2020_TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_LEVELS = 65536
# This many rows at a time stay in the processor's cache.
_BAND_ROWS = 32


def pq_to_nits(signal: np.ndarray) -> np.ndarray:
    """Returns the light in cd/m2 of a PQ signal in [0, 1] (SMPTE ST 2084, equation 4.1)."""
    root = np.power(signal, 1 / _M2)
    return 10_000 * np.power(np.maximum(root - _C1, 0) / (_C2 - _C3 * root), 1 / _M1)


def nits_to_pq(nits: np.ndarray | float) -> np.ndarray:
    """Returns the PQ signal in [0, 1] of light in cd/m2 (SMPTE ST 2084, equation 5.1)."""
    power = np.power(np.asarray(nits, np.float64) / 10_000, _M1)
    return np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def hlg_to_nits(signal: np.ndarray) -> np.ndarray:
    """Returns the light in cd/m2, on a screen of 1000 cd/m2, of an HLG signal in [0, 1] (ITU-R BT.2100-2, table 5).

    Differs from the standard: the system gamma of 1.2 is applied to each of R, G and B, not to luminance. Grays come
    out the same, colors slightly more saturated.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return SOURCE_PEAK_NITS * np.power(scene, 1.2)


def sdr_to_nits(signal: np.ndarray) -> np.ndarray:
    """Returns the light in cd/m2 of an SDR signal in [0, 1] (ITU-R BT.1886) whose white is ``WHITE_NITS``."""
    return WHITE_NITS * np.power(signal, 2.4)


def tone_curve(nits: np.ndarray) -> np.ndarray:
    """Maps light of 0 to 1000 cd/m2 to 0 to 203: unchanged below about 97 cd/m2, then increasingly compressed.

    ITU-R BT.2390-11, section 5.4.1, without a black level lift: a Hermite spline over the PQ signal above the knee.
    """
    peak = float(nits_to_pq(SOURCE_PEAK_NITS))
    signal = np.minimum(nits_to_pq(nits) / peak, 1.0)
    most = float(nits_to_pq(WHITE_NITS)) / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_to_nits(np.where(signal < knee, signal, spline) * peak)


# By transfer characteristic: from signal to light, and from light to the range of the result.
_CURVES: dict[int, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    PQ: (pq_to_nits, tone_curve),
    HLG: (hlg_to_nits, tone_curve),
}


def needs_mapping(transfer: int, primaries: int) -> bool:
    """Returns whether pixels would look wrong if they were shown as BT.709.

    Args:
        transfer: ISO/IEC 23091-2 TransferCharacteristics.
        primaries: ISO/IEC 23091-2 ColorPrimaries.
    """
    return transfer in _CURVES or primaries == BT2020_PRIMARIES


class ToneMapper:
    """Maps the frames of one video with tables that are computed once.

    Args:
        transfer: ISO/IEC 23091-2 TransferCharacteristics of the video; all but PQ and HLG are treated as SDR.
        primaries: ISO/IEC 23091-2 ColorPrimaries of the video.
    """

    def __init__(self, transfer: int, primaries: int) -> None:
        to_nits, curve = _CURVES.get(transfer, (sdr_to_nits, lambda nits: np.minimum(nits, WHITE_NITS)))
        signal = np.arange(_LEVELS) / (_LEVELS - 1)
        # The table of results is indexed by the square root of light, which gives shadows enough entries.
        self._entries_per_root = (_LEVELS - 1) / SOURCE_PEAK_NITS**0.5
        self._light = np.minimum(to_nits(signal), SOURCE_PEAK_NITS).astype(np.float32)
        nits = signal**2 * SOURCE_PEAK_NITS
        self._pixels = np.rint(255 * np.power(np.clip(curve(nits) / WHITE_NITS, 0, 1), 1 / 2.4)).astype(np.uint8)
        matrix = _BT2020_TO_BT709 if primaries == BT2020_PRIMARIES else np.eye(3, dtype=np.float32)
        self._to_bgr = np.ascontiguousarray(matrix[::-1])

    def pixels_bgr(self, rgb: np.ndarray) -> np.ndarray:
        """Maps one frame.

        Args:
            rgb: (height, width, 3) uint16, RGB, the video's signal from 0 to 65535.

        Returns:
            (height, width, 3) uint8, BGR.
        """
        mapped = np.empty(rgb.shape, np.uint8)
        for top in range(0, len(rgb), _BAND_ROWS):
            light: np.ndarray = cv2.transform(cv2.LUT(rgb[top : top + _BAND_ROWS], self._light), self._to_bgr)
            cv2.sqrt(np.maximum(light, 0, out=light), light)
            entry = cv2.multiply(light, self._entries_per_root, dtype=cv2.CV_16U)
            cv2.LUT(entry, self._pixels, mapped[top : top + _BAND_ROWS])
        return mapped
