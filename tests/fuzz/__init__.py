"""Hostile bytes for everything that decodes what others send."""
