"""The node's side of the engine: jobs wait in a line, seats take them, each seat a child process on a device. Without torch."""
