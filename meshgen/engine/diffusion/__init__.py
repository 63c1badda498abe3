"""The child's side of the engine: what a device's process does with torch and diffusers. The package itself imports neither."""
