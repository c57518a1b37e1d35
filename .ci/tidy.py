"""Take temporary folders out of the stored outputs of notebooks: `/tmp/tmpab12cd34/run` becomes `run`. Run it after `nbdev_clean`."""
import json, re, sys, tempfile
from pathlib import Path

temporary = re.compile(rf'(?:/private)?(?:/var/folders/[\w/+-]+/T|{re.escape(tempfile.gettempdir())}|/tmp|/var/tmp)/tmp\w{{6,}}(/?)')


def short(text): return temporary.sub(lambda m: '' if m[1] else '.', text) if isinstance(text, str) else [short(o) for o in text]


def tidy(path):
    "Shorten the outputs of a notebook; whether any was long"
    nb = json.loads(path.read_text(encoding='utf-8'))
    before = json.dumps(nb)
    for o in (o for c in nb['cells'] for o in c.get('outputs', ())):
        if 'text' in o: o['text'] = short(o['text'])
        for k, v in o.get('data', {}).items():
            if k.startswith('text/'): o['data'][k] = short(v)
    if json.dumps(nb) == before: return False
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + '\n', encoding='utf-8')
    return True


if __name__ == '__main__':
    root = Path(__file__).resolve().parent.parent
    for p in sorted(map(Path, sys.argv[1:]) if sys.argv[1:] else (root/'nbs').rglob('*.ipynb')):
        if '.ipynb_checkpoints' not in p.parts and tidy(p): print('tidied', p.name)
