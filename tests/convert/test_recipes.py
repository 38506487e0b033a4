import pytest

from ollmlx.convert.recipes import Recipe, UnknownRecipe, recipe


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("int4", Recipe(4, 64)),
        ("INT3-g32", Recipe(3, 32)),
        ("mxfp4", Recipe(4, 32, "mxfp4")),
        ("nvfp4", Recipe(4, 16, "nvfp4")),
        ("mixed_2_6", Recipe(2, 64, mixed="mixed_2_6")),
        ("bf16", Recipe(dtype="bfloat16")),
        ("q8_0", Recipe(8, 32)),
        ("Q4_K_M", Recipe(4, 64, mixed="mixed_4_6")),
    ],
)
def test_a_name_is_a_recipe_whatever_its_letter_case(name: str, wanted: Recipe):
    assert recipe(name) == wanted


@pytest.mark.parametrize("name", ["", "int7", "int4-g16", "q9", "mixed_9_9", "IQ2_XXS"])
def test_another_name_is_refused(name: str):
    with pytest.raises(UnknownRecipe, match="unsupported quantization type"):
        recipe(name)
