"""Tables, and the sections of `show`, as Ollama's own command printed them."""

from ollmlx.cli.listing import processor
from ollmlx.cli.showing import overview, plain
from ollmlx.cli.tables import table, width


def test_every_cell_is_padded_and_followed_by_four_blanks_and_the_last_title_by_one():
    assert table([("a", "bcd")], ("NAME", "ID")) == "NAME    ID  \na       bcd    \n"
    assert table([], ("NAME", "ID")) == "NAME    ID \n"


def test_wide_characters_take_two_columns():
    assert width("模型e\N{COMBINING ACUTE ACCENT}") == 5
    assert table([("模型",), ("abc",)]) == "模型    \nabc     \n"


def test_a_cell_of_words_is_broken_as_evenly_as_can_be_and_a_word_never():
    rows = [("x" * 40, "the quick brown fox jumps over the lazy dog and runs away")]
    lines = table(rows).splitlines()
    assert [line[44:].rstrip() for line in lines] == [
        "the quick brown fox jumps over",
        "the lazy dog and runs away",
    ]
    assert lines[0].startswith("x" * 40)


def test_show_is_laid_out_in_sections():
    shown = overview(
        {
            "model_info": {
                "general.architecture": "llama",
                "llama.context_length": 131072,
                "llama.embedding_length": 3072,
            },
            "details": {"parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
            "capabilities": ["completion", "tools"],
            "parameters": 'stop                           "<|eot_id|>"\ntemperature  1',
            "license": "\nONE\n\n two\nthree\n",
        }
    )
    assert shown.replace(" \n", "$\n") == (
        "  Model\n"
        "    architecture        llama    $\n"
        "    parameters          3.2B     $\n"
        "    context length      131072   $\n"
        "    embedding length    3072     $\n"
        "    quantization        Q4_K_M   $\n"
        "\n"
        "  Capabilities\n"
        "    completion   $\n"
        "    tools        $\n"
        "\n"
        "  Parameters\n"
        '    stop           "<|eot_id|>"   $\n'
        "    temperature    1              $\n"
        "\n"
        "  License\n"
        "    ONE   $\n"
        "    two   $\n"
        "    ...   $\n"
        "\n"
    )


def test_metadata_shows_the_beginning_of_lists_and_numbers_as_go_does():
    info = {"a.list": [1, 2, 3, 4, 5, 6], "b": 8_000_000_000, "c": True, "d": [], "e": "text"}
    lines = overview({"model_info": info, "details": {}}, verbose=True).split("Metadata\n")[1]
    assert [line.split(maxsplit=1)[1].rstrip() for line in lines.strip().splitlines()] == [
        "[1 2 3 ...+3 more]",
        "8e+09",
        "true",
        "[]",
        "text",
    ]
    assert plain([42, 3117.0]) == "[42 3117]"


def test_where_a_model_lies():
    assert processor(100, 0) == "100% CPU"
    assert processor(100, 100) == "100% GPU"
    assert processor(100, 52) == "48%/52% CPU/GPU"
    assert processor(100, 101) == "Unknown"
    assert processor(0, 0) == "100% CPU"
