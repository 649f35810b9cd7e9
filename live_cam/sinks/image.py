"""One picture into a file, in the format its name ends with."""

from __future__ import annotations

from pathlib import Path

import cv2

from live_cam.errors import SinkError
from live_cam.frame import Result
from live_cam.sinks.partial import PartialFile, put_in_place

# By ending: OpenCV warns of a setting that is not the format's own.
_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}


class ImageSink(PartialFile):
    """Writes the drawn frame as a picture.

    Args:
        path: Ends in what OpenCV can write: .jpg, .png, .webp, .bmp, .tiff, ...
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The ending is unknown or the file cannot be made; nothing is left behind.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        if not is_picture_name(Path(path)):
            raise SinkError(f"cannot write a picture into {path}; its name must end in .jpg, .png, .webp, .bmp, .tiff")
        super().__init__(path, overwrite)
        self._has_written = False

    def write(self, result: Result) -> None:
        """Encodes the drawn frame.

        Raises:
            SinkError: It is the second one, the format cannot hold it, or the disk takes no more.
        """
        if self._has_written:
            raise SinkError(f"{self.path} holds one picture only; for several give a name that ends in .mp4")
        try:
            suffix = self.path.suffix.lower()
            is_encoded, data = cv2.imencode(suffix, result.drawn.image, _QUALITY.get(suffix, []))
        except cv2.error:
            is_encoded = False
        if not is_encoded:
            height, width = result.drawn.image.shape[:2]
            raise SinkError(f"{self.path.suffix} cannot hold a picture of {width}x{height}; try a name ending in .png")
        try:
            self._has_written = True
            self.partial_path.write_bytes(data.tobytes())
        except OSError as error:
            self.partial_path.unlink(missing_ok=True)
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from None

    def finish(self) -> None:
        """Gives the picture its name; without one there is no file.

        Raises:
            SinkError: That failed; the picture stays under its partial name.
        """
        if self._has_written:
            put_in_place(self.partial_path, self.path, self._overwrite)


def is_picture_name(path: Path) -> bool:
    """Whether OpenCV writes pictures into files that are called so."""
    return bool(path.suffix) and cv2.haveImageWriter(f"any{path.suffix.lower()}")
