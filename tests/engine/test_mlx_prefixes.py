"""Which cache serves a prompt, and which is forgotten first."""

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, KVCache

from ollmlx.engine.mlx.prefixes import Prefixes

ROOM = 1 << 20


def _cache(tokens: list[int]) -> list[KVCache]:
    """One layer of one head that holds the tokens themselves; 8 bytes a token."""
    layer = KVCache()
    values = mx.array(tokens, mx.float32).reshape(1, 1, -1, 1)
    layer.keys, layer.values, layer.offset = values, values, len(tokens)
    return [layer]


def _held(cache: list[KVCache]) -> list[int]:
    keys = cache[0].keys[0, 0, : cache[0].offset, 0]
    return [int(key) for key in keys.tolist()]


def test_nothing_known_saves_nothing() -> None:
    assert Prefixes(ROOM).find([1, 2, 3]) == (None, 0)


def test_a_longer_prompt_is_served_by_all_that_was_read() -> None:
    prefixes = Prefixes(ROOM)
    prefixes.put([1, 2, 3], _cache([1, 2, 3]))
    cache, saved = prefixes.find([1, 2, 3, 4, 5])
    assert saved == 3
    assert _held(cache) == [1, 2, 3]


def test_a_known_prompt_leaves_one_token_to_read() -> None:
    prefixes = Prefixes(ROOM)
    prefixes.put([1, 2, 3], _cache([1, 2, 3]))
    cache, saved = prefixes.find([1, 2, 3])
    assert saved == 2
    assert _held(cache) == [1, 2]


def test_a_diverging_prompt_is_served_up_to_where_it_parts() -> None:
    prefixes = Prefixes(ROOM)
    prefixes.put([1, 2, 3, 4], _cache([1, 2, 3, 4]))
    prefixes.put([9, 9], _cache([9, 9]))
    cache, saved = prefixes.find([1, 2, 7, 8])
    assert saved == 2
    assert _held(cache) == [1, 2]
    assert prefixes.find([1, 2, 3, 4, 5])[1] == 4  # the one that was kept is whole


def test_a_cache_that_cannot_be_cut_serves_whole_or_not_at_all() -> None:
    prefixes = Prefixes(ROOM)
    state = ArraysCache(size=1)
    state[0] = mx.zeros(4)
    prefixes.put([1, 2, 3], [state])
    assert prefixes.find([1, 2, 3, 4])[1] == 3
    assert prefixes.find([1, 2, 3]) == (None, 0)
    assert prefixes.find([1, 2, 4]) == (None, 0)


def test_a_longer_cache_replaces_its_own_beginnings() -> None:
    prefixes = Prefixes(ROOM)
    prefixes.put([1, 2], _cache([1, 2]))
    prefixes.put([1, 2, 3], _cache([1, 2, 3]))
    assert prefixes.nbytes == 3 * 8


def test_beyond_the_budget_the_least_recently_used_goes() -> None:
    prefixes = Prefixes(7 * 8)
    for first in (1, 2, 3):
        prefixes.put([first, 0], _cache([first, 0]))
    assert prefixes.find([1, 0, 5])[1] == 2
    prefixes.put([4, 0], _cache([4, 0]))
    assert prefixes.nbytes == 6 * 8
    assert prefixes.find([2, 0, 5]) == (None, 0)
    assert prefixes.find([1, 0, 5])[1] == 2


def test_what_is_larger_than_the_budget_is_not_kept() -> None:
    prefixes = Prefixes(8)
    prefixes.put([1, 2, 3], _cache([1, 2, 3]))
    assert prefixes.nbytes == 0
