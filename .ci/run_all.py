"""Run notebooks from top to bottom as *Run All* does in JupyterLab: no flag is honoured, there is no network and no GPU. A cell that needs one says so and goes on.

`nbdev_test` runs all cells without a flag, so that by default only notebooks with flagged cells run here; `--all` runs every numbered notebook and tutorial."""
import argparse, json, os, re, subprocess, sys, time
from pathlib import Path

root = Path(__file__).resolve().parent.parent
flag = re.compile(r'^#\|\s*(?:cuda|slow|hub|eval:\s*false)\b', re.M)
shut = dict(HF_HUB_OFFLINE='1', CUDA_VISIBLE_DEVICES='', MPLBACKEND='agg', OMP_WAIT_POLICY='PASSIVE', PYTHONPATH=str(root))


def flagged(path): return any(flag.search(''.join(c['source'])) for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code')


def run_all(path):
    "Run every cell of a notebook, its export apart; say which stopped"
    from execnb.nbio import read_nb
    from execnb.shell import CaptureShell
    nb = read_nb(path)
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    shell = CaptureShell(path)
    for c in nb.cells:
        if c.cell_type != 'code' or 'nbdev_export()' in c.source: continue
        began = time.monotonic()
        shell.cell(c)
        if shell.exc: return f'{path.name} stops at {c.id}: {type(shell.exc).__name__}: {shell.exc}'
        said = ''.join(''.join(o.get('text', '')) for o in c.get('outputs', ()))
        if flag.search(c.source): print(f'{path.name} {c.id} {time.monotonic() - began:.0f} s', *re.findall(r'^left out.*$', said, re.M), flush=True)


if __name__ == '__main__':
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--all', action='store_true', help='notebooks without flagged cells too')
    a.add_argument('notebooks', nargs='*', type=Path)
    a = a.parse_args()
    if len(a.notebooks) == 1:
        wrong = run_all(a.notebooks[0].resolve())
        sys.exit(wrong and f'FAILED: {wrong}')
    found = a.notebooks or [p for p in sorted([*(root/'nbs').glob('[0-9]*.ipynb'), *(root/'nbs/tutorials').glob('*.ipynb')]) if a.all or flagged(p)]
    codes = [subprocess.run([sys.executable, '-W', 'ignore', __file__, str(p)], env={**os.environ, **shut}).returncode for p in found]
    print(f'{codes.count(0)} ran to their end, {len(codes) - codes.count(0)} stopped')
    sys.exit(any(codes))
