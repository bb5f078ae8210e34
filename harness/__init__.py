"""Does an image model give the same answers, as fast, in every environment it may run in?"""

__version__ = "0.1.0"
