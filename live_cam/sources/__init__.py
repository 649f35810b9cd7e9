"""Sources of frames: videos, cameras, streams, images, the demo."""
