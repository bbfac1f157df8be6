"""Made-up templates, one construct each, and the values that they name."""

CONTEXT = {
    "none": None,
    "yes": True,
    "no": False,
    "zero": 0,
    "one": 1,
    "n": 7,
    "negative": -3,
    "big": 12345678901234567890,
    "half": 0.5,
    "large": 1e16,
    "small": 0.00001,
    "s": "Hello, World",
    "empty": "",
    "spaces": "  a\tb \n c  ",
    "lines": "one\ntwo\r\nthree\rfour",
    "umlaut": "ÄÖß straße \u00a0ǆ é",
    "quotes": "it's \"quoted\" \\ \n \u200b \x7f",
    "emoji": "a😀b",
    "html": "<a href='x'>T & T</a>",
    "list": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "mixed": [1, "a", None, True, 1.5, [2], {"k": "v"}],
    "nothing": [],
    "d": {"b": 1, "a": [1, 2], "c": None, "items": "key", "": 0},
    "nested": {"x": {"y": {"z": "deep"}}, "list": [{"v": 1}, {"v": 2}]},
    "rows": [
        {"role": "user", "n": 2, "content": "hi", "tags": ["x"]},
        {"role": "assistant", "n": 1, "content": "yo", "extra": {"deep": 1}},
        {"role": "User", "n": 3, "content": ""},
    ],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4", "tool_calls": [
            {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": [1.0, None, True, "é"]}}}]},
        {"role": "tool", "name": "add", "content": [{"type": "text", "text": "4"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer", "description": "x \"y\" <z>"}}, "required": ["a"]}}}],
    "tools_none": None,
}

STRINGS = """
{{ s.upper() }}{{ s.lower() }}{{ umlaut.upper() }}{{ umlaut.lower() }}
{{ s.title() }}|{{ "they're bill's friends-from uk".title() }}|{{ umlaut.title() }}
{{ s.capitalize() }}|{{ 'ßx'.capitalize() }}|{{ 'ǆx Y'.capitalize() }}
{{ s.swapcase() }}|{{ umlaut.swapcase() }}
{{ 'Straße ıİ'.casefold() }}
{{ spaces.strip() }}|{{ spaces.lstrip() }}|{{ spaces.rstrip() }}|
{{ 'xxhixx'.strip('x') }}|{{ 'abcba'.lstrip('ab') }}|{{ 'abcba'.rstrip('ab') }}|{{ ' x '.strip(none) }}|
{{ '\\x1ca\\x1f'.strip() }}|{{ '\\u3000a\\u2003'.strip() }}|
{{ 'a,b,,c'.split(',') }}
{{ 'a,b,,c'.split(',', 1) }}{{ 'a,b,,c'.split(',', maxsplit=2) }}{{ 'a,b,,c'.split(sep=',') }}
{{ spaces.split() }}{{ ''.split() }}{{ ''.split(',') }}
{{ '  a  b  c '.split(none, 1) }}{{ '  a  b  c '.split(maxsplit=1) }}
{{ 'a,b,,c'.rsplit(',', 1) }}{{ '  a  b  c '.rsplit(none, 1) }}{{ 'a b c'.rsplit() }}
{{ 'abc'.split('') }}
{{ 'a</think>b</think>c'.split('</think>')[-1] }}{{ 'a</think>b'.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}
{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'abc'.partition('=') }}{{ 'abc'.rpartition('=') }}
{{ lines.splitlines() }}{{ lines.splitlines(true) }}{{ 'a\\x0bb\\x85c\\u2028d'.splitlines() }}{{ ''.splitlines() }}{{ 'a\\n'.splitlines(keepends=True) }}
{{ 'TestHook'.removeprefix('Test') }}{{ 'TestHook'.removesuffix('Hook') }}{{ 'x'.removeprefix('y') }}
{{ 'aaaa'.replace('a', 'b') }}{{ 'aaaa'.replace('a', 'b', 2) }}{{ 'ab'.replace('', '-') }}{{ 'ab'.replace('', '-', 1) }}{{ 'a'.replace('a', 'b', -1) }}{{ 'a'.replace('a', 'b', 0) }}
{{ 'hello'.find('l') }}{{ 'hello'.find('l', 3) }}{{ 'hello'.find('z') }}{{ 'hello'.find('l', 0, 2) }}{{ 'hello'.rfind('l') }}{{ emoji.find('b') }}{{ 'hello'.find('o', -2) }}{{ ''.find('') }}{{ 'a'.find('', 5) }}
{{ 'hello'.index('l') }}{{ 'hello'.rindex('l', 0, 3) }}
{{ 'hello'.index('z') }}
{{ 'hello'.count('l') }}{{ 'hello'.count('l', 3) }}{{ 'aaa'.count('aa') }}{{ 'abc'.count('') }}
{{ 'hello'.startswith('he') }}{{ 'hello'.startswith(('x', 'he')) }}{{ 'hello'.startswith('l', 2) }}{{ 'hello'.startswith('l', 2, 2) }}{{ 'hello'.endswith('lo') }}{{ 'hello'.endswith(('x', 'lo')) }}{{ 'hello'.endswith('l', 0, 3) }}
{{ 'hello'.startswith(['he']) }}
{{ 'a'.startswith('a', none) }}
{{ '42'.zfill(5) }}{{ '-42'.zfill(5) }}{{ '+4'.zfill(4) }}{{ 'abc'.zfill(2) }}
{{ 'ab'.center(5) }}|{{ 'ab'.center(6, '*') }}|{{ 'abc'.center(6, '*') }}|{{ 'ab'.ljust(5, '.') }}|{{ 'ab'.rjust(5) }}|
{{ ', '.join(['a', 'b']) }}{{ '-'.join('abc') }}{{ ''.join([]) }}{{ ','.join({'a': 1, 'b': 2}) }}
{{ ','.join([1, 2]) }}
{{ ','.join(none) }}
{{ '{} {}'.format('a', 1) }}|{{ '{1} {0}'.format('a', 'b') }}|{{ '{x}'.format(x=3) }}|{{ '{0[role]}'.format(rows[0]) }}|{{ '{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c') }}
{{ '{:.2f}'.format(3.14159) }}|{{ '{:5d}'.format(42) }}|{{ '{:05d}'.format(42) }}|{{ '{:,}'.format(1234567) }}|{{ '{:x}'.format(255) }}|{{ '{:#x}'.format(255) }}|{{ '{:e}'.format(12345.678) }}|{{ '{:%}'.format(0.25) }}|{{ '{:+}'.format(5) }}
{{ '{!r}'.format('a') }}|{{ '{!s:>4}'.format('a') }}|{{ '{{}}'.format() }}|{{ '{:*^7}'.format('ab') }}|{{ '{:{w}}'.format('a', w=4) }}|{{ '{}'.format(none) }}{{ '{}'.format([1, 'a']) }}{{ '{}'.format(1.0) }}{{ '{}'.format(true) }}
{{ '{:g}'.format(0.0001) }}|{{ '{:g}'.format(1234567.0) }}|{{ '{:.3}'.format(3.14159) }}|{{ '{:.3}'.format('abcdef') }}|{{ '{:08.3f}'.format(-3.14159) }}|{{ '{:<05}'.format(5) }}|{{ '{:05}'.format('a') }}
{{ '{}'.format() }}
{{ '{:d}'.format('a') }}
{{ '%s and %s' % ('a', 'b') }}|{{ '%s' % 'x' }}|{{ '%d%%' % 50 }}|{{ '%05.2f' % 3.14159 }}|{{ '%-5s|' % 'a' }}|{{ '%5s|' % 'a' }}|{{ '%x' % 255 }}|{{ '%r' % 'a' }}|{{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }}
{{ '%s' % [1, 'a'] }}{{ '%s' % none }}{{ '%.1f' % 2 }}{{ '%+d' % 3 }}{{ '%e' % 12345.6 }}{{ '%g' % 0.00001 }}{{ '%c' % 'x' }}{{ '%c' % 65 }}{{ '%3d|%-3d|%03d' % (1, 2, 3) }}{{ '%.3s' % 'abcdef' }}{{ '%*d' % (5, 42) }}
{{ '%s %s' % 'a' }}
{{ '%d' % 'a' }}
{{ 'a' % 'b' }}
{{ s % 3 }}
{{ 'x' * 3 ~ '%s' % n * 2 }}
{{ '12'.isdigit() }}{{ '1a'.isdigit() }}{{ ''.isdigit() }}{{ '²'.isdigit() }}{{ '²'.isdecimal() }}{{ '½'.isnumeric() }}{{ '½'.isdigit() }}{{ '一'.isnumeric() }}{{ '٣'.isdecimal() }}
{{ 'ab'.isalpha() }}{{ 'é'.isalpha() }}{{ 'a1'.isalnum() }}{{ 'a b'.isalnum() }}{{ 'ab'.islower() }}{{ 'AB1'.isupper() }}{{ '1'.isupper() }}{{ ' \\t'.isspace() }}{{ ''.isspace() }}{{ 'Ab Cd'.istitle() }}{{ 'AB'.istitle() }}{{ 'a'.isascii() }}{{ 'é'.isascii() }}{{ 'a_1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ 'a\\n'.isprintable() }}{{ 'é'.isprintable() }}
{{ 'a\\tb'.expandtabs() }}|{{ 'a\\tbc\\td'.expandtabs(4) }}
{{ 'a'.nosuch() }}
{{ 'a'.upper(1) }}
{{ s.format_map({'a': 1}) }}{{ '{a}'.format_map({'a': 1}) }}
{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[:-3] }}{{ s[::-1] }}{{ s[::2] }}{{ s[-3:] }}{{ s[10:2:-2] }}{{ s[100:] }}{{ emoji[1] }}{{ emoji[1:2] }}{{ emoji|length }}
{{ s[99] }}|{{ s['x'] }}|{{ s[:2][0] }}|{{ s[1:][1:] }}
{{ s[::0] }}
{{ s['a':] }}
{{ 'a' in 'abc' }}{{ 'd' in 'abc' }}{{ '' in 'abc' }}{{ 'd' not in 'abc' }}{{ not 'a' in 'abc' }}
{{ 1 in 'abc' }}
{{ none in 'abc' }}
{{ 'ab' 'cd' "ef" }}
{{ 'a' + 'b' }}{{ 'a' * 3 }}{{ 3 * 'ab' }}{{ 'a' * 0 }}{{ 'a' * -1 }}
{{ 'a' + 1 }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'a'] ~ missing ~ 1e16 }}
{{ 'a' < 'b' }}{{ 'a' < 'B' }}{{ 'é' > 'z' }}{{ 'a' == 'a' }}{{ 'a' != 'a' }}
{{ 'a' < 1 }}
{{ '\\n' }}|{{ '\\t' }}|{{ '\\\\' }}|{{ '\\'' }}|{{ "\\"" }}|{{ '\\x41' }}|{{ '\\u00e9' }}|{{ '\\U0001F600' }}|{{ '\\101' }}|{{ '\\q' }}|{{ '\\/' }}|{{ '\\a' == '\\x07' }}|{{ '\\v' == '\\x0b' }}|{{ '\\0' == '\\x00' }}
{{ '<|im_start|>' }}{{ '{{' }}{{ '}}' }}{{ "{%" }}{{ '%}' }}
{{ quotes }}{{ [quotes] }}{{ {'k': quotes} }}
{{ ['a\\u00a0b', '\\u2028', '\\ue000', 'é', '😀', '\\x00', "'", '"', '\\'"'] }}
{{ s is string }}{{ s.upper is defined }}{{ s.nosuch is defined }}{{ s.nosuch }}|
{% set f = s.upper %}{{ f() }}
{{ s|upper|lower|title|capitalize }}
"""

COLLECTIONS = """
{{ list }}{{ mixed }}{{ d }}{{ nested }}{{ rows }}
{{ (1, 2) }}{{ (1,) }}{{ () }}{{ [(1, 'a')] }}{{ [] }}{{ {} }}
{{ 1, 2 }}
{{ {'a': 1, 2: 'b', none: 3, true: 4, 1.5: 5, (1, 2): 6} }}
{{ list[0] }}{{ list[-1] }}{{ list[1:] }}{{ list[::-1] }}{{ list[:2] }}{{ list[5:] }}{{ list[-2:] }}{{ mixed[1:6:2] }}{{ (1, 2, 3)[1:] }}
{{ list[9] }}|{{ list['a'] }}|{{ d['zz'] }}|{{ d.zz }}|{{ none.x }}|{{ none['x'] }}|{{ 5 .x }}
{{ missing[1:] }}
{{ missing.x }}
{{ missing['x'] }}
{{ d.zz.y }}
{{ d.b }}{{ d['b'] }}{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 'default') }}{{ d.get('c', 'x') }}
{{ d.get() }}
{{ d['items'] }}|{{ d.items is callable }}|{{ d.items() }}|{{ d.keys() }}|{{ d.values() }}
{{ d.items()|list }}{{ d.keys()|list }}{{ d.values()|list }}{{ d|list }}{{ d|length }}{{ d.items()|length }}
{{ nested['keys'] is callable }}{{ nested.list }}{{ nested['list'] }}{{ nested.x['y'].z }}
{{ d.keys()[0] }}|{{ d.items()[0] }}|
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }},{% endfor %}{% for v in d.values() %}{{ v }},{% endfor %}
{{ d.pop('b') }}
{{ d.update({'x': 1}) }}
{{ d.setdefault('x', 1) }}
{{ d.clear() }}
{{ d.copy() == d }}{{ list.copy() }}
{{ list.append(4) }}
{{ list.sort() }}
{{ list.pop() }}
{{ list.index(1) }}{{ list.count(1) }}{{ words.index('a') }}{{ [1, 2, 1].index(1, 1) }}{{ (1, 2).count(1) }}{{ (1, 2).index(2) }}
{{ list.index(9) }}
{{ [1] + [2] }}{{ [1] * 3 }}{{ (1,) + (2,) }}{{ [1, 2] + [] }}{{ ([1] + [2])|length }}{{ ([1] + [2])[1] }}{{ ([1] + [2]) is sequence }}
{{ [1] + (2,) }}
{{ [1] + none }}
{{ 1 in list }}{{ 9 not in list }}{{ 'a' in d }}{{ 'zz' in d }}{{ 1 in d.values() }}{{ 'a' in d.keys() }}{{ ('a', [1, 2]) in d.items() }}{{ none in mixed }}{{ [2] in mixed }}
{{ 1 in none }}
{{ 1 in 5 }}
{{ [] in d }}
{{ 1 in missing }}
{{ [1, 2] == [1, 2] }}{{ [1] == (1,) }}{{ {'a': 1} == {'a': 1.0} }}{{ [1, 2] < [1, 3] }}{{ (1, 'a') < (1, 'b') }}{{ [] < [1] }}{{ 1 == true }}{{ 1 == '1' }}{{ none == missing }}{{ missing == missing2 }}
{{ [1] < ['a'] }}
{{ {} < {} }}
{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict([('k', 'v')]) }}{{ dict() }}
{{ range(3)|list }}{{ range(1, 4)|list }}{{ range(5, 0, -2)|list }}{{ range(3) }}{{ range(1, 9, 3) }}{{ range(5)[1] }}{{ range(5)[-1] }}{{ range(5)|length }}{{ range(0)|list }}{{ 2 in range(3) }}{{ range(9)[2:5]|list }}
{{ range(1, 5, 0) }}
{{ range(100001) }}
{{ range('a') }}
{{ rows[0].role }}{{ rows[-1]['role'] }}{{ rows[0]['tags'][0] }}{{ rows.0.role }}{{ rows[1].extra.deep }}
{{ messages[2].tool_calls[0].function.arguments.b[1] }}{{ messages[3].content[0].text }}
{{ rows[zero] }}{{ rows[true] }}{{ d[none] }}|{{ list[1.0] }}|{{ list[none] }}
{% set x = namespace(l=[]) %}{% for m in messages %}{% set x.l = x.l + [m.role] %}{% endfor %}{{ x.l }}{{ x.l|length }}{{ x.l[0] }}{{ x.l[-1] }}{{ x.l|join(',') }}
{{ joiner is callable }}{% set j = joiner('; ') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}
{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}
{{ cycler() }}
{{ d.a.b.c }}
{{ d.__class__ }}
{{ ''.__class__.__mro__ }}
{{ (d, 1)[0].b }}{{ [rows[0]][0].role }}{{ {'a': {'b': 2}}.a.b }}{{ {'a': 1}['a'] }}
{{ {'a': 1}.items()|list }}{{ {'keys': 1}['keys'] }}{{ {'keys': 1}.get('keys') }}
{{ rows[0].get('content', '') }}{{ rows[0].content.strip().upper()[0] }}
{{ 'x' if rows[0].nope else 'y' }}{{ rows[0].nope is none }}{{ rows[0].nope is defined }}
{{ "a" in rows[0] }}{{ "role" in rows[0] }}{{ 'extra' in rows[1] and rows[1].extra }}
"""

NUMBERS = """
{{ 1 }}{{ -1 }}{{ 1.0 }}{{ 1e16 }}{{ 1e15 }}{{ 1e-5 }}{{ 0.0001 }}{{ 123456789.123 }}{{ 1e100 }}{{ -0.0 }}{{ 1_000 }}{{ 0x1f }}{{ 0b11 }}{{ 0o17 }}{{ 1e2 }}{{ 1.5e3 }}
{{ big }}{{ large }}{{ small }}{{ half }}{{ [large, small, half, 1.0, 100.0] }}{{ large ~ '' }}
{{ 7 / 2 }}{{ 6 / 2 }}{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 7.5 % 2 }}{{ 2 ** 3 }}{{ 2 ** -1 }}{{ 2 ** 0.5 }}{{ 7.0 // 2 }}{{ -7.5 // 2 }}{{ 1 - 2 - 3 }}{{ 2 ** 3 ** 2 }}{{ -2 ** 2 }}{{ 10 - 2 * 3 }}{{ (1 + 2) * 3 }}{{ 7 % 4 * 2 }}{{ 2 * 7 % 4 }}{{ 10 % 4 % 3 }}
{{ +1 }}{{ + 1.5 }}{{ +true }}{{ -true }}{{ 1 + +1 }}{{ 1 - -1 }}{{ -n }}{{ -n|abs }}{{ - - 3 }}{{ +n|string }}
{{ +'a' }}
{{ -'a' }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 % 0 }}
{{ true + 1 }}{{ true + true }}{{ 1 + 1.5 }}{{ false * 3 }}{{ true ~ false }}
{{ none + 1 }}
{{ missing + 1 }}
{{ missing ~ 1 }}
{{ 9223372036854775807 + 1 }}{{ 9223372036854775807 * 9223372036854775807 }}{{ 2 ** 100 }}{{ -9223372036854775808 - 1 }}
{{ 1 < 2 }}{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 }}{{ 1 <= 1 >= 1 }}{{ 1 != 2 }}{{ 3 > 2 == true }}{{ 1 < 1.5 }}{{ true < 2 }}{{ 1 == 1 != 2 }}
{{ 1 < none }}
{{ 1 < missing }}
{{ 1 and 2 }}{{ 0 or 'x' }}{{ none or false or '' or 'z' }}{{ not 0 }}{{ not 'a' }}{{ 1 and 0 or 3 }}{{ true and none }}{{ [] or {} }}
{{ 1 if true }}{{ 1 if false }}{{ 1 if false else 2 if false else 3 }}{{ (1 if no else 2) + 1 }}{{ 'a' if n > 5 and n < 10 else 'b' }}
{{ n|abs }}{{ negative|abs }}{{ -1.5|abs }}{{ true|abs }}
{{ 'a'|abs }}
{{ '42'|int }}{{ '42.9'|int }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ 'ff'|int(0, 16) }}{{ '0x1f'|int(0, 16) }}{{ '0b11'|int(0, 2) }}{{ '0x1f'|int(0, 0) }}{{ ' 7 '|int }}{{ '1_000'|int }}{{ none|int }}{{ none|int(3) }}{{ 3.99|int }}{{ -3.99|int }}{{ true|int }}{{ [1]|int }}{{ '-5'|int }}{{ '1e3'|int }}{{ 'z'|int(base=36) }}
{{ missing|int }}
{{ '1.5'|float }}{{ 'x'|float }}{{ 'x'|float(2.5) }}{{ 3|float }}{{ none|float }}{{ '1e3'|float }}{{ ' 2 '|float }}{{ 'inf'|float }}{{ 'nan'|float }}{{ '1_0.5'|float }}{{ '.5'|float }}{{ '5.'|float }}
{{ 42.55|round }}{{ 42.55|round(1) }}{{ 42.55|round(1, 'floor') }}{{ 42.55|round(1, 'ceil') }}{{ 2.5|round }}{{ 3.5|round }}{{ 7|round }}{{ 1234|round(-2) }}{{ 1250|round(-2) }}{{ 2.675|round(2) }}{{ -2.5|round }}{{ 42.55|round|int }}{{ 7|round(0, 'ceil') }}{{ 1234.5|round(-2) }}{{ -0.4|round(0, 'ceil') }}
{{ 1.5|round(0, 'up') }}
{{ 'a'|round }}
{{ 1|filesizeformat }}|{{ 999|filesizeformat }}|{{ 1000|filesizeformat }}|{{ 1500000|filesizeformat }}|{{ 1024|filesizeformat(true) }}|{{ 123456789|filesizeformat(binary=true) }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby(3) }}{{ 9 is divisibleby 3 }}{{ 3.0 is odd }}{{ 4.5 is even }}{{ true is odd }}
{{ 'a' is odd }}
{{ 1 is divisibleby 0 }}
{{ 1 is number }}{{ 1.5 is number }}{{ true is number }}{{ '1' is number }}{{ 1 is integer }}{{ 1.0 is integer }}{{ true is integer }}{{ 1 is float }}{{ 1.0 is float }}{{ true is boolean }}{{ 1 is boolean }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ 0 is false }}
{{ 1 is eq 1 }}{{ 1 is equalto 2 }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 1 is lessthan 2 }}{{ 1 is le 1 }}{{ 2 is gt 1 }}{{ 2 is greaterthan 1 }}{{ 2 is ge 2 }}
{{ 1 is eq(1) }}{{ 1 is not eq(1) }}{{ not 1 is eq(2) }}{{ 1 is in [1, 2] }}{{ 3 is in([1, 2]) }}{{ 1 is not in [1] }}{{ 'a' is in 'abc' }}
"""

FILTERS = """
{{ d|tojson }}{{ list|tojson }}{{ s|tojson }}{{ none|tojson }}{{ true|tojson }}{{ 1.0|tojson }}{{ 1e16|tojson }}{{ (1, 2)|tojson }}{{ mixed|tojson }}
{{ nested|tojson(indent=2) }}{{ []|tojson(indent=2) }}{{ {}|tojson(indent=2) }}{{ {'a': [], 'b': {}}|tojson(indent=4) }}
{{ [1, [2]]|tojson(indent=0) }}{{ [1]|tojson(indent='--') }}{{ [1]|tojson(indent=true) }}{{ [1]|tojson(indent=none) }}{{ [1]|tojson(indent=-1) }}
{{ {'b': 1, 'a': 2}|tojson(separators=(',', ':')) }}{{ {'b': [1, 2]}|tojson(separators=[' , ', ' : ']) }}{{ {'b': [1, 2]}|tojson(indent=1, separators=(',', ':')) }}
{{ {'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true) }}{{ {'b': 1, 'a': 2}|tojson(indent=2, sort_keys=True) }}{{ {2: 1, 10: 2}|tojson(sort_keys=true) }}
{{ {'a': 1, 2: 3}|tojson(sort_keys=true) }}
{{ umlaut|tojson }}{{ umlaut|tojson(ensure_ascii=true) }}{{ emoji|tojson(ensure_ascii=True) }}{{ emoji|tojson(true) }}{{ quotes|tojson }}{{ quotes|tojson(ensure_ascii=true) }}{{ html|tojson }}{{ '\\u2028\\x00\\x1f\\x08\\x0c'|tojson }}
{{ {1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson }}
{{ 'nan'|float|tojson }}{{ ['inf'|float, '-inf'|float]|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ missing|tojson }}
{{ range(3)|tojson }}
{{ d.items()|tojson }}
{{ [1]|tojson(foo=1) }}
{{ tools|tojson }}{{ tools|tojson(indent=4) }}{{ messages[2].tool_calls[0].function.arguments|tojson }}
{{ '  a '|trim }}|{{ 'xax'|trim('x') }}|{{ missing|trim }}|{{ 5|trim }}|{{ none|trim }}|
{{ missing|default('x') }}{{ ''|default('x') }}{{ ''|default('x', true) }}{{ none|default('x') }}{{ none|default('x', boolean=True) }}{{ missing|d }}|{{ d.zz|default('y') }}{{ 0|d('z', true) }}
{{ missing.x|default('x') }}
{{ rows|map(attribute='role')|list }}{{ rows|map(attribute='extra.deep', default='-')|list }}{{ rows|map(attribute='nope')|list|length }}{{ words|map('upper')|list }}{{ words|map('upper')|join(',') }}{{ rows|map(attribute='tags.0', default='?')|join(',') }}{{ list|map('string')|map('center', 3)|list }}
{{ rows|map(attribute='extra.deep')|list }}
{{ words|map('nosuch')|list }}
{{ words|map|list }}
{{ none|map('upper')|list }}{{ missing|map('upper')|list }}
{{ list|map('round', method='ceil')|list }}{{ [[1, 2], [3]]|map('first')|list }}{{ [[1, 2], [3]]|map('sum')|list }}{{ [' a ', 'b ']|map('trim')|list }}
{{ list|select|list }}{{ list|select('odd')|list }}{{ list|select('gt', 1)|list }}{{ list|reject('odd')|list }}{{ [0, 1, '', 'a', none]|select|list }}{{ [0, 1]|reject|list }}{{ list|select('in', [1, 2])|list }}{{ mixed|select('string')|list }}{{ list|select('divisibleby', 3)|list }}
{{ rows|selectattr('role', 'equalto', 'user')|list|length }}{{ rows|selectattr('extra')|list|length }}{{ rows|rejectattr('extra')|list|length }}{{ rows|selectattr('extra', 'defined')|map(attribute='role')|list }}{{ rows|selectattr('n', '>', 1)|map(attribute='n')|list }}{{ rows|rejectattr('role', 'in', ['user'])|map(attribute='role')|list }}{{ (rows|selectattr('role', '==', 'user')|first).content }}{{ rows|selectattr('content')|list|last }}
{{ rows|selectattr('role', 'equalto', 'user')|length }}
{{ rows|selectattr('role', 'nosuch')|list }}
{{ rows|selectattr|list }}
{{ rows|selectattr('role', 'equalto', 'user')|last }}
{% set users = rows|selectattr('role', 'equalto', 'user') %}{% for u in users %}{{ u.content }}{% endfor %}{% for u in users %}again{% endfor %}
{% for role, group in rows|groupby('role') %}{{ role }}:{{ group|length }};{% endfor %}{% for g in rows|groupby('role', case_sensitive=true) %}{{ g.grouper }}{{ g.list|map(attribute='n')|list }}{% endfor %}
{{ rows|groupby('extra.deep', default=0) }}
{{ [{'a': 1}, {'a': 2}, {'a': 1}]|groupby('a') }}
{{ list|sort }}{{ list|sort(reverse=true) }}{{ words|sort }}{{ words|sort(case_sensitive=true) }}{{ rows|sort(attribute='n')|map(attribute='n')|list }}{{ rows|sort(attribute='role,n')|map(attribute='n')|list }}{{ list|sort(true) }}{{ 'cab'|sort }}{{ d|sort }}
{{ mixed|sort }}
{{ [none, 1]|sort }}
{{ words|unique|list }}{{ words|unique(case_sensitive=true)|list }}{{ [1, 1.0, true, 2]|unique|list }}{{ rows|unique(attribute='role')|map(attribute='n')|list }}
{{ [[1]]|unique|list }}
{{ list|sum }}{{ rows|sum(attribute='n') }}{{ []|sum }}{{ list|sum(start=10) }}{{ [1.5, 1]|sum }}{{ [[1], [2]]|sum(start=[]) }}
{{ words|sum }}
{{ list|join }}{{ list|join(', ') }}{{ rows|join('|', attribute='role') }}{{ mixed|join(' ') }}{{ 'abc'|join('-') }}{{ missing|join(',') }}|{{ d|join(',') }}
{{ none|join }}
{{ list|first }}{{ list|last }}{{ ''|first }}|{{ []|last }}|{{ s|first }}{{ s|last }}{{ d|first }}{{ missing|first }}|{{ range(3)|last }}
{{ 5|first }}
{{ list|length }}{{ s|count }}{{ missing|length }}{{ d|count }}{{ umlaut|length }}
{{ 5|length }}
{{ none|length }}
{{ list|reverse|list }}{{ s|reverse }}{{ words|reverse|join }}{{ (1, 2)|reverse|list }}{{ d|reverse|list }}
{{ list|reverse|length }}
{{ none|reverse }}
{{ range(7)|batch(3)|list }}{{ range(7)|batch(3, '-')|list }}{{ range(7)|slice(3)|list }}{{ range(7)|slice(3, '-')|list }}
{{ d|items|list }}{{ missing|items|list }}{{ d|dictsort }}{{ {'b': 1, 'A': 2, 'a': 0}|dictsort }}{{ {'b': 1, 'A': 2}|dictsort(true) }}{{ {'b': 1, 'a': 2}|dictsort(by='value') }}{{ {'b': 1, 'a': 2}|dictsort(false, 'key', true) }}
{{ list|items|list }}
{{ {'b': 1}|dictsort(by='x') }}
{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2) }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent(2, blank=true) }}|{{ 'a\\nb'|indent('> ') }}|{{ 'a\\nb\\n'|indent(first=true) }}|{{ ''|indent }}|{{ 'a\\r\\nb'|indent(1) }}
{{ 5|indent }}
{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(9, true) }}|{{ 'foo bar baz qux'|truncate(11) }}|{{ 'foo bar baz qux'|truncate(11, false, '...', 0) }}|{{ 'foo bar baz qux'|truncate(9, end='', leeway=0) }}
{{ 'abc'|truncate(1) }}
{{ 'the quick brown fox jumps'|wordwrap(10) }}|{{ 'averyveryverylongword x'|wordwrap(5) }}|{{ 'averyveryverylongword x'|wordwrap(5, false) }}|{{ 'a well-known-fact of life'|wordwrap(8) }}|{{ 'one two\\nthree four'|wordwrap(5, wrapstring='/') }}|{{ 'a-b c--d e'|wordwrap(3) }}
{{ 'aXbX'|replace('X', '-') }}{{ 'aXbX'|replace('X', '-', 1) }}{{ 5|replace('5', '6') }}{{ none|replace('N', 'n') }}{{ missing|replace('a', 'b') }}|{{ 'a1'|replace(1, 2) }}
{{ s|upper }}{{ s|lower }}{{ s|title }}{{ "they're bill's-friends (from uk) [x] <y>"|title }}{{ s|capitalize }}{{ none|upper }}{{ 5|string|length }}{{ missing|upper }}|{{ 'ǆ ß'|title }}
{{ 'ab'|center(6) }}|{{ 'ab'|center }}|
{{ 'a b_c, d-e é'|wordcount }}{{ ''|wordcount }}
{{ '%s %s'|format('a', 1) }}{{ '%(x)s'|format(x=5) }}{{ '%.2f'|format(1.005) }}{{ 'plain'|format }}
{{ '%s'|format('a', b=1) }}
{{ '%s'|format }}
{{ html|escape }}{{ html|e }}{{ html|e|e }}{{ html|forceescape }}{{ html|safe }}{{ html|e|forceescape }}{{ 5|e }}{{ none|e }}{{ "a'\\"b"|e }}
{{ '<b>a</b>  <!-- c --> d'|striptags }}{{ 'a < b'|striptags }}
{{ 'a b/c?d=é&f'|urlencode }}{{ {'a b': 'c/d', 'e': 1}|urlencode }}{{ [('a', 'b c')]|urlencode }}{{ 5|urlencode }}
{{ {'a': 1, 'b': none, 'c': '"<'}|xmlattr }}|{{ {}|xmlattr }}|{{ {'a': 'b'}|xmlattr(false) }}
{{ {'a b': 1}|xmlattr }}
{{ 5|string ~ '' }}{{ 1.0|string }}{{ [1, 'a']|string }}{{ none|string }}
{{ 'abc'|list }}{{ d|list }}{{ (1, 2)|list }}{{ missing|list }}{{ range(2)|list }}
{{ none|list }}
{{ list|min }}{{ list|max }}{{ words|min }}{{ words|max }}{{ words|max(case_sensitive=true) }}{{ rows|max(attribute='n') }}{{ []|min }}|{{ 'hello'|max }}
{{ mixed|max }}
{{ {'b': 1, 'a': [1, 2]}|pprint }}{{ 'x'|pprint }}{{ 1.0|pprint }}
{{ rows[0]|attr('role') }}|{{ rows[0]|attr('get') is callable }}|{{ 'a'|attr('upper') is callable }}
{{ s|nosuch }}
{{ s is nosuch }}
{{ s|upper(1) }}
{{ s|replace('a') }}
{{ s|trim(foo=1) }}
{% filter upper %}a{{ n }}b{% endfilter %}{% filter replace('a', 'x')|upper %}banana{% endfilter %}{% filter trim %}  x  {% endfilter %}
{{ (s|length) > 3 }}{{ s|length > 3 }}{{ s|length + 1 }}{{ not s|length }}{{ -1|string }}{{ 1 + '2'|int }}{{ 'a' ~ 'b'|upper }}{{ ('a' ~ 'b')|upper }}
{{ s | default ( 'x' ) | upper }}{{ s|
  upper
  |lower }}
"""

TESTS = """
{{ missing is defined }}{{ missing is undefined }}{{ none is defined }}{{ none is none }}{{ missing is none }}{{ s is not none }}{{ s is not defined }}{{ d.zz is undefined }}
{{ none is iterable }}{{ [] is iterable }}{{ s is iterable }}{{ 5 is iterable }}{{ d is iterable }}{{ range(2) is iterable }}{{ missing is iterable }}{{ true is iterable }}{{ d.items() is iterable }}{{ list|map('string') is iterable }}
{{ {} is sequence }}{{ [] is sequence }}{{ '' is sequence }}{{ () is sequence }}{{ 5 is sequence }}{{ none is sequence }}{{ missing is sequence }}{{ range(2) is sequence }}{{ d.keys() is sequence }}{{ list|map('string') is sequence }}
{{ {} is mapping }}{{ [] is mapping }}{{ '' is mapping }}{{ none is mapping }}{{ missing is mapping }}{{ d.items() is mapping }}
{{ '' is string }}{{ 5 is string }}{{ none is string }}{{ missing is string }}{{ [] is string }}
{{ s is callable }}{{ range is callable }}{{ s.upper is callable }}{{ namespace is callable }}{{ dict is callable }}{{ raise_exception is callable }}{{ strftime_now is callable }}
{{ none is sameas none }}{{ true is sameas true }}{{ 1 is sameas true }}{{ 1 is sameas 1 }}{{ false is sameas(0) }}{{ [] is sameas [] }}{{ d is sameas d }}{{ 'a' is sameas 'b' }}{{ no is sameas false }}
{{ 'abc' is lower }}{{ 'ABC' is upper }}{{ 'Abc' is lower }}{{ '1' is lower }}{{ '' is upper }}{{ 5 is lower }}
{{ 'upper' is filter }}{{ 'nosuch' is filter }}{{ 'defined' is test }}{{ 'nosuch' is test }}{{ 'tojson' is filter }}
{{ html|e is escaped }}{{ html is escaped }}{{ html|safe is escaped }}
{{ not missing is defined }}{{ missing is not defined and s is defined }}{{ (s is defined) == true }}{{ s is defined and s }}{{ s is string and s|length > 2 or false }}
{{ rows[0].content is string }}{{ rows[0].tags is sequence and rows[0].tags is not string }}{{ messages[3].content is iterable and messages[3].content is not mapping }}
{{ 'a' is eq('a') }}{{ 'x' if tools_none is none else 'y' }}{{ 'x' if tools_none is not none and tools_none|length > 0 else 'y' }}
{{ 1 is defined is defined }}
{{ true is boolean }}{{ none is boolean }}{{ 'true' is true }}
{{ missing }}|{{ missing is defined and missing.x }}|{{ missing or 'x' }}|{% if missing %}a{% else %}b{% endif %}|{% for x in missing %}{{ x }}{% else %}none{% endfor %}|{{ missing|length }}|{{ missing|list }}|{{ [missing] }}|{{ missing == none }}|{{ missing == missing }}
{{ missing() }}
{{ missing.upper() }}
{{ none.upper() }}
{{ -missing }}
{{ s() }}
{{ nosuchfunction() }}
"""

STATEMENTS = """
{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}
{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}
{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}{% for x in [1, 1, 2, 2] %}{{ loop.changed(x) }}{% endfor %}
{% for x in list %}{{ loop.cycle() }}{% endfor %}
{% for m in rows %}{% if loop.previtem is defined and loop.previtem.role == 'user' %}after user{% endif %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in list if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }}{{ loop.last }}{% else %}none{% endfor %}
{% for x in nothing %}{{ x }}{% else %}empty{% endfor %}{% for x in list if x > 5 %}{{ x }}{% else %}empty{% endfor %}
{% for x in none %}{{ x }}{% endfor %}
{% for x in 5 %}{{ x }}{% endfor %}
{% for x in tools_none %}{{ x }}{% else %}no{% endfor %}
{% for x in 'abc' %}{{ x }}{{ loop.last }}{% endfor %}{% for x in d %}{{ x }}{% endfor %}{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}
{% for x in list|reverse %}{{ x }}{{ loop.length }}{{ loop.last }}{% endfor %}{% for x in rows|map(attribute='role') %}{{ loop.index }}/{{ loop.length }}{{ loop.revindex }}{% endfor %}
{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for k, v in d|dictsort %}{{ k }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in [1] %}{{ a }}{% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for x in [1, 2] %}{% for y in 'ab' %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}
{% for x in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3}]}]}, {'v': 4}] recursive %}{{ x.v }}{{ loop.depth }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}
{% for x in [[1, [2]], 3] recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %}
{% break %}
{% for x in list %}{{ loop.nosuch is defined }}{% endfor %}
{% set x = 1 %}{% for i in list %}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}{% if false %}{% set y = 1 %}{% endif %}{{ y is defined }}
{% set x = 1 %}{% with %}{% set x = 2 %}{{ x }}{% endwith %}{{ x }}{% with a=1, b=2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
{% set a = 5 %}{% with a=1, b=a %}{{ a }}{{ b }}{% endwith %}
{% set ns = namespace(found=false, n=0) %}{% for i in list %}{% set ns.n = ns.n + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}{{ ns.nope is defined }}{{ ns.nope }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns.c = ns.a + ns.b %}{{ ns.c }}{{ ns['a'] }}
{% set ns = namespace() %}{% set ns.count = 3 %}{% set ns.items = [1] %}{{ ns.count }}{{ ns.items }}{% set ns.x, ns.y = 1, 2 %}{{ ns.x }}{{ ns.y }}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set (x, y) = [3, 4] %}{{ x }}{{ y }}{% set t = 1, 2 %}{{ t }}
{% set a, b = 1, 2, 3 %}
{% set x %}block {{ n }}{% endset %}{{ x }}{{ x|length }}{{ x is string }}{% set y | upper %}abc{% endset %}{{ y }}{% set z | replace('a', 'b') | upper %}abc{% endset %}{{ z }}
{% set x = 1 if yes else 2 %}{{ x }}{% set y = [i for i in list] %}
{% if n > 5 and n < 10 %}a{% elif n == 5 %}b{% else %}c{% endif %}{% if not no %}x{% endif %}{% if none %}y{% elif empty %}z{% else %}w{% endif %}
{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c='y') }}{{ m(a=5, b=6) }}{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro m(a) %}{{ a }}{{ varargs|join(',') }}{% endmacro %}{{ m(1, 2, 3) }}
{% macro m(x) %}{{ m.name }}{{ m.arguments }}{{ x }}{% endmacro %}{{ m(1) }}{{ m is callable }}
{% macro m(x) %}<{{ caller() }}{{ x }}>{% endmacro %}{% call m(1) %}body{{ n }}{% endcall %}
{% macro m(items) %}{% for i in items %}{{ caller(i, 'z') }}{% endfor %}{% endmacro %}{% call(a, b='y') m([1, 2]) %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}{% for x in [9] %}{{ m() }}{% endfor %}
{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{{ x }}
{% macro m(x) %}{{ x }}{% endmacro %}{% set s2 = m('a') %}{{ s2|upper }}{{ s2 is string }}{{ m('a') ~ m('b') }}{{ m('a') == 'a' }}
{% macro m(x, y=x) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}
{% macro m(x=none) %}{{ x is none }}{% endmacro %}{{ m() }}{{ m(missing) }}
{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{{ raise_exception('stop') }}
{{ nosuch is defined and raise_exception('x') }}ok
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{% from 'x' import y %}
{% do list.append(1) %}
{% print n %}{% print 'a', 'b' %}
{% raw %}{{ x }}{% if %}{% endraw %}|{% raw -%}  a  {%- endraw %}
{# comment {{ x }} #}a{#- trim -#}  b
{% if true -%}   a   {%- endif %}|   {%- if true %} b {% endif -%}   |
{{- 'a' -}}   {{ 'b' }}   {{- 'c' }}
{% generation %}gen{{ n }}{% endgeneration %}
{%- generation -%} x {%- endgeneration -%}
{% for m in rows %}{% generation %}{{ m.content }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}{% endfor %}
{{ strftime_now('%Y-%m-%d') }}{{ strftime_now('%d %b %Y') }}{{ strftime_now('%-d/%-m/%y %-H:%M') }}{{ strftime_now('%A, %B %e') }}
{{ strftime_now('%a %A %w %d %b %B %m %y %Y %H %I %p %M %S %f %j %U %W %c %x %X %% %G %u %V %C %D %e %F %g %h %k %l %n %R %r %t %T %s') }}
{{ strftime_now('[%z|%Z]') }}{{ strftime_now('%^a %#p %_d %05d %10Y %-I %P') }}{{ strftime_now('') }}{{ strftime_now('today') }}
{{ strftime_now() }}
{% if x is defined %}a{% else %}b{% endif %}{% if x is not defined or x %}c{% endif %}
{% set loop_messages = messages[1:] %}{% for m in loop_messages %}{{ m.role }}{{ loop.index0 % 2 == 0 }}{% endfor %}
{% set last = messages|last %}{{ last.role }}{{ messages[-1].role }}{{ (messages|last)['role'] }}{{ messages[-1]['content'][0]['type'] }}
{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}{{ sys }}{{ rest|length }}
{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{{ i }}{% endfor %}
{% for t in tools %}{{ t.function.name }}({% for k, v in t.function.parameters.properties.items() %}{{ k }}: {{ v.type }}{{ ' required' if k in t.function.parameters.required }}{% endfor %}){% endfor %}
{% for tc in messages[2].tool_calls %}{% set f = tc.function %}{{ f.name }}({% for k, v in f.arguments.items() %}{{ k }}={{ v|tojson if v is not string else v }}{% if not loop.last %}, {% endif %}{% endfor %}){% endfor %}
{{ '<tool_call>\\n' + {'name': 'x', 'arguments': {'a': 1}}|tojson + '\\n</tool_call>' }}
{{ messages|selectattr('role', 'equalto', 'tool')|map(attribute='name')|list|tojson }}
{% endif %}
{% if x %}
{{ unclosed
{{ 'unclosed }}
{% unknowntag %}
{{ }}
{{ a b }}
{{ (1 }}
{{ 1 + }}
{{ 1 < }}
{{ 'a' ~ }}
{{ x.1a }}
{{ [1, 2, }}
"""

SCOPES = """
{% for x in [1, 0] %}{% if x %}{% set y = 5 %}{% endif %}[{{ y }}]{% endfor %}
{% set y = 1 %}{% for x in [1, 0] %}{% if x %}{% set y = 5 %}{% endif %}[{{ y }}]{% endfor %}{{ y }}
{% for x in [1, 0] %}{% set z = x %}{% endfor %}{{ z is defined }}
{% for x in [1, 2] %}{% for y in [1] %}{% set q = x %}{% endfor %}[{{ q is defined }}]{% endfor %}
{% for x in [1, 2] %}{{ q is defined }}{% set q = x %}{{ q }}{% endfor %}
{% set q = 9 %}{% for x in [1, 2] %}{{ q }}{% set q = x %}{{ q }}{% endfor %}{{ q }}
{% set x = 0 %}{% for x in [1, 2] %}{{ x }}{% endfor %}{{ x }}
{% for x in [1, 2] %}{% endfor %}{{ x is defined }}{{ loop is defined }}
{% for x in [1] %}{% set x = 5 %}{{ x }}{% endfor %}
{% for x in [1, 2] %}{% set x = x + 1 %}{{ x }}{% endfor %}
{% set l = [1] %}{% for x in l %}{% set l = [2, 3] %}{{ l }}{% endfor %}{{ l }}
{% if true %}{% set a = 1 %}{% endif %}{{ a }}{% if true %}{% if true %}{% set b = 2 %}{% endif %}{{ b }}{% endif %}{{ b }}
{% if false %}{% set messages = [] %}{% endif %}{{ messages|length }}
{% if true %}{% set messages = messages[1:] %}{% endif %}{{ messages|length }}
{% set messages = messages[1:] %}{% for m in messages %}{{ m.role }}{% endfor %}
{% for m in messages %}{% set messages = [] %}{{ messages|length }}{% endfor %}{{ messages|length }}
{% macro f() %}{{ y is defined }}{% endmacro %}{% set y = 1 %}{{ f() }}
{% macro f() %}{{ n }}{% set n = 3 %}{{ n }}{% endmacro %}{{ f() }}{{ n }}
{% macro f(x) %}{{ x }}{{ x2 is defined }}{% endmacro %}{% for x2 in [1] %}{{ f(x2) }}{% endfor %}
{% for x in [1, 2] %}{% macro f() %}{{ x }}{% endmacro %}{{ f() }}{% endfor %}{{ f is defined }}
{% macro f() %}{{ loop is defined }}{% endmacro %}{% for x in [1] %}{{ f() }}{% endfor %}
{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}G{% endmacro %}{{ f() }}
{% macro f(n) %}{% if n %}{{ n }}{{ g(n - 1) }}{% endif %}{% endmacro %}{% macro g(n) %}g{{ f(n) }}{% endmacro %}{{ f(3) }}
{% set ns = namespace(v=0) %}{% macro f() %}{% set ns.v = ns.v + 1 %}{{ ns.v }}{% endmacro %}{{ f() }}{{ f() }}{{ ns.v }}
{% set ns = namespace(v=0) %}{% macro f() %}{% set ns.v = 7 %}{% endmacro %}{{ f() }}{{ ns.v }}
{% with a = 1 %}{% set b = a %}{{ b }}{% endwith %}{{ b is defined }}
{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}
{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}
{% filter upper %}{% set y = 'a' %}{{ y }}{% endfilter %}{{ y is defined }}
{% macro m() %}{{ caller() }}{% endmacro %}{% set v = 1 %}{% call m() %}{% set v = 2 %}{{ v }}{% endcall %}{{ v }}
{% macro m() %}{% for i in [1, 2] %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(i) m() %}{{ i }}{{ n }}{% endcall %}
{% macro m(x) %}{{ caller(x=x) }}{% endmacro %}{% call(x, y=3) m(1) %}{{ x }}{{ y }}{% endcall %}
{% macro m() %}{{ caller is defined }}{% if caller %}{{ caller() }}{% endif %}{% endmacro %}{{ m() }}{% call m() %}c{% endcall %}
{% for x in [1, 2, 3] if x != n2 %}{{ loop.index }}{% endfor %}
{% for x in [3, 1] %}{% for x in [x, x] %}{{ x }}{{ loop.index }}{% endfor %}{{ x }}{{ loop.index }}{% endfor %}
{% for x in [1, 2] %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }}{% endfor %}{% endfor %}
{% for x in [1, 2] %}{% for y in 'ab' %}{{ loop.first }}{% endfor %}{{ loop.last }}{% else %}e{% endfor %}
{% for x in list %}{% if loop.first %}{% set first = x %}{% endif %}{{ first }}{% endfor %}
{% for m in messages %}{% if m.role == 'user' %}{% set last_user = m.content %}{% endif %}{{ last_user|default('-') }}{% endfor %}
{% for m in messages %}{% if m.content is string %}{% set content = m.content %}{% endif %}{{ m.role }}:{{ content }};{% endfor %}
{% set content = 'out' %}{% for m in messages %}{% if m.content is string %}{% set content = m.content %}{% endif %}{{ m.role }}:{{ content }};{% endfor %}{{ content }}
{% for x in [1, 2] %}{% if x == 1 %}{% set a, b = x, x %}{% endif %}{{ a }}{{ b }}{% endfor %}
{% for x in [1, 2] %}{% if x == 1 %}{% set t %}blk{% endset %}{% endif %}{{ t }}{% endfor %}
{% for x in [1, 2] %}{% if x == 1 %}{% macro f() %}F{% endmacro %}{% endif %}{{ f is defined }}{% endfor %}
{% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{% set a = x %}{{ a }}{% endfor %}
{% for x in [1, 2, 3] recursive %}{% if x == 1 %}{% set a = x %}{% endif %}{{ a }}{% if x is iterable %}{{ loop(x) }}{% endif %}{% endfor %}
{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){{ loop.index }}{% else %}{{ x }}{{ loop.depth }}{% endif %}{% endfor %}
{% set a = 1 %}{% set a = a + 1 %}{{ a }}{% set a %}{{ a }}{{ a }}{% endset %}{{ a }}
{{ n }}{% set n = n + 1 %}{{ n }}{% if n %}{% set n = n + 1 %}{% endif %}{{ n }}
{% macro a(n) %}{{ n }}{% endmacro %}{{ a(1) }}{% set a = 3 %}{{ a }}
{% macro f(messages) %}{{ messages|length }}{% endmacro %}{{ f([1]) }}{{ messages|length }}
{%- macro f(x, y='a, b', z={'k': [1]}, w=(1, 2)) -%} {{ x }}{{ y }}{{ z }}{{ w }} {%- endmacro -%} [{{ f(1) }}]
{% macro f(x=1) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{{ f() }}{{ f(5) }}{{ f(x=6) }}
{% macro f(*a) %}{% endmacro %}
{% macro f(x, x2=1, y) %}{% endmacro %}
{% macro f(x=1) %}{{ x }}{% if x < 3 %}{{ f(x + 1) }}{% endif %}{% endmacro %}{{ f() }}
{% call f() %}{% endcall %}
{% macro f(a, b=none) %}{% if b is none %}{% set b = a %}{% endif %}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}
{% macro r(item, depth=0) %}{{ '  ' * depth }}{{ item.v }}{% for c in item.c or [] %}{{ r(c, depth + 1) }}{% endfor %}{% endmacro %}{{ r({'v': 1, 'c': [{'v': 2}, {'v': 3, 'c': [{'v': 4}]}]}) }}
{% for x in range(3) %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}{% for x in range(3)|list|batch(2) %}{{ x }}{% endfor %}
{% for x in nothing %}a{% else %}{% set q = 1 %}{{ q }}{% endfor %}{{ q is defined }}
{% set q = 0 %}{% for x in nothing -%} a {%- else -%} {% set q = 1 %}{{ q }} {%- endfor -%} {{ q }}
{% for x in rows %}{% for c in nothing %}{% for x in list %}{{ x }}{% endfor %}{% else %}{{ x.role }}{% set c = 1 %}{% endfor %}{{ c is defined }}{% endfor %}
{% for x in list %}{{ n }}{% endfor %}{% set n = 1 %}{{ n }}
{% for x in list %}{{ n }}{% endfor %}{% if yes %}{% set n = 1 %}{% endif %}{{ n }}
{% for x in list %}{{ n }}{% endfor %}{% if no %}{% set n = 1 %}{% elif no %}{% set n = 2 %}{% else %}{% set n = 3 %}{% endif %}{{ n }}
{{ n }}{% for x in list %}{{ n }}{% endfor %}{% set n = 1 %}{{ n }}
{% for x in [1, 2] %}{% for y in 'ab' %}{{ n }}{% endfor %}{% set n = x %}{{ n }}{% endfor %}{{ n }}
{% macro g(x=n) %}{{ x }}{{ s }}{% endmacro %}{{ g() }}{% set n = 1 %}{% set s = 2 %}{{ g() }}
{% set n %}{% for x in [1] %}{{ n }}{% endfor %}{{ n }}{% endset %}{{ n }}
{% set counter = namespace(value=0) %}{% for m in messages if m.role != 'system' %}{% set counter.value = counter.value + 1 %}{{ counter.value }}{{ loop.index }}{% endfor %}
"""

WHITESPACE = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n    {% if true %}\n    b\n    {% endif %}\nc",
    "a\n  {%+ if true %}\n  b\n  {%+ endif +%}\nc",
    "a\n  {{ n }}\n  b\n\n",
    "  {# comment #}\n  x\n{# c #}{# d #}\ny",
    "a {% if true %} b {% endif %} c\n\n\n",
    "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "a\rb\r{% set x = 1 %}\rc",
    "{% for x in list %}\n  {{ x }}\n{% endfor %}\n",
    "{%- for x in list -%}\n  {{ x }}\n{%- endfor -%}\n end",
    "{% for x in list %}   {% if x %}\n{% endif %}{% endfor %}",
    "x\n{%- set y = 1 %}\n{%- if y %}\n    {{- y }}\n{%- endif %}\n\n",
    "{{ 'a\nb' }}|{{ 'c\r\nd' }}",
    "\n\n{% set x = 1 -%}\n\n  text\n",
    "a\t{% if true %}\tb{% endif %}\n\t{% if true %}\n\tc{% endif %}",
    "{% raw %}\n  {{ x }}\n  {% endraw %}\nb",
    "a\n  {# c -#}\n  b {#- d #}\n",
    "{% macro m() %}\n  x\n{% endmacro %}\n{{ m() }}\n{%- set z %}\n  block\n{% endset %}\n[{{ z }}]",
    "\u00a0{% if true %}a{% endif %}\u00a0\n\u00a0 {% if true %}b{% endif %}",
    "a\n  {{- n -}}  \n  b",
    "{% if true %}a{% endif %}\n\n{% if true %}b{% endif %}\n",
    "{% set x = {\n  'a': 1,\n  'b': [\n 1, 2]\n} %}{{ x }}\n",
    "{% generation %}\n  a\n{% endgeneration %}\nb",
    "a  {% generation -%}  b  {%- endgeneration %}  c",
    "{% macro f(x) -%}\n  {%- if x %} a {% endif -%}\n  {{ x }}\n{%- endmacro %}[{{ f(1) }}]",
    "{% macro f(x, y=2) %}\n{{ x }}{{ y }}\n{% endmacro %}\n[{{ f(1) }}]",
    "{% macro f(x, y=2) -%}\n  {{ x }}{{ y }}  \n{%- endmacro -%}\n  [{{ f(1) }}]",
]


# Constructs that Jinja2 renders and this project refuses.
UNSUPPORTED = """
{{ 'a'.encode() }}
{{ 'ab'.translate({}) }}
{{ lipsum() }}
{{ [1, 2]|random }}
{{ 'http://a.b'|urlize }}
{{ '&lt;'|striptags }}
{{ list|batch(0)|list }}
{{ words|join(' ' * 60)|pprint }}
{% for a, b in ['xy'] %}{{ a }}{{ b }}{% endfor %}
{% block b %}x{% endblock %}
{% autoescape true %}{{ html }}{% endautoescape %}
{{ list|map('string') }}
{{ s.upper }}
{{ namespace(a=1) }}
{{ '\\N{EM DASH}' }}
{{ -2 ** n }}
{{ 2 ** 1000 }}
{{ 'ab' is sameas 'ab' }}
{{ strftime_now('%E') }}
"""


def lines(text):
    """The templates of a text: one a line, or several lines of one print."""
    waiting = ""
    for line in text.strip("\n").split("\n"):
        waiting += line
        if waiting.count("{{") > waiting.count("}}") and line.rstrip().endswith("|"):
            waiting += "\n"
        elif waiting.count("{{") > waiting.count("}}") and "\n" in waiting:
            waiting += "\n"
        else:
            yield waiting
            waiting = ""


def cases():
    """The templates, in order."""
    for text in (STRINGS, COLLECTIONS, NUMBERS, FILTERS, TESTS, STATEMENTS, SCOPES):
        yield from lines(text)
    yield from WHITESPACE
