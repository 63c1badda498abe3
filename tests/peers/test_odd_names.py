"""Names that nobody can have are asked for like any others: the answer is that nobody has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.peers.request import (
    ControlWish,
    FormRequest,
    ImageRequest,
    InversionWish,
    LoraWish,
    Request,
    RequestError,
    TextRequest,
)
from meshgen.peers.requester import check_request


@given(st.text(max_size=70))
def test_any_name_is_taken_or_refused_in_words(name: str) -> None:
    requests: list[Request] = [
        ImageRequest("x", loras=(LoraWish(name),)),
        ImageRequest("x", inversions=(InversionWish(name),)),
        ImageRequest("x", control=ControlWish(name, b"x")),
        ImageRequest("x", post=(name,)),
        ImageRequest("x", model=name),
        ImageRequest("x", scheduler=name),
        TextRequest("x", model=name, stops=(name,)),
        FormRequest(name, b"x"),
    ]
    for request in requests:
        try:
            check_request(request)
        except RequestError as error:
            assert str(error)


def test_a_name_in_another_alphabet_is_no_fault() -> None:
    check_request(ImageRequest("x", loras=(LoraWish("Motörhead"),)))
    with pytest.raises(RequestError):
        check_request(ImageRequest(" "))
