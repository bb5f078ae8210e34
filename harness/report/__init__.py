"""Pages and tables made from analysis results."""
