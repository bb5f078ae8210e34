"""What several backends or converters share; imported by them alone."""
