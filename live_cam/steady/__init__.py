"""What is remembered from frame to frame, so that a still scene stands still."""
