"""From a model to an explainer: loading, building, caching."""
