"""A hostile chat template neither fills the memory nor runs for ever."""

import time

import pytest

from ollmlx.errors import OllmlxError
from ollmlx.prompt import sandbox
from ollmlx.prompt.render import Conversation, JinjaTemplate
from ollmlx.wire.native import Message

ONE = Conversation([Message("user", "x" * 1000)])
DOUBLING = "{% set n = namespace(a='aa') %}{% for i in range(60) %}{% set n.a = EXPR %}{% endfor %}"


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ '%1000000000d' % 5 }}",
        "{{ '%1000000000d' | format(5) }}",
        "{{ '{:>1000000000}'.format(5) }}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{{ 'a\nb' | indent(1000000000) }}",
        "{% set r = range(999999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        "{% set r = range(999999) %}{% for a in r %}{% for b in r if 0 %}{% endfor %}{% endfor %}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:{}}'.format(1, 1000000000) }}",
        "{{ [1] | tojson(indent=1000000000) }}",
        "{{ (('x' * 9999999).join(['a'] * 1000)) | length }}",
        "{{ range(999999) | join('x' * 9999) | length }}",
        "{{ ('x' * 9999999).translate({120: 'x' * 9999999}) }}",
        "{% set n = namespace(a=3) %}{% for i in range(60) %}{% set n.a = n.a * n.a %}{% endfor %}",
        "{% set q = [] %}{% for i in range(999) %}{% set _ = q.append('x' * 9999999) %}"
        "{% endfor %}",
        "{% set a = ['x'] * 9999 %}{% set a = [a] * 9999 %}{{ a }}",
        "{% set a = ['x'] * 9999 %}{% set a = [a] * 9999 %}{{ a | tojson }}",
        "{% set a = ['x'] * 9999 %}{% set a = [a] * 9999 %}{{ a ~ '' }}",
        "{% set a = ['x'] * 9999 %}{% set a = [a] * 9999 %}{{ {1: a}.items() }}",
        "{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
        "{{ lipsum(n=9999999) }}",
        DOUBLING.replace("EXPR", "n.a + n.a"),
        DOUBLING.replace("EXPR", "n.a ~ n.a"),
        DOUBLING.replace("EXPR", "n.a | replace('a', n.a)"),
        DOUBLING.replace("EXPR", "n.a.replace('a', n.a)"),
        DOUBLING.replace("EXPR", "[n.a, n.a] | join"),
        DOUBLING.replace("EXPR", "''.join([n.a, n.a])"),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for i in range(99999) %}{{ messages[0].content }}{% endfor %}",
    ],
)
def test_a_hostile_template_fails_soon(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(OllmlxError):
        JinjaTemplate(text).render(ONE)
    assert time.perf_counter() - start < 5


def test_a_rendering_ends_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MOST_SECONDS", 0.1)  # the test would last as long
    template = JinjaTemplate("{% set r = range(9999) | list %}{{ r | select('in', r) | list }}")
    with pytest.raises(OllmlxError, match="too many steps"):
        template.render(ONE)


def test_ordinary_filters_and_methods_work_as_ever() -> None:
    template = JinjaTemplate(
        "{{ [1, 2] | join(', ') }} {{ 'a%s' | format(1) }} {{ '{}'.format(2) }}"
        " {{ 'a' ~ 3 ~ none }} {{ 'a\nb' | indent(2) }} {{ 'abc'.replace('b', 'x') }}"
        " {{ ','.join(['x', 'y']) }} {{ 'abc'[1:] }} {{ 2 ** 10 }} {{ '-' * 3 }} {{ 'a' + 'b' }}"
    )
    assert template.render(ONE) == "1, 2 a1 2 a3None a\n  b axc x,y bc 1024 --- ab"


def test_a_template_may_leave_a_loop() -> None:
    template = JinjaTemplate(
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
        "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    )
    assert template.render(ONE) == "02"


def test_json_keeps_letters_of_every_language_and_the_order_of_keys() -> None:
    template = JinjaTemplate("{{ {'b': 'é', 'a': '<'} | tojson }}")
    assert template.render(ONE) == '{"b": "é", "a": "<"}'
