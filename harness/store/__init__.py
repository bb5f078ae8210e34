"""The catalogue over the bundles: build, query, load."""
