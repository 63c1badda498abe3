"""AI Horde's own client library against a node, as its users write it. A program of its own: the library reads AI_HORDE_URL
when it is imported, sleeps between its polls, and has a log of its own.

Each line that it prints is ``{"did": ..., ...}``; the test that runs it judges them.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from io import BytesIO
from typing import Any

from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPIClientSession, AIHordeAPIManualClient, AIHordeAPISimpleClient
from horde_sdk.ai_horde_api.apimodels import (
    AlchemyAsyncRequest,
    AlchemyAsyncRequestFormItem,
    DeleteImageGenerateRequest,
    FindUserRequest,
    HordePerformanceRequest,
    ImageGenerateAsyncRequest,
    ImageGenerateStatusResponse,
    ImageGenerationInputPayload,
    KudosTransferRequest,
    TextGenerateAsyncRequest,
)
from horde_sdk.ai_horde_api.apimodels.generate.text._async import ModelGenerationInputKobold
from PIL import Image

KEY = os.environ["HORDE_KEY"]
MODEL = "meshgen-mini"
SCENE = "a red circle above a blue square on a yellow background"
SIDE = 64
SIMPLE = AIHordeAPISimpleClient()


def tell(did: str, **found: Any) -> None:
    print(json.dumps({"did": did} | found), flush=True)


def wish(prompt: str = SCENE, **more: Any) -> ImageGenerateAsyncRequest:
    params = {"width": SIDE, "height": SIDE, "steps": 12, "cfg_scale": 3.0, "seed": "7", "sampler_name": "k_euler"}
    params |= more.pop("params", {})
    payload = ImageGenerationInputPayload.model_validate(params)
    return ImageGenerateAsyncRequest(
        apikey=KEY, prompt=prompt, models=[MODEL], params=payload, nsfw=False, slow_workers=True, **more
    )


def pictures(status: ImageGenerateStatusResponse) -> list[Image.Image]:
    return [SIMPLE.download_image_from_generation(one).convert("RGB") for one in status.generations]


def encoded(picture: Image.Image) -> str:
    file = BytesIO()
    picture.save(file, "WEBP", lossless=True)
    return base64.b64encode(file.getvalue()).decode()


def drawn(did: str, request: ImageGenerateAsyncRequest) -> list[Image.Image]:
    checks: list[int] = []
    status, job_id = SIMPLE.image_generate_request(request, check_callback=lambda check: checks.append(check.wait_time or 0))
    found = pictures(status)
    tell(
        did,
        id=str(job_id),
        count=len(found),
        sizes=[picture.size for picture in found],
        seeds=[one.seed for one in status.generations],
        states=[one.state for one in status.generations],
        worker=[one.worker_name for one in status.generations],
        model=[one.model for one in status.generations],
        by_url=[one.img.startswith("http") for one in status.generations],
        kudos=status.kudos,
        waits=checks,
        pictures=[base64.b64encode(picture.tobytes()).decode() for picture in found],
    )
    return found


def look_around() -> None:
    tell("heartbeat", message=SIMPLE.heartbeat_request().message)
    models = SIMPLE.image_status_models_all().root
    tell("models", names=[model.name for model in models], counts=[model.count for model in models])
    tell("model", name=SIMPLE.image_status_models_single(MODEL)[0].name)
    workers = SIMPLE.workers_all_details().root
    tell("workers", names=[worker.name for worker in workers], models=[worker.models for worker in workers])
    tell("worker", name=SIMPLE.worker_details(workers[0].id_).name, by_name=SIMPLE.worker_details_by_name(workers[0].name).name)
    totals, by_model = SIMPLE.image_stats_totals(), SIMPLE.image_stats_models()
    tell("stats", images=totals.total.images if totals.total else None, models=by_model.model_dump(mode="json"))
    SIMPLE.text_stats_totals(), SIMPLE.text_stats_models(), SIMPLE.get_news()
    with AIHordeAPIClientSession() as session:
        performance = session.submit_request(
            HordePerformanceRequest(), HordePerformanceRequest.get_default_success_response_type()
        )
        tell("performance", workers=performance.worker_count)
        user = session.submit_request(FindUserRequest(apikey=KEY), FindUserRequest.get_default_success_response_type())
        tell("find_user", username=user.username, kudos=user.kudos, id=user.id_)


def draw() -> None:
    tell("dry_run", kudos=SIMPLE.image_generate_request_dry_run(wish(dry_run=True)).kudos)
    (scene,) = drawn("txt2img by url", wish())
    drawn("txt2img in the answer", wish(r2=False))
    other = SCENE.replace("red", "green")
    drawn(
        "img2img",
        wish(other, source_image=encoded(scene), source_processing="img2img", params={"denoising_strength": 0.6}),
    )
    mask = Image.new("L", scene.size, 0)
    mask.paste(255, (0, 0, SIDE, SIDE // 2))
    drawn(
        "inpainting",
        wish(
            other,
            source_image=encoded(scene),
            source_mask=encoded(mask),
            source_processing="inpainting",
            params={"denoising_strength": 1.0},
        ),
    )
    drawn("four at once", wish(params={"n": 4}))


def cancel() -> None:
    client = AIHordeAPIManualClient()
    asked = client.submit_request(
        wish(params={"steps": 400, "n": 8}), ImageGenerateAsyncRequest.get_default_success_response_type()
    )
    time.sleep(1)
    ended = client.submit_request(
        DeleteImageGenerateRequest(id=asked.id_), DeleteImageGenerateRequest.get_default_success_response_type()
    )
    tell("cancel", generations=len(ended.generations), done=ended.done)


def forms_and_texts() -> None:
    source = encoded(Image.new("RGB", (SIDE, SIDE), "teal"))
    forms = [AlchemyAsyncRequestFormItem(name=name) for name in ("caption", "nsfw", "interrogation", "RealESRGAN_x4plus")]
    status, _ = SIMPLE.alchemy_request(AlchemyAsyncRequest(apikey=KEY, forms=forms, source_image=source))
    tell("alchemy", state=status.state, forms=[form.model_dump(mode="json") for form in status.forms])
    payload = ModelGenerationInputKobold(max_length=40, max_context_length=1024)
    status, _ = SIMPLE.text_generate_request(
        TextGenerateAsyncRequest(apikey=KEY, prompt="Once", models=["koboldcpp/tiny-1b"], params=payload)
    )
    tell("text", texts=[one.text for one in status.generations], worker=[one.worker_name for one in status.generations])


def give(username: str) -> None:
    with AIHordeAPIClientSession() as session:
        request = KudosTransferRequest(apikey=KEY, username=username, amount=2)
        given = session.submit_request(request, request.get_default_success_response_type())
        tell("transfer", transferred=getattr(given, "transferred", None), answer=given.model_dump(mode="json"))


if __name__ == "__main__":
    look_around()
    draw()
    cancel()
    forms_and_texts()
    give(sys.argv[1])
