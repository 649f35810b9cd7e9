"""Pictures: the heatmap over the frame, the caption, the window's texts."""
