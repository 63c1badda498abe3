"""Text: completions by causal language models. Importing this package must stay cheap: torch is for :mod:`.scribe` and below."""
