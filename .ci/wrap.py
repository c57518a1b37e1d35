"""Break lines of code over 100 columns in cells that are not exported, which the site shows: after a comma or before a word, within brackets alone.

A cell is changed only if Python reads it as before. `python .ci/wrap.py [NOTEBOOK...]`; `--check` only counts."""
import ast, io, json, re, sys, tokenize
from pathlib import Path

most = 100
words = {'for', 'if', 'else', 'and', 'or'}


def breaks(source):
    "Row -> list of (depth, column to break at, indentation of what follows), best last"
    found, stack, targets = {}, [], set() # targets: depths between `for` and `in`
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in (tokenize.NL, tokenize.NEWLINE)]
    for before, t, after in zip(tokens[:1] + tokens, tokens, tokens[1:]):
        if t.type == tokenize.NAME and t.string in ('for', 'in'): (targets.add if t.string == 'for' else targets.discard)(len(stack))
        if t.string in ('(', '[', '{') and t.type == tokenize.OP: stack.append((t.end, after.start))
        elif t.string in (')', ']', '}') and t.type == tokenize.OP: stack.pop()
        line = t.line if t.start[0] == t.end[0] else ''
        if t.string == ':' and not stack and re.match(r' *(for|if|elif|else|with|while|try|except|finally)\b', line) and after.start[0] == t.start[0] and after.type != tokenize.COMMENT:
            found.setdefault(t.start[0], []).append((0, False, t.end[1], len(re.match(' *', line)[0]) + 4))
        if not stack or not line: continue
        (row, _), (first_row, first) = stack[-1][0], stack[-1][1]
        indent = first if first_row == row else len(re.match(' *', source.split('\n')[t.start[0] - 1])[0])
        if t.string == ',' and len(stack) not in targets and after.start[0] == t.start[0] and after.type != tokenize.COMMENT and after.string not in ')]}': at = t.end[1]
        elif t.string in words and t.type == tokenize.NAME and before.end[0] == t.start[0] and before.string != 'async': at = t.start[1]
        else: continue
        found.setdefault(t.start[0], []).append((len(stack), t.string != ',', at, indent))
    return found


def wrap(source):
    "Source with its long lines broken, where they can be"
    stuck = set()
    while True:
        lines = source.split('\n')
        long = [k for k, l in enumerate(lines) if len(l) > most and l not in stuck]
        if not long: return source
        k = long[0]
        able = [o for o in breaks(source).get(k + 1, ()) if o[2] <= most and o[3] + len(lines[k]) - o[2] < len(lines[k]) - 8 and lines[k][:o[2]].strip()]
        if not able or re.match(r'\s*(#|def |class |@|[a-z_]+ *:)', lines[k]): stuck.add(lines[k]); continue
        least = min(o[:2] for o in able)
        _, _, at, indent = max((o for o in able if o[:2] == least), key=lambda o: o[2])
        lines[k:k + 1] = [lines[k][:at].rstrip(), ' '*indent + lines[k][at:].lstrip()]
        source = '\n'.join(lines)


def comments(source): return [t.string for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]


def wrap_cell(c):
    "Wrap a cell; whether it changed"
    before = ''.join(c['source'])
    if c['cell_type'] != 'code' or re.search(r'^#\|\s*export', before, re.M) or max(map(len, before.split('\n'))) <= most: return False
    try:
        after = wrap(before)
        if ast.dump(ast.parse(before)) != ast.dump(ast.parse(after)) or comments(before) != comments(after): return False
    except (SyntaxError, tokenize.TokenError, IndentationError): return False
    c['source'] = after.splitlines(True)
    return after != before


if __name__ == '__main__':
    root, check = Path(__file__).resolve().parent.parent, '--check' in sys.argv
    given = [Path(o) for o in sys.argv[1:] if o != '--check']
    long = lambda nb: sum(len(l.rstrip('\n')) > most for c in nb['cells'] if c['cell_type'] == 'code' and not re.search(r'^#\|\s*export', ''.join(c['source']), re.M) for l in c['source'])
    was = left = 0
    for p in given or sorted((root/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' in p.parts: continue
        nb = json.loads(p.read_text(encoding='utf-8'))
        was += long(nb)
        changed = [wrap_cell(c) for c in nb['cells']]
        left += long(nb)
        if any(changed) and not check: p.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    print(f'{was} lines over {most} columns, {left} {"would be" if check else "are"} left')
