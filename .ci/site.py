"""Make the pages of the site as `nbdev_docs` does, all but Quarto's own part, and fail where a cell stops or warns.

`nbdev_proc_nbs` downloads Quarto where there is none: a stub of that name keeps it from that. The pages lie in `_proc/`."""
import os, re, subprocess, sys, tempfile
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def pages():
    "What nbdev says while it makes the pages, and its exit code"
    with tempfile.TemporaryDirectory() as folder:
        stub = Path(folder)/'quarto'
        stub.write_text('#!/bin/sh\nexit 0\n')
        stub.chmod(0o755)
        paths = dict(PATH=f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=os.pathsep.join(filter(None, [str(root), os.environ.get('PYTHONPATH')])))
        r = subprocess.run(['nbdev_proc_nbs', '--force'], cwd=root, env={**os.environ, **paths}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.stdout, r.returncode


def faults(said):
    "The lines that name an error of a cell, or a cell of imports and other code"
    return [l for l in said.splitlines() if re.match(r'Exception: Error|.*Found cells containing imports|\w*Error\b', l)]


if __name__ == '__main__':
    said, code = pages()
    made = {p.relative_to(root/'_proc').as_posix() for p in (root/'_proc').rglob('*.ipynb')}
    missing = sorted({p.relative_to(root/'nbs').as_posix() for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts} - made)
    wrong = faults(said) + [f'no page of {o}' for o in missing]
    if code: print(said[-3000:])
    print(*wrong, f'{len(made)} pages in _proc', sep='\n')
    sys.exit(1 if code or wrong else 0)
