"""The networks: which there are, what their classes are called, and how they are built."""
