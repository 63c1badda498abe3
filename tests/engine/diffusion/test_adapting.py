"""LoRAs, textual inversions and ControlNets: put on for a job, gone after it, refused where they don't fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from diffusers import ControlNetModel
from safetensors.torch import load_file, save_file

from meshgen.engine.diffusion import adapting
from meshgen.engine.diffusion.adapting import Files
from meshgen.engine.port import Control, EngineError, Inversion, Lora
from tests.engine.pictures import encoded, far, scene, work
from tests.engine.tiny_pipelines import FAMILIES, WIDTH, save_tiny_inversion
from tests.engine.tiny_studio import CONTROL, LORA, LORA_2, VECTORS, files, model, picture, studio, told

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

ONE, TWO = Lora("one", LORA), Lora("two", LORA_2)
CANNY = Control("canny", CONTROL, encoded(scene()))


@pytest.mark.parametrize("family", FAMILIES)
def test_loras_act_by_their_weights_and_are_gone_after_the_job(family: str) -> None:
    known = files(family)
    plain = picture(work(), family, known)
    loras = {
        "one": (ONE,),
        "two": (TWO,),
        "both": (ONE, TWO),
        "half": (replace(ONE, weight=0.5),),
        "denoiser alone": (replace(ONE, clip_weight=0.0),),
        "text alone": (replace(ONE, weight=0.0),),
    }
    drawn = {name: picture(work(loras=some), family, known) for name, some in loras.items()}
    alike = [(a, b) for a in drawn for b in drawn if a < b and far(drawn[a], drawn[b]) == 0]
    assert alike == [] and all(far(plain, one) > 0 for one in drawn.values())
    assert far(plain, picture(work(), family, known)) == 0, "nothing leaks into the next job"
    assert far(drawn["one"], picture(work(loras=(ONE,)), family, known)) == 0
    assert far(plain, picture(work(loras=(replace(ONE, weight=0.0, clip_weight=0.0),)), family, known)) <= 1


def test_only_a_few_loras_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapting, "KEPT_LORAS", 1)
    known, plain = files("sd1"), picture(work())
    first = picture(work(loras=(ONE,)), files=known)
    picture(work(loras=(TWO,)), files=known)
    assert far(plain, picture(work())) == 0
    assert [len(names) for names in studio().load(model("sd1")).pipe.get_list_adapters().values()] == [1, 1]
    assert far(first, picture(work(loras=(ONE,)), files=known)) == 0


def test_loras_as_trainers_write_them(tmp_path: Path) -> None:
    """kohya's names, with alpha."""
    ours, theirs = load_file(files("sd1")[LORA.hex()]["path"]), {}
    for name, value in ours.items():
        owner, _, rest = name.partition(".")
        place, half = rest.replace(".lora_A.weight", "|lora_down").replace(".lora_B.weight", "|lora_up").split("|")
        if owner == "unet":
            key = "lora_unet_" + place.replace(".", "_")
        else:
            key = "lora_te_text_model_" + place.removeprefix("text_model.").replace(".", "_")
        theirs |= {f"{key}.{half}.weight": value, f"{key}.alpha": torch.tensor(4.0)}
    save_file(theirs, tmp_path / "kohya.safetensors")
    digest = b"k" * 32
    known = {**files("sd1"), digest.hex(): {"path": str(tmp_path / "kohya.safetensors")}}
    by_kohya = picture(work(loras=(Lora("kohya", digest),)), files=known)
    assert far(by_kohya, picture(work(loras=(ONE,)), files=known)) <= 1


@pytest.mark.parametrize("other", ["sdxl", "flux", "noise", "missing"])
def test_a_lora_that_does_not_fit_is_refused_and_leaves_no_trace(other: str, tmp_path: Path) -> None:
    plain, digest = picture(work()), other.encode().ljust(32)
    path = Path(files(other)[LORA.hex()]["path"]) if other in FAMILIES else tmp_path / "it.safetensors"
    if other == "noise":
        path.write_bytes(b"\0" * 64)
    known: Files = {**files("sd1"), digest.hex(): {"path": str(path), "family": other if other in FAMILIES else ""}}
    for loras in ((Lora("bad one", digest),), (ONE, Lora("bad one", digest))):
        with pytest.raises(EngineError, match="the LoRA bad one does not fit this model") as caught:
            told(work(loras=loras), files=known)
        assert caught.value.reason == "bad_input"
        assert far(plain, picture(work())) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"loras": (Lora("it", b"?" * 32),)},
        {"inversions": (Inversion("it", b"?" * 32),)},
        {"control": replace(CANNY, digest=b"?")},
    ],
)
def test_what_is_not_here_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"(it|canny) is not on this worker") as caught:
        told(work(**changes))
    assert caught.value.reason == "unsupported"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_inversions_change_the_picture(family: str, tmp_path: Path) -> None:
    path = save_tiny_inversion(tmp_path / "it.safetensors", {"clip_l": WIDTH, "clip_g": WIDTH})
    known = {VECTORS.hex(): {"path": str(path)}}
    job, it = work(prompt="a red thing"), Inversion("thing", VECTORS)
    plain = picture(job, family)
    assert far(plain, picture(replace(job, inversions=(it,)), family, known)) > 0
    assert far(plain, picture(job, family)) == 0


def test_an_inversion_for_other_widths_is_refused(tmp_path: Path) -> None:
    path = save_tiny_inversion(tmp_path / "it.safetensors", {"emb_params": WIDTH + 1})
    with pytest.raises(EngineError, match="the textual inversion it does not fit this model"):
        told(work(inversions=(Inversion("it", b"w"),)), files={b"w".hex(): {"path": str(path)}})


@pytest.mark.parametrize("family", FAMILIES)
def test_controlnets_lead_by_their_weight(family: str) -> None:
    plain = picture(work(), family)
    led, less, by_other = (
        picture(work(control=control), family, files(family))
        for control in (CANNY, replace(CANNY, weight=0.3), replace(CANNY, image=encoded(scene().rotate(90)), is_map=True))
    )
    assert min(far(plain, led), far(led, less), far(led, by_other)) > 0
    assert far(led, picture(work(control=CANNY), family, files(family))) == 0
    if family != "flux":  # which draws from the seed for the map first
        assert far(plain, picture(work(control=replace(CANNY, weight=0.0)), family, files(family))) <= 1
    assert far(plain, picture(work(), family)) == 0


def test_a_controlnet_in_one_file_takes_the_models_shape(tmp_path: Path) -> None:
    folder = Path(files("sd1")[CONTROL.hex()]["path"])
    pipe = studio().load(model("sd1")).pipe
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 12), load_weights_from_unet=False)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    known = {CONTROL.hex(): {"path": str(tmp_path / "net.safetensors")}, b"2".hex(): {"path": str(folder)}}
    assert far(picture(work()), picture(work(control=replace(CANNY, digest=b"2")), files=known)) > 0
    assert far(picture(work()), picture(work(control=CANNY), files=known)) == 0, "untrained, it says nothing"


@pytest.mark.parametrize("fault", ["another family", "another size", "another text", "no config", "unknown class", "noise"])
def test_controlnets_that_don_t_fit_are_refused(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    if fault == "another family":
        path = Path(files("flux")[CONTROL.hex()]["path"])
    elif fault == "noise":
        path.write_bytes(b"\0" * 64)
    elif fault == "another text":
        unet = studio().load(model("sdxl")).pipe.unet
        ControlNetModel.from_unet(unet, load_weights_from_unet=False).save_pretrained(path)
    else:
        shutil.copytree(files("sd1")[CONTROL.hex()]["path"], path)
        config = json.loads((path / "config.json").read_text())
        changed = {"another size": {"block_out_channels": [16, 16]}, "unknown class": {"_class_name": "UNet2DModel"}}
        (path / "config.json").write_text(json.dumps(config | changed.get(fault, {})))
        if fault == "no config":
            (path / "config.json").unlink()
    with pytest.raises(EngineError, match=r"the ControlNet canny (does not fit|is made for another family)") as caught:
        told(work(control=replace(CANNY, digest=b"f")), files={b"f".hex(): {"path": str(path)}})
    assert caught.value.reason == "unsupported"
    assert picture(work()).any()
