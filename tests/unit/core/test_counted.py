"""What is counted, in English."""

import pytest

from chopmark.core.counted import counted, in_minutes, in_seconds
from chopmark.core.types import text
from chopmark.web.i18n import Lang, Translator, load_catalogues


def test_one_is_one_and_everything_else_is_many():
    assert [counted(n, "customer") for n in (0, 1, 2, 21)] == [
        "0 customers",
        "1 customer",
        "2 customers",
        "21 customers",
    ]
    assert [counted(n, "leaf", "leaves") for n in (1, 2)] == ["1 leaf", "2 leaves"]
    assert counted(12345, "line", form=",") == "12,345 lines"


@pytest.mark.parametrize(("lang", "one", "many"), [("en", "1 second", "2 minutes"), ("zh-TW", "1 秒", "2 分鐘")])
def test_a_wait_is_said_in_the_language_of_its_sentence(lang: str, one: str, many: str):
    translator = Translator(load_catalogues())
    assert translator.translate(in_seconds(1), Lang(lang)) == one
    assert translator.translate(in_minutes(2), Lang(lang)) == many
    said = text("This client asks for tickets too fast. Please wait %(wait)s.", wait=in_seconds(1))
    assert one in translator.translate(said, Lang(lang))
