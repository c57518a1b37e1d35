"""Start, kill, damage and change a run in random sequences: never a wrong claim, always a way on

    python benchmarks/sequences.py [--examples 100] [--steps 12] [--seed 0]

A state machine of hypothesis over a real run of three images of 32x32. Its steps: start some stages or all, die at a file operation
(SIGKILL in a forked process), add or remove a photograph, change an option, damage a file. No step may end in a traceback or in
more than one line of complaint; a run that says it is done holds what a new run of the same files and options gives; and from
every end the lines that are printed lead to such a run. Prints how many steps of each kind there were. POSIX alone: it forks.
"""
import argparse, os, re, shlex, shutil, signal, sys, tempfile
from collections import Counter
from pathlib import Path
from damage import call, files, plant, results, ways
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

COUNTS, FRESH = Counter(), {}
WAYS = 'gone', 'empty', 'cut', 'end', 'bytes', 'zeros', 'folder', 'type list', 'type text', 'line list'
KINDS = {'open', 'os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.link'}
STAGES = 'restore', 'restore,refine', 'restore,refine,gate', 'restore,refine,gate,finetune', None

def forked(f, folder, n):
    "Do `f` in a process that dies at its n-th file operation below `folder`"
    pid = os.fork()
    if not pid:
        seen = 0
        def hook(event, args):
            nonlocal seen
            if event in KINDS and any(str(folder) in str(a) for a in args):
                seen += 1
                if seen >= n: os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        try: f()
        finally: os._exit(0)
    os.waitpid(pid, 0)

class RunFolder(RuleBasedStateMachine):
    "A run folder and what is done to it"
    root = None # with the images, planted once
    def __init__(self):
        super().__init__()
        if RunFolder.root is None:
            RunFolder.root = Path(tempfile.mkdtemp()).resolve()
            plant(RunFolder.root)
        self.at = Path(tempfile.mkdtemp()).resolve()
        self.out, self.photos, self.options = self.at/'run', self.at/'photos', dict(iterations=1)
        shutil.copytree(RunFolder.root/'photos', self.photos), (self.photos/'d.png').unlink()
        self.damaged = []

    def line(self, out, stages=None):
        o = dict(preset='pocket', choose='gate', gate_mode='none', ood=self.photos, id_pairs=RunFolder.root/'pairs', test=RunFolder.root/'test', test_id=RunFolder.root/'test_id',
                 t0=.3, steps=1, solver='euler', inject_steps=0, batch_size=2, id_ratio=.5, warmup=0, checkpoint_every=1, crop=32, refine_batch=1, control_images=1, controls='none',
                 stages=stages, **self.options)
        return shlex.join(['lego_run', '--out', str(out), *(f"--{k.replace('_', '-')}={v}" for k, v in o.items() if v is not None)])

    def go(self, stages=None):
        "Start; what it says must be so"
        code, out, err = call(self.line(self.out, stages), self.at)
        lines = [l for l in err.splitlines() if l.strip() and 'Warning' not in l]
        assert code in (0, 2) and len(lines) == bool(code), (code, err or out)
        if code == 0 and stages is None: assert results(self.out) == self.fresh(), out
        COUNTS['done' if code == 0 else 'refused'] += 1
        return code, lines[-1] if lines else ''

    def fresh(self):
        "What a new run of these files and options holds"
        key = (tuple(sorted(f.name for f in self.photos.iterdir())), tuple(self.options.items()))
        if key not in FRESH:
            new = self.at/'new'
            shutil.rmtree(new, ignore_errors=True)
            code, out, err = call(self.line(new), self.at)
            assert code == 0, err
            FRESH[key] = results(new)
        return FRESH[key]

    @rule(stages=st.sampled_from(STAGES))
    def start(self, stages): COUNTS['start'] += 1; self.go(stages)

    @rule(n=st.integers(1, 400))
    def kill(self, n): COUNTS['kill'] += 1; forked(lambda: call(self.line(self.out), self.at), self.out, n)

    @rule(name=st.sampled_from('abcd'))
    def add_or_remove(self, name):
        COUNTS['file'] += 1
        f = self.photos/f'{name}.png'
        if not f.exists(): shutil.copyfile(RunFolder.root/'photos'/f.name, f)
        elif len([*self.photos.iterdir()]) > 1: f.unlink()

    @rule(n=st.integers(1, 2))
    def change_option(self, n):
        "Refused where something depends on it; then the old one stays"
        COUNTS['option'] += 1
        was, self.options = self.options, dict(iterations=n)
        code, line = self.go()
        if code and 'iterations' in line: self.options = was

    @precondition(lambda self: self.out.is_dir() and files(self.out))
    @rule(data=st.data())
    def damage(self, data):
        COUNTS['damage'] += 1
        f = data.draw(st.sampled_from([f for f in files(self.out) if f.parts[0] != 'data' and f.suffix != '.html' and f.parts[:2] != ('evaluation', 'images')]))
        try: some = {w: d for w, d in ways(self.out/f) if w in WAYS} if (self.out/f).stat().st_size else {}
        except ValueError: return # it is damaged already
        if not some: return
        self.spoil(f, some[data.draw(st.sampled_from(sorted(some)))])

    def spoil(self, f, to):
        "Give a file other bytes, of `ways`"
        (self.out/f).unlink()
        if to is True: (self.out/f).mkdir()
        elif to is not None: (self.out/f).write_bytes(to)

    def teardown(self):
        "Do what the lines say: they lead to the end"
        for _ in range(12):
            code, line = self.go()
            if code == 0: break
            assert self.follow(line), line
        else: raise AssertionError(f'no way on: {line}')
        shutil.rmtree(self.at)

    def follow(self, line):
        "Whether something was done of what a line says"
        line, done = line.replace(str(self.out), '@RUN'), False
        if not (first := re.search(r'@RUN/([^\s:,()]+)', line)): return False
        said = re.sub(r'(?:remove it|replace or remove it)\b', f'remove @RUN/{first[1]}', line).split(', or choose')[0]
        if (m := re.search(r'with other settings \(iterations: (\d)', line)): self.options, done = dict(iterations=int(m[1])), True
        for part in re.findall(r'remove ((?:@RUN[^,\s]*(?:, and |, | and |,)?)+)', said):
            for p in (self.out/o.rstrip('.') for o in re.findall(r'@RUN/([^,\s]+)', part)):
                done = done or p.exists()
                if p.is_dir(): shutil.rmtree(p)
                else: p.unlink(missing_ok=True)
        return done

def sequences(examples, steps, seed=None):
    "Try sequences; the first that ends wrong is printed and raised"
    run_state_machine_as_test(RunFolder if seed is None else __import__('hypothesis').seed(seed)(RunFolder), settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None,
        derandomize=seed is None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for k, v in dict(examples=100, steps=12, seed=0).items(): p.add_argument(f'--{k}', type=int, default=v)
    a = p.parse_args()
    import torch
    torch.set_num_threads(1)
    os.environ['TQDM_DISABLE'] = '1'
    try: sequences(a.examples, a.steps, a.seed)
    finally: print(dict(COUNTS))

if __name__ == '__main__': main()
