"""A hostile chat template neither fills the memory nor runs for ever."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ollmlx.errors import OllmlxError
from ollmlx.prompt import sandbox
from ollmlx.prompt.jinja import Source
from ollmlx.prompt.render import Conversation, JinjaTemplate
from ollmlx.wire.native import Message

ONE = Conversation([Message("user", "x" * 1000)])
PAIRS = (
    "{% set n = namespace(a=[1], b=[1], t=(1,)) %}{% for i in range(60) %}"
    "{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% set n.t = (n.t, n.t) %}{% endfor %}"
)
LONG = "{% set s = 'x' * 9999999 ~ 'a' %}{% set t = 'x' * 9999999 ~ 'a' %}"
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
        "{{ a }}" * 99999,
        "{{ lipsum(n=9999999) }}",
        "{% set n = namespace(a='aa') %}{% for i in range(60) %}{% set n.a %}{{ n.a }}{{ n.a }}"
        "{% endset %}{% endfor %}",
        "{% set s %}{% for i in range(999999) %}" + "x" * 9999 + "{% endfor %}{% endset %}",
        "{{ ('{0}' * 99999).format('x' * 99999) }}",
        "{{ ('%(a)s' * 99999) % {'a': 'x' * 99999} }}",
        "{{ ('%(a)999d' * 99999) % {'a': 1} }}",
        "{{ ('{0:>999}' * 99999).format(1) }}",
        "{{ ('a ' * 15000) | wordwrap(1, true, 'x' * 30000) }}",
        "{{ (5).to_bytes(10 ** 10, 'big') }}",
        "{% set q = [] %}{% for i in range(9) %}{% set _ = q.append(('a ' * 9999999).split()) %}"
        "{% endfor %}",
        PAIRS + "{{ n.a == n.b }}",
        PAIRS + "{{ n.a in [n.b] }}",
        PAIRS + "{{ [n.a, n.b] | sort }}",
        PAIRS + "{{ {}[n.t] }}",
        LONG + "{{ t in [s] * 99999 }}",
        LONG + "{{ range(99999) | map(attribute='x', default=s) | list }}",
        "{% set n = namespace(b=[1]) %}{% for i in range(6) %}"
        "{% set n.b = range(999) | map(attribute='x', default=n.b) | list %}{% endfor %}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ ('\t' * 999999).expandtabs(999) }}",
        "{{ ('x' * 999999).translate({120: 'x' * 9999}) }}",
        "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
        "{{ [1] | batch(10 ** 9, 0) | list }}",
        "{{ [1] | slice(10 ** 9) | list }}",
        "{{ 1 | round(10 ** 9, 'ceil') }}",
        "{{ ([[1]] * 99999) | sum(start=[]) }}",
        "{{ ('<!-- -->' * 99999) | striptags }}",
        "{{ ('x' * 999999) | wordwrap(1) }}",
        "{{ ('a ' * 9999999) | wordcount }}",
        "{{ ('a ' * 9999999) | title }}",
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
    start = time.thread_time()
    with pytest.raises(OllmlxError):
        JinjaTemplate(text).render(ONE)
    assert time.thread_time() - start < 5


def test_a_rendering_ends_after_some_seconds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"wait": lambda text: time.sleep(0.2) or text}
    monkeypatch.setattr(sandbox, "MOST_SECONDS", 0.1)  # the test would last as long
    template = JinjaTemplate("{% set r = range(9999) | list %}{{ r | select('in', r) | list }}")
    with pytest.raises(OllmlxError, match="too many steps"):
        template.render(ONE)
    loop = "{% for i in range(99) %}{% if i == 0 %}{{ 'a' | wait }}{% endif %}{% endfor %}"
    assert Source(loop, waiting).render({}) == "a"


def test_each_of_two_renderings_at_once_has_all_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MOST_STEPS", 200)
    met = threading.Barrier(2, timeout=30)
    source = Source(
        "{% for i in range(40) %}{% endfor %}{{ a | meet }}{% for i in range(40) %}{% endfor %}",
        {"meet": lambda text: text + str(met.wait() >= 0)},
    )
    with ThreadPoolExecutor(2) as threads:
        assert [*threads.map(source.render, [{"a": "a"}] * 2)] == ["aTrue", "aTrue"]


def test_ordinary_filters_and_methods_work_as_ever() -> None:
    template = JinjaTemplate(
        "{{ [1, 2] | join(', ') }} {{ 'a%s' | format(1) }} {{ '{}'.format(2) }}"
        " {{ 'a' ~ 3 ~ none }} {{ 'a\nb' | indent(2) }} {{ 'abc'.replace('b', 'x') }}"
        " {{ ','.join(['x', 'y']) }} {{ 'abc'[1:] }} {{ 2 ** 10 }} {{ '-' * 3 }} {{ 'a' + 'b' }}"
    )
    assert template.render(ONE) == "1, 2 a1 2 a3None a\n  b axc x,y bc 1024 --- ab"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("3.14159 | round(2)", "3.14"),
        ("[1, 2] | sum", "3"),
        ("[[1], [2]] | sum(start=[])", "[1, 2]"),
        ("[1, 2, 3] | batch(2, 0) | list", "[[1, 2], [3, 0]]"),
        ("[1, 2, 3] | slice(2) | list", "[[1, 2], [3]]"),
        ("'a b c d e f g' | truncate(8, leeway=0)", "a b..."),
        ("'a b' | wordcount", "2"),
        ("('a' | attr('upper'))()", "A"),
        ("'<b>a</b>' | striptags", "a"),
        ("'a b c' | wordwrap(3)", "a b\nc"),
        ("'a'.ljust(3) ~ 'b'.center(3) ~ '7'.zfill(2)", "a   b 07"),
        ("'{a}'.format_map({'a': 1})", "1"),
        ("'abc'.translate({97: 'x'})", "xbc"),
        ("missing | default({'a': 1})", "{'a': 1}"),
        ("', '.join(['ab' * 9999] * 9) | length", "179998"),
    ],
)
def test_what_transformers_templates_may_use_is_there(expression: str, text: str) -> None:
    assert JinjaTemplate("{{ " + expression + " }}").render(ONE) == text


def test_a_long_honest_list_may_be_built_turn_by_turn() -> None:
    template = JinjaTemplate(
        "{% set n = namespace(all=[]) %}{% for m in messages %}{% set n.all = n.all + [m] %}"
        "{% endfor %}{{ n.all == messages }}"
    )
    assert template.render(Conversation([Message("user", "x" * 1000)] * 2000)) == "True"


def test_a_template_may_leave_a_loop() -> None:
    template = JinjaTemplate(
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
        "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    )
    assert template.render(ONE) == "02"


def test_json_keeps_letters_of_every_language_and_the_order_of_keys() -> None:
    template = JinjaTemplate("{{ {'b': 'é', 'a': '<'} | tojson }}")
    assert template.render(ONE) == '{"b": "é", "a": "<"}'
