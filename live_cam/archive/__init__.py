"""An index of many videos: how it is made, by many workers, and how it is searched."""
