"""Run the whole suite on the oldest, a middle and the newest set of libraries that this package promises to work with.

    python benchmarks/versions.py [--sets oldest,middle,newest] [--quick] [--envs DIR] [--notebooks 24,11] [--out FILE]

For each set: a virtual environment with an interpreter that is found on this machine, the packages of settings.ini from the
registry, a fresh clone of this repository (what is committed) in a folder with a space in its name, and in it `nbdev_test`
twice in a row, the second time with OMP_NUM_THREADS=1. oldest: Python 3.10 and every lower bound of settings.ini at once;
middle: torch 2.11; newest: the newest of everything, on the newest Python that has wheels. Writes a table (Markdown).

--envs DIR keeps the environments there and uses those that are there and fit. uv builds them where it is installed, pip
elsewhere. An environment takes 7 GB. --quick runs the suite once.
"""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time
from configparser import ConfigParser
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SHOWN = 'torch torchvision diffusers transformers accelerate datasets pyiqa spandrel numpy scipy pillow fastcore'.split()
MIDDLE = {'torch': '2.11.0', 'torchvision': '0.26.0'}
PYTHONS = dict(oldest=['3.10'], middle=['3.12', '3.11', '3.13'], newest=['3.14', '3.13', '3.12'])


def config():
    c = ConfigParser(delimiters=['='])
    c.read(REPO/'settings.ini', encoding='utf-8')
    return c['DEFAULT']

def lowest(requirements):
    "name -> the lower bound that settings.ini states"
    return {m[1]: m[2] for r in requirements for m in [re.match(r'([\w-]+)>=([\w.]+)', r)] if m}

def constraints(name):
    "The lines that make a set what it is"
    pins = lowest(config()['requirements'].split()) if name == 'oldest' else MIDDLE if name == 'middle' else {}
    return [f'{k}=={v}' for k, v in pins.items()]

def interpreters():
    "'3.x' -> path of an interpreter that starts: the newest patch of pyenv, PATH and uv"
    found = [sys.executable, *map(shutil.which, (f'python3.{m}' for m in range(10, 20)))]
    found += sorted((Path(os.environ.get('PYENV_ROOT', Path.home()/'.pyenv'))/'versions').glob('3.*/bin/python'))
    if uv := shutil.which('uv'):
        said = subprocess.run([uv, 'python', 'list', '--only-installed'], capture_output=True, text=True).stdout
        found += [o.split()[1] for o in said.splitlines() if len(o.split()) > 1]
    res = {}
    for path in dict.fromkeys(str(o) for o in found if o):
        ask = [path, '-c', 'import sys, venv, ctypes, lzma; print(*sys.version_info[:3])']
        try: r = subprocess.run(ask, capture_output=True, text=True, timeout=60)
        except OSError: continue
        if r.returncode: continue # a shim of a version that is not there, or one that was built without what torch needs
        version = tuple(map(int, r.stdout.split()))
        if version > res.get(version[:2], ((),))[0]: res[version[:2]] = version, path
    return {f'{a}.{b}': path for (a, b), (_, path) in res.items()}

def call(*args, **kwargs):
    r = subprocess.run([str(o) for o in args], capture_output=True, text=True, **kwargs)
    if r.returncode: raise SystemExit(f"{' '.join(map(str, args[:4]))} ... failed:\n{r.stdout[-2000:]}{r.stderr[-4000:]}")
    return r.stdout

def fits(env, name):
    "Whether an environment is there and holds the set's pins"
    if not (env/'bin/python').exists(): return False
    have, plain = installed(env), lambda v: re.sub(r'(\.0)*$', '', v.split('+')[0])
    return all(plain(have.get(k.lower().replace('_', '-'), '')) == plain(v) for k, v in (o.split('==') for o in constraints(name)))

def installed(env):
    "name -> version of what an environment holds"
    code = ('import importlib.metadata as m, json; print(json.dumps({d.metadata["Name"].lower().replace("_", "-"): d.version '
            'for d in m.distributions() if d.metadata["Name"]}))')
    return json.loads(call(env/'bin/python', '-c', code))

def build(name, env, clone, pythons):
    "The environment of a set, with the clone in it as the README installs it"
    pins, uv = clone.parent/f'{name}.txt', shutil.which('uv')
    pins.write_text('\n'.join(constraints(name)) + '\n', encoding='utf-8')
    def install():
        tool = [uv, 'pip', 'install', '-q', '--python', env/'bin/python'] if uv else [env/'bin/python', '-m', 'pip', 'install', '-q']
        call(*tool, *(['--upgrade'] if name == 'newest' else []), '-c', pins, '-e', '.[dev]', cwd=clone)
    if fits(env, name):
        install()
        return False
    minors = [o for o in PYTHONS[name] if o in pythons]
    if not minors: raise SystemExit(f"{name}: no Python {' or '.join(PYTHONS[name])} here; there are {', '.join(pythons)}")
    for minor in minors:
        shutil.rmtree(env, ignore_errors=True)
        call(pythons[minor], '-m', 'venv', env)
        try: install()
        except SystemExit as e:
            if minor == minors[-1]: raise
            print(f'{name}: not on Python {minor}, {str(e).strip().splitlines()[-1][:160]}', flush=True) # no wheels yet
        else: return True

def notebooks(clone, only):
    "Those that nbdev_test runs"
    quiet = lambda p: (p.parent/'.notest').exists() or p.name.startswith('_') or '.ipynb_checkpoints' in p.parts
    files = sorted(p for p in (clone/'nbs').rglob('*.ipynb') if not quiet(p))
    return [p for p in files if not only or any(p.name.startswith(o) for o in only)]

def suite(env, clone, files, whole, log, **extra):
    "(passed, failed names, minutes) of one run of the tests"
    variables = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'OMP_NUM_THREADS', 'PYTHONHOME')}
    variables |= dict(PATH=f"{env/'bin'}{os.pathsep}{os.environ['PATH']}", VIRTUAL_ENV=str(env), MPLBACKEND='Agg', OMP_WAIT_POLICY='PASSIVE', **extra)
    began, failed, text = time.time(), [], ''
    variables['TMPDIR'] = str(clone.parent/'temporary files')
    Path(variables['TMPDIR']).mkdir(exist_ok=True)
    for path in [None] if whole else files:
        how = ['nbdev_test', *([] if path is None else ['--path', str(path), '--n_workers', '0'])]
        r = subprocess.run(how, cwd=clone, env=variables, capture_output=True, text=True)
        out = r.stdout + r.stderr
        text += out
        lost = [f'{o}.ipynb' for o in re.findall(r'^\s+(\S+)\.ipynb$', out, re.M)]
        if not lost and 'Success' not in out: lost = [o.name for o in (files if path is None else [path])]
        failed += lost
    log.write_text(text, encoding='utf-8')
    return len(files) - len(failed), failed, (time.time() - began)/60

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--sets', default='oldest,middle,newest', help='which sets, with commas between')
    p.add_argument('--quick', action='store_true', help='the suite once, not twice')
    p.add_argument('--envs', type=Path, help='folder of environments to use, and to keep (a temporary one)')
    p.add_argument('--notebooks', default='', help='first letters of the notebooks to run, with commas between (all)')
    p.add_argument('--build-only', action='store_true', help='environments alone')
    p.add_argument('--out', type=Path, default=REPO/'benchmarks/versions.md', help='the table')
    args = p.parse_args()
    names, only = args.sets.split(','), [o for o in args.notebooks.split(',') if o]
    if unknown := set(names) - set(PYTHONS): p.error(f"--sets {','.join(unknown)}: choose from {', '.join(PYTHONS)}")
    pythons, rows, broken = interpreters(), [], False
    with tempfile.TemporaryDirectory() as tmp:
        envs = (args.envs or Path(tmp)/'envs').resolve()
        envs.mkdir(parents=True, exist_ok=True)
        for name in names:
            clone = Path(tmp)/f'fresh clone {name}'/'lego nb'
            call('git', 'clone', '-q', REPO, clone)
            new = build(name, envs/name, clone, pythons)
            have = installed(envs/name)
            python = call(envs/name/'bin/python', '-c', 'import platform; print(platform.python_version())').strip()
            print(f"{name}: Python {python}, torch {have['torch']}, {'built' if new else 'there already'}", flush=True)
            if args.build_only: continue
            files, results = notebooks(clone, only), []
            for extra in [{}, dict(OMP_NUM_THREADS='1')][:1 if args.quick else 2]:
                log = envs/f"{name}{'-one-thread' if extra else ''}.log"
                results.append(suite(envs/name, clone, files, not only, log, **extra))
                passed, failed, minutes = results[-1]
                broken |= bool(failed)
                print(f"  {' '.join(f'{k}={v}' for k, v in extra.items()) or 'as it is'}: {passed} passed, {len(failed)} failed "
                      f"({', '.join(failed) or 'none'}), {minutes:.1f} min", flush=True)
            rows.append((name, python, have, results))
            if not args.envs: shutil.rmtree(envs/name)
        if rows: args.out.write_text(table(rows, len(files)), encoding='utf-8')
    sys.exit(int(broken))

def table(rows, tested):
    commit = call('git', 'log', '-1', '--format=%h, %cs', cwd=REPO).strip()
    text = [f"`python benchmarks/versions.py` at {commit}, on {os.cpu_count()} cores of {os.uname().machine}: `nbdev_test` ({tested} notebooks) in a fresh clone, "
            'in a folder with a space in its name; the second time in a row with `OMP_NUM_THREADS=1`. All that a set pins at once.\n',
            '| | ' + ' | '.join(o[0] for o in rows) + ' |', '|---|' + '---|'*len(rows), '| Python | ' + ' | '.join(o[1] for o in rows) + ' |']
    text += [f'| {k} | ' + ' | '.join(o[2].get(k, '') for o in rows) + ' |' for k in SHOWN]
    for i, run in enumerate(('first run', 'second run, one thread')):
        cells = [f'{o[3][i][0]} passed, {len(o[3][i][1])} failed, {o[3][i][2]:.0f} min' if len(o[3]) > i else 'not run' for o in rows]
        text.append(f'| {run} | ' + ' | '.join(cells) + ' |')
    lost = {o[0]: sorted({n for r in o[3] for n in r[1]}) for o in rows}
    text += [f"\nFailed in {k}: {', '.join(v)}." for k, v in lost.items() if v]
    return '\n'.join(text) + '\n'

if __name__ == '__main__': main()
