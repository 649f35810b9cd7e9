"""Threads and queues between sources, one explainer, sinks and viewers."""
