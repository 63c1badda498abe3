"""What lies on this machine: models and adapters, told apart and known by their files' digests. Read without torch."""
