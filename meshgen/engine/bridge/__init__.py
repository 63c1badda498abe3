"""Existing AI Horde workers as an engine: they fetch jobs from this node and hand in the results.

| file | what |
|---|---|
| names | what AI Horde's names tell: families, sizes, post-processors, digests |
| popper | a worker as it describes itself, and which jobs it can take |
| payload | a job in AI Horde's words |
| line | jobs that wait, are handed out, or are over |
| pace | how fast the workers are |
| results | what comes back: is it what was asked for? |
| bridge | the engine |

Nothing here speaks HTTP: that is :mod:`meshgen.gateway.horde.popping`.
"""
