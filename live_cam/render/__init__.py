"""Drawing: the heatmap over the image, the caption, and the texts of viewers."""
