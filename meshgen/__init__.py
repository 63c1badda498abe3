"""meshgen: an image-generation mesh without a broker."""

__version__ = "0.1.0"
