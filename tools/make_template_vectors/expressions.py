"""Small templates, one feature each. The context is CONTEXT."""

CONTEXT = {
    "a": "Hello World", "n": 7, "f": 2.5, "t": True, "none_value": None, "empty": "",
    "s": "  padded\ttext \n", "u": "Straße ÉCOLE ǆ ﬁn Σας", "q": "it's \"quoted\" \\ \n \u200b é",
    "xs": [3, 1, 2], "names": ["beta", "Alpha", "gamma", "alpha"], "deep": [[1, "a"], {"k": [None]}],
    "d": {"b": 1, "a": {"x": "y"}, "items": "shadowed", "key with space": 2.0},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25},
               {"name": "Cy", "age": 30, "on": True}],
    "lines": "one\n\ntwo\r\nthree\u2028four", "big": 9007199254740993, "small": 1e-7, "huge": 1e22,
}

EXPRESSIONS = r"""
1 + 2 * 3 - 4
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3
7 / 2, 2 ** 10, 2 ** -1, -2 ** 2, 2 ** 3 ** 2
7.5 // 2, -7.5 % 2, 1e3, 1.5e-7, 10 / 4
1_000 + 0x1F + 0o17 + 0b101
0.1 + 0.2, 1.0, 100000000000000000.0, 1e16, 123456.789, 0.0001, 0.00001, -0.0
1 / 0
1 % 0
2 ** 0.5
true + 1, True == 1, false < true
'a' * 3, 3 * 'ab', [1, 2] * 2, 'a' * -1
'a' + 'b' ~ 1 ~ none ~ true ~ 2.0
'a' + 1
1 + 'a'
[1] + [2], (1,) + (2,)
[1] + (2,)
a ~ n ~ f ~ t ~ none_value ~ missing
not a, not empty, not missing, not xs
a and n, empty or 'x', missing or 'y', none_value and 1
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, '1' == 1
'a' < 'b', 'a' < 'B', [1, 2] < [1, 3], (1, 2) >= (1, 2)
1 < 'a'
none < 1
1 in xs, 9 not in xs, 'ell' in a, 'b' in d, 'zz' in d, '' in empty
1 in a
'x' in missing
xs == [3, 1, 2], xs != (3, 1, 2), d == d, {'a': 1} == {'a': 1.0}
missing == missing2, missing == none, missing != ''
'yes' if n > 5 else 'no'
'yes' if n > 50
('x' if missing else 'y') if t else 'z'
a[0], a[-1], a[1:4], a[::-1], a[::2], a[-5:], a[:-6], a[100:], a[5:2]
u[3:8], u[::-1], u[-3:]
xs[0], xs[-1], xs[1:], xs[::-1], xs[10], xs[-10]
xs[0:2:1], xs[::-2], xs[2::-1], xs[:1:-1]
xs[::0]
xs['0'], xs[1.0], xs[true]
d.b, d['b'], d.a.x, d['a']['x'], d['key with space']
d['items'], d.items is callable
d.missing, d['missing']
d.missing.more
missing.attr
missing['x']
none_value.x
none_value.x.y
missing()
n()
d.items()
d.keys() | list, d.values() | list, d.items() | list
d.get('b'), d.get('zz'), d.get('zz', 5), d.get()
xs.append(4)
d.update({})
d.pop('b')
a.__class__
a.__class__.__mro__
a.upper(), a.lower(), a.title(), a.capitalize()
u.upper(), u.lower(), u.capitalize()
u | title, 'foo-bar (baz) [qux] {x} <y> it\'s' | title, "it's o'neil".title()
s.strip(), s.lstrip(), s.rstrip(), 'xxaxx'.strip('x'), 'abcab'.lstrip('ab'), 'ébé'.strip('é')
a.split(), a.split('o'), a.split('o', 1), a.rsplit('o', 1), '  a  b '.split(), 'a,b,,c'.split(',')
'  a b  c '.split(none, 1), '  a b  c '.rsplit(none, 1), ''.split(), ''.split(',')
a.split('')
a.startswith('Hell'), a.endswith('ld'), a.startswith(('x', 'H')), a.startswith('')
a.startswith(1)
a.replace('o', '0'), a.replace('o', '0', 1), a.replace('', '-'), 'aaa'.replace('aa', 'b')
a.find('o'), a.find('zz'), u.find('É'), a.rfind('o'), a.count('o'), a.count('')
lines.splitlines()
'-'.join(['a', 'b']), ''.join([]), ', '.join('abc')
', '.join([1, 2])
'{} and {}'.format(1, 'x'), '{1}{0}'.format('a', 'b'), '{x}{{}}'.format(x=3)
'%s is %d and %.2f%%' % ('a', 3, 2.567), '%s' % 'x', '%05d|%-4s|%4s|' % (42, 'a', 'b')
'%s %s' % ('a',)
'%d' % 'x'
'abc'.isdigit(), '12'.isdigit(), ' '.isspace(), 'AB'.isupper(), 'ab1'.islower()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt')
xs, deep, d, (1,), (), [], {}, (1, 'a')
[a, q, u, none_value, t, f, big, small, huge]
xs | string, d | string, none_value | string, t | string, missing | string
q | tojson, d | tojson, deep | tojson, people | tojson
d | tojson(indent=2)
deep | tojson(indent=0), [] | tojson(indent=2), {} | tojson(indent=2)
q | tojson(ensure_ascii=true), u | tojson(true), '🎉' | tojson(true)
d | tojson(separators=(',', ':')), {'b': 1, 'a': 2} | tojson(sort_keys=true)
d | tojson(indent='--')
[1.0, 1e22, 1e-7, 100, -0.5, true, none] | tojson
{1: 'a', true: 'b', none: 'c', 2.5: 'd'} | tojson
missing | tojson
[missing] | tojson
range(3) | tojson
s | trim, '  x' | trim | length, 'xxaxx' | trim('x'), missing | trim, n | trim
a | length, u | length, xs | length, d | length, missing | length, a | count
n | length
none_value | length
missing | default('x'), none_value | default('x'), none_value | default('x', true), empty | d('y', boolean=true), missing | d
xs | join, xs | join(', '), names | join('|'), people | join(', ', attribute='name'), 'abc' | join('-'), missing | join
people | selectattr('on') | list, people | selectattr('on', 'defined') | map(attribute='name') | list
people | selectattr('age', 'equalto', 30) | list | length, people | rejectattr('age', '>', 26) | map(attribute='name') | join
people | selectattr('name', 'in', ['bob', 'Cy']) | map(attribute='name') | list
people | selectattr('tags.0', '==', 'x') | list
xs | select('odd') | list, xs | reject('odd') | list, [0, 1, '', 'a'] | select | list, xs | select('>', 1) | list
people | map(attribute='zip', default='-') | list, names | map('upper') | list, names | map('replace', 'a', 'o') | list
people | map(attribute='age') | sum, xs | sum, people | sum(attribute='age'), xs | sum(start=10)
xs | map('nosuch') | list
xs | nosuch
xs is nosuch
'x' if true else (xs | nosuch)
a | upper, a | lower, names[0] | capitalize, u | upper, missing | upper
a | replace('o', '0'), a | replace('l', 'L', 2), n | replace(7, 8)
xs | sort, xs | sort(reverse=true), names | sort, names | sort(case_sensitive=true)
people | sort(attribute='name') | map(attribute='name') | list, people | sort(attribute='age,name', reverse=true) | map(attribute='name') | list
[1, 'a'] | sort
names | unique | list, names | unique(case_sensitive=true) | list, people | unique(attribute='age') | map(attribute='name') | list
xs | reverse | list, a | reverse, d | list, 'abc' | list, missing | list
n | list
xs | first, xs | last, [] | first, [] | last, a | first, a | last, d | first, d | last
(xs | select('odd')) | last
(xs | select('odd')) | length
{'b': 1, 'A': 2, 'c': 0} | dictsort, {'b': 1, 'A': 2} | dictsort(true), {'b': 1, 'a': 2} | dictsort(by='value', reverse=true)
'42' | int, '42.9' | int, 'x' | int, 'x' | int(5), '0x1f' | int(base=16), ' 1_0 ' | int, 3.9 | int, -3.9 | int, none_value | int, true | int
'1.5' | float, 'x' | float, 3 | float, ' 1e3 ' | float, none_value | float(1.5)
missing | int
-5 | abs, 5.5 | abs, true | abs
2.5 | round, 3.5 | round, 2.675 | round(2), 2.1 | round(method='ceil'), 2.9 | round(0, 'floor'), 5 | round, 1234 | round(-2), 1250.0 | round(-2)
'x' | round
'a\nb\n\nc' | indent, 'a\nb' | indent(2, true), 'a\n\nb' | indent(2, blank=true), 'a\nb' | indent('> '), '' | indent
n | indent
[1, 2, 3, 4, 5] | batch(2) | list, [1, 2, 3] | batch(2, 'x') | list
xs | min, xs | max, names | min, people | max(attribute='age'), [] | max
d | items | list, missing | items | list
xs | items | list
('<a href="x">&\'' | e) ~ ('<' | escape) ~ ('<b>' | safe)
'%s-%s' | format(1, 'b')
n is odd, n is even, n is number, f is number, t is number, a is number
n is integer, t is integer, f is integer, f is float, n is float
a is string, none_value is string, missing is defined, missing is undefined, a is not defined
none_value is none, none_value is not none, missing is none, t is true, t is false, n is true, t is boolean, n is boolean
d is mapping, xs is mapping, xs is sequence, a is sequence, d is sequence, n is sequence, missing is sequence
xs is iterable, a is iterable, n is iterable, missing is iterable, (xs | map('abs')) is iterable, (xs | map('abs')) is sequence
n is divisibleby 7, n is divisibleby(2), 'a' is in 'abc', 3 is in xs, n is eq 7, n is ne(7), n is gt 3, n is ge 7, n is lt 3, n is le 7, n is sameas n
a is upper, 'AB' is upper, 'ab' is lower, range is callable, a is callable, 'trim' is filter, 'odd' is test, 'x' is escaped
a is odd
n is equalto 7 and a is string, n is defined or missing
range(5) | list, range(2, 5) | list, range(5, 0, -2) | list, range(0) | list, range(3)[1], range(3) | length, 2 in range(3)
range(100001)
range(1.5)
range(0, 5, 0)
dict(a=1, b='x'), dict({'a': 1}, a=2), dict()
namespace(a=1).a, namespace(a=1).b, namespace({'x': 5}).x
strftime_now('%d %b %Y'), strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %y %I %p')
raise_exception('stop: ' ~ n)
'a' 'b' "c", 'tab\there', "q\"q", 'new\nline', 'u\u00e9\x41', 'back\\slash', 'un\qknown', '\101'
{'a': 1, 'b': [1, {'c': none}],}, [1, 2,], (1, 2,)
{'a': 1, 'a': 2}, {1: 'x'}[1.0], {'k': 1}.k
{[1]: 2}
[1, 2, 3][1:][0], 'abc'[1:][0], (xs)[0], xs.0
1.5.foo
people[0].name, people[0]['name'][0].upper(), people[-1].name|lower|length
a|upper|lower|replace('h', 'J')|trim
-n|abs, -(n|abs), +n, - -n, -f
-a
+a
not n == 7, not (n == 7), not not n
a.upper().lower().title()[0:3]
loop is defined
(1 if n else 2) + 3
xs|length > 2 and (d.b == 1 or false)
a.nosuch, xs.nosuch, n.nosuch, a['upper'](), d['get']('b')
[d.b, d.missing, none_value], missing
big, small, huge, big + 1, big // 2
""".strip("\n").split("\n")

STATEMENTS = [
    "{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}",
    "{% set a, b = 1, [2] %}{{ a }}{{ b }}{% set (c, d) = (3, 4) %}{{ c }}{{ d }}",
    "{% set a, b = [1] %}",
    "{% set x %}  body {{ n }}{% endset %}[{{ x }}]{{ x is string }}",
    "{% set x | upper | trim %}  body {{ n }} {% endset %}[{{ x }}]",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=0) %}{% for i in xs %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = [1] %}{{ ns.a }} {{ ns.b is defined }}",
    "{% set d.x = 1 %}",
    "{% set q2.x = 1 %}",
    "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}{% if none_value %}x{% elif f %}y{% endif %}",
    "{% if n %}{% set inner = 5 %}{% endif %}{{ inner }}",
    "{% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% else %}none{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for x in n %}{% endfor %}",
    "{% for x in none_value %}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }};{% endfor %}{% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for k, v in [[1, 2], [3, 4]] %}{{ k }}-{{ v }} {% endfor %}",
    "{% for k, v in [[1, 2, 3]] %}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}",
    "{% for x in xs if x > 10 %}{% else %}none{% endfor %}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem.x }}{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in xs %}{% for y in xs %}{{ loop.depth }}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in xs %}{% break %}{% else %}never{% endfor %}done",
    "{% for x in xs %}{% continue %}{% else %}never{% endfor %}{% for x in xs %}{% if x == 1 %}"
    "{% break %}{% endif %}{{ x }}{% else %}never{% endfor %}",
    "{% break %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m(1, c='z') }}",
    "{% macro m(a) %}[{{ a }}{{ a is defined }}]{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
    "{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}",
    "{% macro m() %}{% set leak = 1 %}{% endmacro %}{{ m() }}{{ leak }}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}a{% endmacro %}{{ m() | upper }}{{ m() ~ 'b' }}{{ m() is string }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{{ n }}{% endcall %}",
    "{% macro m() %}<{{ caller(1, 2) }}>{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% filter upper %}abc {{ a }}{% endfilter %}{% filter replace('a', 'b') | trim %} banana {% endfilter %}",
    "{% with x = 1, y = n %}{{ x }}{{ y }}{% endwith %}{{ x }}",
    "{% generation %}{{ a }}{% set g = 1 %}{% endgeneration %}{{ g }}",
    "{% raw %}{{ x }} {% if %}{% endraw %}!",
    "{%- raw -%}  {{ x }}  {%- endraw -%}  !",
    "a {# comment #} b\n{# line #}\nc {#- strip -#} d",
    "a\n  {% if n %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%- if n %}\n  b\n  {%- endif %}\nc\n\n",
    "a\n  {% if n -%}\n  b\n  {% endif -%}\nc",
    "a\n  {%+ if n +%}\n  b\n  {%+ endif %}\nc",
    "  {{ n }}  \n  {{- n -}}  \n  {{ n }}\n",
    "{{ n }}\n{{ n }}\n\n",
    "line\r\nnext\rlast\r\n",
    "x {% if n %} y {% endif %} z\n\t {% set k = 1 %}  w",
    "{{ {'a': {'b': 1}}.a.b }}{{ '}}' }}{{ \"{{ x }}\" }}",
    "{{ [1,\n 2] }}{%\nif n\n%}y{%\nendif\n%}",
    "{{ 'multi\nline' }}",
    "{% print n %}",
    "{% for x in xs %}{{ x }}",
    "{% if %}x{% endif %}",
    "{{ }}", "{{ 1 + }}", "{{ 'open }}", "{{ (1 }}", "{{ 1) }}", "{% nosuch %}", "{# open",
    "{% endif %}", "{{ a b }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{{ 08 }}", "{{ a ? b }}",
    "{% if n %}{% endfor %}", "{% macro m(a, a) %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{{ f(x=1, 2) }}", "{% raw %}x", "{% include 'x' %}", "{% for x in xs %}{% endif %}",
    "{ { } } {a} %} }} #}",
    "{% if n is defined and n is not none and n is number %}ok{% endif %}",
    "{% set x = namespace(l=[]) %}{% for i in xs %}{% set x.l = x.l + [i] %}{% endfor %}{{ x.l }}",
    "{% set m = {'a': 1} %}{% for k in m if k != 'a' %}{% else %}only a{% endfor %}",
    "{% for m in people if m.age == 30 and m.name != 'Cy' %}{{ m.name }}{% endfor %}",
]
