"""Break one file of a run at a time, in every way of a table, run every command, and see that nothing false is said

    python benchmarks/damage.py [--bases finished,training] [--files 'pseudo/*'] [--ways cut,empty] [--commands lego_run,lego_status]

A run of a few small images is made; each experiment copies it, damages one file, and runs one command. What may come of it:
the same results as without damage, or one line that names the file and a way on; that way is gone, and must end in the same
results. A traceback, another number, or a line that names nothing is a fault. Prints every fault, and counts at the end.
"""
import argparse, contextlib, fnmatch, io, json, os, random, re, shlex, shutil, sys, tempfile, time, traceback
from collections import Counter
from pathlib import Path

COMMANDS = ('lego_run', 'lego_run --dry-run', 'lego_status', 'lego_gate', 'lego_finetune', 'lego_evaluate', 'lego_report', 'lego_apply', 'lego_share')
BASES = ('finished', 'training', 'refined', 'kept', 'dot', 'judge', 'demo')

def plant(at, names='abcd'):
    "Small images that a run is made from: degraded ones, their truth, pairs, tests"
    from lego_nb.degrade import degrade
    from lego_nb.demo import demo_images
    from lego_nb.images import quantize, write_image
    def crops(split, n, start=0): return [x[:, :48, :48] for x in list(demo_images(split).values())[start:start + n]]
    def lower(x, name): return quantize(degrade(x[None], name, ['0'], 0))[0]
    for folder, images in dict(photos=[lower(x, 'pocket-strong') for x in crops('ood', 4)], truth=crops('ood', 4)).items():
        for k, x in zip(names, images): write_image(x, at/folder/f'{k}.png')
    for folder, split, name, n, start in (('pairs', 'id', 'pocket-weak', 8, 0), ('test', 'test', 'pocket-strong', 2, 0), ('test_id', 'id', 'pocket-weak', 2, 20)):
        for k, x in zip(names if folder == 'test' else 'abcdefgh', crops(split, n, start)):
            write_image(x, at/folder/f'gt/{k}.png'), write_image(lower(x, name), at/folder/f'lq/{k}.png')

def own(at):
    "Options of a run of those images, as small as they may be"
    return dict(preset='pocket', **{k: f'{at}/{k}' for k in ('photos', 'pairs', 'truth', 'test', 'test_id')}, iterations=4, batch_size=4, id_ratio=.5,
                lr=1e-3, warmup=0, checkpoint_every=2, crop=32, refine_batch=2, control_images=1, candidates='t0=0.3,steps=1', sample=2, gate_value=.5)

def make(name, at, **more):
    "A run folder in a state: `finished`, stopped in Stage 2 (`training`), before the gate (`refined`), by the judge (`kept`), ..."
    from lego_nb.commands import lego_run
    from lego_nb.run_folder import Run
    out, o = at/name, own(at)
    o = {dict(photos='ood', pairs='id_pairs', truth='ood_truth').get(k, k): v for k, v in o.items()} | more
    if name == 'refined': o |= dict(stages='restore,refine')
    if name == 'kept': o |= dict(oracle='pixels', candidates='nlm=6')
    if name == 'dot': o |= dict(oracle='dot', choose='gate', candidates=None, controls='none', gate_mode='none', min_fidelity=0)
    if name == 'judge': o |= dict(calibrate=16, controls='none')
    if name == 'demo': o = dict(preset='pocket', first_n=2, iterations=2, checkpoint_every=2, sample=2, candidates='t0=0.3,steps=1', control_images=0, controls='none')
    keep = Run.keep
    def stop(*args): raise KeyboardInterrupt
    if name == 'training': Run.keep = stop
    try: lego_run(out=str(out), **o)
    except KeyboardInterrupt: pass
    finally: Run.keep = keep
    return out

def _json(f): return json.loads(f.read_text(encoding='utf-8'))

def ways(f):
    "Name of a damage -> bytes that the file has then; None: it is gone; True: a folder is in its place"
    data, noise = f.read_bytes(), random.Random(0)
    yield 'gone', None
    yield 'folder', True
    yield 'empty', b''
    yield 'cut', data[:len(data)//2]
    if len(data) > 8: yield 'end', data[:-3]
    yield 'bytes', noise.randbytes(len(data))
    if len(data): yield 'zeros', bytes(len(data))
    if f.suffix == '.json':
        o = json.loads(data)
        def as_bytes(o): return json.dumps(o, indent=2).encode()
        for k, v in dict(list=[], dict={}, null=None, text='text', number=3).items(): yield f'type {k}', as_bytes(v)
        if isinstance(o, dict):
            for k, v in o.items():
                yield f'without {k}', as_bytes({n: v for n, v in o.items() if n != k})
                for kind, other in dict(null=None, list=[], text='no', number=-7.5, dict={'a': 1}).items():
                    if type(other) is not type(v): yield f'{k} as {kind}', as_bytes(o | {k: other})
                if isinstance(v, dict) and f.name in ('config.json', 'choice.json', 'state.json'):
                    for n in list(v)[:60]: yield f'without {k}.{n}', as_bytes(o | {k: {a: b for a, b in v.items() if a != n}})
                    for n in list(v)[:60]: yield f'{k}.{n} as dict', as_bytes(o | {k: v | {n: {'a': 1}}})
            yield 'unknown key', as_bytes(o | dict(of_the_future=1))
            if 'settings' in o: yield 'unknown setting', as_bytes(o | dict(settings=o['settings'] | dict(of_the_future=1)))
            if 'versions' in o: yield 'other versions', as_bytes(o | dict(versions={'lego-nb': '9.9'}))
    if f.suffix == '.jsonl':
        lines = [json.loads(l) for l in data.splitlines()]
        def of(ls): return ''.join(json.dumps(l) + '\n' for l in ls).encode()
        for k, v in dict(list=[], number=1, text='a', null=None).items(): yield f'line {k}', of([*lines[:-1], v])
        yield 'fewer lines', of(lines[:-1])
        yield 'line twice', of([*lines, lines[-1]])
        yield 'unknown line', of([*lines, dict(of_the_future=1)])
        for n in {0, len(lines) - 1}:
            for k in lines[n] if isinstance(lines[n], dict) else ():
                yield f'line {n} without {k}', of([{a: b for a, b in l.items() if (i, a) != (n, k)} for i, l in enumerate(lines)])
                yield f'line {n} {k} null', of([l | {k: None} if i == n else l for i, l in enumerate(lines)])
                yield f'line {n} {k} dict', of([l | {k: {'a': 1}} if i == n else l for i, l in enumerate(lines)])
            for bad in ('../../../outside', '/tmp/outside'):
                for k in lines[n] if isinstance(lines[n], dict) else ():
                    if k in ('id', 'path', 'folder') or k.endswith('_name'): yield f'line {n} {k} {bad}', of([l | {k: bad} if i == n else l for i, l in enumerate(lines)])
    if f.suffix == '.csv':
        head, *rows = data.decode().splitlines()
        yield 'no head', '\n'.join(rows + ['']).encode()
        yield 'head alone', (head + '\n').encode()
        yield 'a word for a number', data.replace(b',psnr,', b',psnr,x', 1)
        yield 'fewer rows', '\n'.join([head, *rows[:-1], '']).encode()
    if f.suffix == '.png':
        from PIL import Image
        im = Image.open(io.BytesIO(data))
        for name, o in dict(size=im.resize((im.width + 2, im.height)), grey=im.convert('L'), small=im.crop((0, 0, 1, 1))).items():
            out = io.BytesIO()
            o.save(out, 'PNG')
            yield name, out.getvalue()
    if f.suffix == '.safetensors':
        import torch
        from safetensors.torch import load, save
        tensors = load(data)
        yield 'of other names', save({f'{k}.other': v for k, v in tensors.items()})
        if tensors:
            first, v = next(iter(tensors.items()))
            yield 'of other shapes', save(tensors | {first: torch.zeros(3, 3)})
            yield 'one tensor less', save({k: o for k, o in tensors.items() if k != first})
            if v.is_floating_point(): yield 'not finite', save(tensors | {first: torch.full_like(v, float('nan'))})
    if f.suffix == '.pt':
        import torch
        for name, o in dict(list=[], dict={}).items():
            out = io.BytesIO()
            torch.save(o, out)
            yield f'pickle of a {name}', out.getvalue()

def files(run):
    "One file of each kind in a run folder, relative to it"
    seen = {}
    for f in sorted(run.rglob('*')):
        rel = f.relative_to(run)
        if f.is_file() and '.held' not in rel.parts and f.name not in ('.gitattributes',): seen.setdefault((rel.parent, rel.suffix if rel.suffix in ('.png', '.lock') else rel.name), rel)
    return [*seen.values()]

def call(line, at):
    "Exit code, what was printed, and what was complained, of a command in this process; -1 and a traceback where it let one through"
    import lego_nb.apply, lego_nb.commands, lego_nb.share
    from lego_nb import files
    files._named.clear()
    words = shlex.split(line)
    func = next(getattr(m, words[0]) for m in (lego_nb.commands, lego_nb.apply, lego_nb.share) if hasattr(m, words[0]))
    argv, sys.argv, here = sys.argv, words, os.getcwd()
    os.chdir(at)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try: func.cli(); code = 0
        except SystemExit as e: code = e.code or 0
        except BaseException: code, _ = -1, err.write(traceback.format_exc())
        finally: sys.argv = argv; os.chdir(here)
    return code, out.getvalue(), err.getvalue()

UNSEEN = 'of other names', 'of other shapes', 'one tensor less', 'not finite'

def words_of(command, run, at):
    if command == 'lego_apply': return f'lego_apply --images {shlex.quote(f"{at}/photos")} --model {shlex.quote(str(run))} --out applied'
    if command == 'lego_share': return f'lego_share --model {shlex.quote(str(run))} --to me/mine --hub {shlex.quote(f"{at}/applied")}'
    name, *more = command.split()
    return ' '.join([name, '--out', shlex.quote(str(run)), *more])

def results(run):
    "What a finished run says: scores, decisions, models, and targets"
    from lego_nb.files import content, read_jsonl
    from lego_nb.evaluation import read_scores
    f = run/'evaluation/scores.csv'
    scores = sorted((r['model'], r['split'], r['image'], r['metric'], round(r['value'], 9)) for r in read_scores(f)) if f.exists() else []
    kept = sorted((r['id'], r['kept'], r['reason']) for r in read_jsonl(run/'pseudo/metadata.jsonl'))
    models = {m.name: content(m/'model.safetensors') for m in sorted((run/'checkpoints').glob('[!.]*')) if (m/'model.safetensors').exists()}
    return dict(scores=scores, kept=kept, models=models, targets={f.name: content(f) for f in sorted((run/'pseudo/targets').glob('*.png'))})

def plain(text):
    "What was printed, without times and sizes"
    return re.sub(r'\d[\d.]* (s|min|h|bytes|KB|MB|GB)\b', 'some', text)

class Sweep:
    def __init__(self, at, **more): # options of the runs
        self.more, self.at, self.counts, self.faults, self.whole, self.said = more, Path(at), Counter(), [], {}, {}
    def base(self, name):
        if name in self.whole: return self.at/name
        run = make(name, self.at, **self.more) if not (self.at/name).exists() else self.at/name
        end = self.at/'end'
        shutil.rmtree(end, ignore_errors=True), shutil.copytree(run, end)
        code, out, err = call(words_of('lego_run', end, self.at), self.at)
        assert code == 0, (name, out, err)
        self.whole[name] = results(end)
        return run
    def undamaged(self, name, command):
        "What a command says of the run as it is"
        if (name, command) not in self.said: self.said[name, command] = self.tried(name, command)[:3]
        return self.said[name, command]
    def tried(self, name, command, file=None, data=None):
        run, copy = self.base(name), self.at/'run'
        shutil.rmtree(copy, ignore_errors=True), shutil.copytree(run, copy), shutil.rmtree(self.at/'applied', ignore_errors=True)
        if file:
            f = copy/file
            f.unlink()
            if data is True: f.mkdir(), (f/'x').write_text('x')
            elif data is not None: f.write_bytes(data)
        return *call(words_of(command, copy, self.at), self.at), copy
    def one(self, name, command, file, way, data):
        "Do an experiment: 'same', 'healed', 'said' or a fault"
        code, out, err, copy = self.tried(name, command, file, data)
        kind = self.kind(name, command, file, way, code, out, err, copy, data)
        self.counts[kind.split(':')[0]] += 1
        if kind.startswith('fault'):
            self.faults.append((name, str(file), way, command, kind, (err.strip() or out.strip())[-1200:]))
            print(f'{kind}\n    {name} {file}: {way}; {command} -> {code}\n    ' + (err.strip() or out.strip())[-900:].replace('\n', '\n    '), flush=True)
        return kind
    def kind(self, name, command, file, way, code, out, err, copy, data):
        was, printed, _ = self.undamaged(name, command)
        lines = [l for l in err.splitlines() if l.strip() and 'Warning' not in l]
        names = Path(file).name in out + err or any(str(o) in err for o in Path(file).parents if len(o.parts) > 1) or (Path(file).parent.name and f'{Path(file).parent}' in out + err)
        if code == -1 or 'Traceback' in err: return 'fault: a traceback'
        if code and code == was and plain(out) == plain(printed): return 'same' # as without damage
        if code == 1 and command == 'lego_apply' and '  failed: ' in out: return 'said' # each image is named
        if code == 2 and way == 'gone' and file.name == 'scores.csv' and 'nothing is judged yet' in err: return 'said' # what is not there has no name
        if code:
            if len(lines) != 1: return f'fault: {len(lines)} lines'
            if not names: return 'fault: the file is not named'
            return self.way_on(name, copy, file, lines[0])
        if way == 'gone' and command in ('lego_status', 'lego_report', 'lego_run --dry-run'): return 'same' # it says what is there
        if command == 'lego_run --dry-run' and plain(out) != plain(printed) and not names: return self.way_on(name, copy, file, '') # it says what will be done anew: that must end as it would have
        if command == 'lego_status' and way.endswith('judged null'): return 'same' # a row that no judge has seen is a whole one
        if file.parts[0] == 'data' and file.suffix == '.png' and re.search(r'\d replaced', out): return 'said' # another image of the user's: it is taken in, and judged as it is
        if command in ('lego_status', 'lego_run --dry-run', 'lego_share'): return 'same' if plain(out) == plain(printed) else 'said' if names else 'fault: other words, and no word of the file'
        if command == 'lego_apply': return 'same' if plain(out) == plain(printed) else 'said' if names else 'fault: other words, and no word of the file'
        if command == 'lego_run':
            now, unread = results(copy), file.suffix == '.safetensors' and way in UNSEEN # a head does not tell, and nothing opens it
            if now != self.whole[name] and not (unread and {**now, 'models': 0} == {**self.whole[name], 'models': 0}): return 'fault: other results'
            return 'healed' if (copy/file).exists() and data is not True and (data is None or (copy/file).read_bytes() != data) else 'same'
        return 'same' if plain(out) == plain(printed) else 'said' if names else self.way_on(name, copy, file, '')
    def way_on(self, name, copy, file, line):
        "Do what the line says, then the run to its end: it must end as it would have"
        line = line.replace(str(copy), '@RUN')
        if line and not re.search(r'remove|lego_\w+|put a copy|put it back|choose another|replace', line): return 'fault: no way on'
        if 'no run' in line: return 'fault: no run'
        said = re.sub(r'\bremove it\b', f'remove @RUN/{file}', line).split(', or choose another')[0]
        for part in re.findall(r'remove ((?:@RUN[^,\s]*(?:, and |, | and |,)?)+)', said):
            for p in re.findall(r'@RUN/([^,\s]+)', part):
                if (copy/p).is_dir() and not (copy/p).is_symlink(): shutil.rmtree(copy/p)
                else: (copy/p).unlink(missing_ok=True)
        if 'put a copy back' in line and not 'remove' in said: # as one who has a copy
            for f in (self.at/name).rglob('*'):
                if f'@RUN/{f.relative_to(self.at/name)}' in line and f.is_file(): shutil.rmtree(copy/f.relative_to(self.at/name), ignore_errors=True); shutil.copyfile(f, copy/f.relative_to(self.at/name))
        for command in re.findall(r'(lego_(?:evaluate|gate|refine|finetune|report)) --out @RUN', line):
            call(f'{command} --out {shlex.quote(str(copy))}', self.at)
        code, out, err = call(words_of('lego_run', copy, self.at), self.at)
        if code: return f'fault: the way on ends with {code}: {err.strip()[-300:]}'
        return 'said' if results(copy) == self.whole[name] else 'fault: the way on ends with other results'

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for k, v in dict(bases=','.join(BASES), files='*', ways='*', commands=','.join(COMMANDS), at=None).items(): p.add_argument(f'--{k}', default=v)
    p.add_argument('--most', type=int, default=10**9, help='experiments, drawn at random')
    p.add_argument('--seconds', type=float, default=float('inf'), help='of the processor, after which none begins; then they come in an order drawn at random')
    p.add_argument('--seed', type=int, default=0, help='of that order')
    a = p.parse_args()
    import torch
    torch.set_num_threads(1)
    os.environ['TQDM_DISABLE'] = '1'
    at = Path(a.at or tempfile.mkdtemp()).resolve()
    at.mkdir(parents=True, exist_ok=True)
    if not (at/'photos').exists(): plant(at)
    sweep, began, todo = Sweep(at), time.process_time(), []
    for name in a.bases.split(','):
        run = sweep.base(name)
        for f in files(run):
            if not any(fnmatch.fnmatch(str(f), o) for o in a.files.split(',')): continue
            for way, data in ways(run/f):
                if any(fnmatch.fnmatch(way, o) for o in a.ways.split(',')): todo += [(name, c, f, way, data) for c in a.commands.split(',')]
    random.Random(a.seed).shuffle(todo)
    for o in todo[:a.most] if a.seconds < float('inf') else sorted(todo[:a.most], key=lambda o: (str(o[2]), o[3])):
        if time.process_time() - began > a.seconds: break
        sweep.one(*o)
    print(f'{sum(sweep.counts.values())} of {len(todo)} experiments: {dict(sweep.counts)}; {time.process_time() - began:.0f} processor seconds')
    sys.exit(bool(sweep.faults))

if __name__ == '__main__': main()
