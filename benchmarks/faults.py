"""Kill runs at random, start them again, and compare what they end with; start many commands on one folder

    python benchmarks/faults.py [--quick] [--kills 50] [--seed 0] [--full 3] [--locks] [--out benchmarks/faults]

A run (`lego_run --preset pocket --iterations 30 --first-n 16` and `SHORT`, the judged choice of settings, two small test images of
each kind) is stopped after a random time, at most half of what an undisturbed one takes, and started again, until it ends by
itself; then the next, until there were enough kills. The time is the processor's, so that other work on the machine changes
nothing. Two of five kills are of runs of two processes of one launcher. Each end is compared with that
of an undisturbed run of as many processes, file by file (`same`). `--full` adds kills of the plain run at its whole size, and
`--locks` the commands that begin together. Writes OUT.csv, a line for every kill, and OUT.md, the counts. `--quick` takes two
minutes: two kills of a tiny run. POSIX alone.
"""
import argparse, csv, json, os, platform, random, re, shutil, signal, subprocess, sys, tempfile, time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import psutil

COMMAND = [sys.executable, '-m', 'lego_nb', 'run', '--preset', 'pocket', '--out', 'run']
TWO = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', *COMMAND[1:]]
SHORT = ('--iterations 30 --first-n 16 --checkpoint-every 10 --refine-batch 4 --sample 4 --control-images 2 '
         '--controls old-pairs,non-local-means,targets').split()
TINY = ['--iterations', '4', '--first-n', '4', '--checkpoint-every', '2', '--sample', '4', '--control-images', '2', '--controls', 'old-pairs',
        '--candidates', 't0=.3,steps=2,solver=euler+t0=.6,steps=4,solver=euler']
ONE_KINDS = 'SIGKILL', 'SIGTERM', 'SIGINT', 'SIGTERM, SIGKILL after 1 s'
TWO_KINDS = 'SIGKILL to worker 0', 'SIGKILL to worker 1', 'SIGTERM to the launcher', 'SIGINT to the launcher', 'SIGKILL to all'
HEAD = 'size', 'run', 'processes', 'kill', 'signal', 'after_s', 'exit', 'reached'

def small_tests(folder):
    "Options that name two photographs of each kind, 96 pixels wide"
    from lego_nb.demo import write_demo
    from lego_nb.images import read_image, write_image
    made = write_demo(folder/'demo', only=['test', 'test_id'])
    for kind in ('test', 'test_id'):
        for f in sorted(f for part in ('lq', 'gt') for f in sorted((Path(made[kind])/part).glob('*.png'))[:2]):
            write_image(read_image(f)[:, 60:156, 60:156], folder/kind/f.parent.name/f.name)
    return ['--test', str(folder/'test'), '--test-id', str(folder/'test_id')]

def family(p):
    "A process and those that it has started; a launcher's workers are in sessions of their own"
    try: return [top := psutil.Process(p.pid), *top.children(recursive=True)]
    except psutil.Error: return []

def end(processes):
    "Kill what there still is of some processes"
    for o in processes:
        try: o.kill()
        except psutil.Error: pass
    psutil.wait_procs(processes[1:], 30) # the first is `Popen`'s to wait for

def spent(p):
    "Processor seconds of a process and of those that it has started"
    total = 0
    for o in family(p):
        try: total += sum(o.cpu_times()[:2])
        except psutil.Error: pass
    return total

def start(command, folder):
    "A process group of its own at work in `folder`, one thread a process; what it says goes to said.txt"
    env = dict(os.environ, OMP_NUM_THREADS='1', MKL_NUM_THREADS='1', OMP_WAIT_POLICY='PASSIVE', TQDM_DISABLE='1')
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder/'said.txt', 'a') as f:
        return subprocess.Popen(command, cwd=folder, stdout=f, stderr=subprocess.STDOUT, env=env, start_new_session=True)

def stop(p, kind):
    "Do to a process what `kind` says, and wait until all of it is gone; its exit code"
    all_of_it = family(p)
    if 'worker' in kind:
        workers = sorted((o for o in psutil.Process(p.pid).children() if 'lego_nb' in ' '.join(o.cmdline())), key=lambda o: o.pid)
        if len(workers) == 2: workers[int(kind[-1])].kill()
        else: p.kill() # they have not begun
    elif kind == 'SIGKILL to all': end(all_of_it)
    else:
        p.send_signal(getattr(signal, re.match('SIG[A-Z]+', kind)[0]))
        if 'after' in kind:
            time.sleep(1)
            p.kill()
    try: code = p.wait(120)
    except subprocess.TimeoutExpired: code = 'did not end in 120 s'
    end(all_of_it)
    p.wait()
    return code

MADE = 'seconds', 'batch', 'vae_psnr' # of a record: when, in which company, and what is measured on the first batch after a start
def _records(text):
    rows = [{k: v for k, v in json.loads(line).items() if k not in MADE} for line in text.splitlines()]
    return sorted({json.dumps(r, sort_keys=True) for r in rows}) if rows and 'id' in rows[0] else rows

def content(path):
    "What is compared of a file: all bytes, but of some what neither says when nor in which company it was made"
    data, name = path.read_bytes(), path.name
    if name == 'config.json' and path.parent.name == 'run': return {k: v for k, v in json.loads(data).items() if k != 'started'}
    if name == 'inputs.jsonl': return re.sub(rb'"mtime_ns": \d+', b'', data)
    if name.startswith('records-') or name == 'metadata.jsonl': return _records(data.decode())
    if name == 'report.html': return re.sub(r'\b\d+\.\d s\b|\b\d+ min \d\d s\b|\b\d+ h \d\d min\b|\b\d{4}-\d\d-\d\d\b|\b[\d.]+ (Bytes|kB|MB)\b', '', data.decode())
    return data

def same(one, other):
    "How many files of two runs were compared, and the names of those that differ; times.jsonl and hidden files are left out"
    def files(run): return {f.relative_to(run).as_posix(): f for f in sorted(run.rglob('*')) if f.is_file() and f.name != 'times.jsonl'
                            and not any(o.startswith('.') for o in f.relative_to(run).parts)}
    a, b = files(one), files(other)
    return len(a), sorted((a.keys() ^ b.keys()) | {k for k in a.keys() & b.keys() if content(a[k]) != content(b[k])})

def stage(folder, before):
    "The last line that a run said of a stage, after the first `before` bytes"
    lines = [o for o in (folder/'said.txt').read_bytes()[before:].decode(errors='replace').splitlines() if re.match(r'(Stage|Judging|Verdict|Out of|Run) ', o)]
    return re.sub(r' in [\d.]+ (s|min).*', '', lines[-1])[:60] if lines else ''

def wait(p, most):
    "Exit code of a process, or None once it has spent `most` processor seconds"
    while (code := p.poll()) is None and spent(p) < most: time.sleep(.05)
    return code

def undisturbed(folder, command):
    "Processor seconds of a run that is left alone"
    p, res = start(command, folder), 0
    while (code := p.poll()) is None:
        res = max(res, spent(p))
        time.sleep(.1)
    if code: sys.exit(f'the undisturbed run ended with {code}: {(folder/"said.txt").read_text()[-2000:]}')
    return res

def disturbed(folder, command, kinds, whole, most, rng, say):
    "Kill a run until it ends by itself, or `most` times; a row for each kill"
    rows = []
    while True:
        before = (folder/'said.txt').stat().st_size if rows else 0
        p, after = start(command, folder), rng.uniform(.02, .5)*whole if len(rows) < most else 5*whole
        if (code := wait(p, after)) is not None:
            return rows, code and f'ended with {code}: {(folder/"said.txt").read_text()[-1000:]}'
        if len(rows) == most:
            end(family(p))
            return rows, 'does not end'
        kind, reached = rng.choice(kinds), stage(folder, before)
        rows.append(dict(signal=kind, after_s=round(after, 1), exit=stop(p, kind), reached=reached))
        say(rows[-1])

def kills(tmp, n, seed, processes, options, say, most=8):
    "Disturb runs of one or two processes until there were `n` kills; their rows, what each end was, processor seconds of an undisturbed run"
    rng, rows, ends, command = random.Random(f'{seed}, {processes}'), [], [], (TWO if processes == 2 else COMMAND) + options
    whole = undisturbed(tmp/'whole', command) if n else 0
    while len(rows) < n:
        k = len(ends)
        found, fault = disturbed(tmp/f'{k}', command, TWO_KINDS if processes == 2 else ONE_KINDS, whole, min(most, n - len(rows)), rng, say)
        rows += [dict(run=k, processes=processes, kill=len(rows) + j + 1, **o) for j, o in enumerate(found)]
        files, differ = same(tmp/'whole/run', tmp/f'{k}/run') if not fault else (0, [])
        ends.append(dict(run=k, processes=processes, kills=len(found), files=files, differ=differ, fault=fault))
        say(ends[-1])
        if not fault and not differ: shutil.rmtree(tmp/f'{k}')
    return rows, ends, whole

def together(tmp, commands):
    "Exit codes and last lines of commands that begin at once in one folder"
    ps = [start(c, tmp/f'{k}') for k, c in enumerate(commands)]
    return [(p.wait(), [*(tmp/f'{k}/said.txt').read_text().splitlines(), ''][-2 if p.wait() else 0]) for k, p in enumerate(ps)]

def locks(tmp, tests, say):
    "What happens to commands that begin together: name -> (as it should be, in words)"
    res, run = {}, tmp/'run'
    def at(out, *more, command=COMMAND): return [*command[:-1], str(out), *TINY, *tests, *more]
    eight = together(tmp/'eight', [at(run)]*8)
    codes = Counter(c for c, _ in eight)
    said = [l for c, l in eight if c]
    res['8 at once on one new folder'] = codes == {0: 1, 2: 7} and all('is in use by process' in l or 'another process' in l for l in said), f"exit codes {dict(codes)}; refused in one line: {all(len((tmp/f'eight/{k}/said.txt').read_text().splitlines()) == 1 for k, (c, _) in enumerate(eight) if c)}"
    say(res)
    shards = tmp/'shards'
    four = together(tmp/'four', [at(shards, '--stages', 'restore,refine', '--shard', f'{k}/4') for k in range(1, 5)])
    merged = start(at(shards), tmp/'merge').wait()
    skip = ('pseudo/records-', 'inputs', 'config', 'report')
    differ = [f for f in same(run, shards)[1] if not f.startswith(skip)]
    res['4 shards at once, then all of it'] = not any(c for c, _ in four) and merged == 0 and not differ, f'exit codes {[c for c, _ in four]}, {merged}; other than one process: {differ or "nothing"}'
    say(res)
    ranks = tmp/'ranks'
    two = together(tmp/'two', [at(ranks, command=TWO)]*2)
    res['2 launchers of 2 at once'] = sorted(bool(c) for c, _ in two) == [False, True], f'exit codes {[c for c, _ in two]}'
    p = start(at(tmp/'died'), tmp/'dead')
    while not list(tmp.glob('died/pseudo/targets/*.png')) and p.poll() is None: time.sleep(.05)
    p.kill(), p.wait()
    again = start(at(tmp/'died'), tmp/'dead').wait()
    told = 'has died; going on where it was' in (tmp/'dead/said.txt').read_text()
    res['a holder that was killed'] = told and again == 0, f'exit code {again}, told of it: {told}'
    note = dict(host='elsewhere', pid=1, since='2026-01-01 00:00:00', command='lego_run')
    (tmp/'died/.held/run.json').write_text(json.dumps(note)) # a lock of another machine that is gone: none is held
    again = start(at(tmp/'died'), tmp/'dead').wait()
    told = 'process 1 on elsewhere' in (tmp/'dead/said.txt').read_text()
    res['a note of another machine'] = told and again == 0, f'exit code {again}, told of it: {told}'
    say(res)
    return res

def table(title, series):
    "Lines of Markdown that count the kills and the ends of some series"
    rows, ends = ([o for k in series for o in k[j]] for j in (0, 1))
    if not ends: return []
    good = sum(not o['fault'] and not o['differ'] for o in ends)
    whole = ', '.join(f"{w:.0f} with {e[0]['processes']} process" + 'es'*(e[0]['processes'] > 1) for _, e, w in series if e)
    lines = [f'## {title}', '', f"**{len(rows)} kills in {len(ends)} runs; {good} of {len(ends)} ended identical** to an undisturbed run ({whole} processor seconds); "
             f"{max(o['files'] for o in ends)} files compared in each.", '', '| processes | signal | kills | exit codes |', '|--:|---|--:|---|']
    for (p, k), n in sorted(Counter((r['processes'], r['signal']) for r in rows).items()):
        lines.append(f"| {p} | {k} | {n} | {', '.join(sorted({str(r['exit']) for r in rows if (r['processes'], r['signal']) == (p, k)}))} |")
    reached = Counter(' '.join(re.sub('[:,]', '', r['reached']).split()[:3]) or 'before the first line' for r in rows)
    lines += ['', 'Last lines before the kills: ' + ', '.join(f'{k} {n}' for k, n in reached.most_common()) + '.', '']
    return lines + [f"- run {o['run']} of {o['processes']} processes: {o['fault'] or 'differs in ' + ', '.join(o['differ'][:9])}" for o in ends if o['fault'] or o['differ']]

def summary(args, short, full, lock):
    "The counts, in Markdown"
    import torch
    where = f"{os.cpu_count()} cores ({platform.machine()}), Linux, Python {platform.python_version()}, torch {torch.__version__}, one thread a process"
    lines = ['# Runs that were killed', '', f"`python benchmarks/faults.py {' '.join(args)}` on {time.strftime('%Y-%m-%d')}; {where}. What is done, compared and left out stands in the script; every kill is a line of the CSV file.", '',
             *table('Short runs', short), *table('At full size', full)]
    if lock: lines += ['## Commands that begin together', '', '| what | as it should be | seen |', '|---|---|---|', *(f"| {k} | {'yes' if o else 'no'} | {s.replace('|', '/')} |" for k, (o, s) in lock.items()), '']
    return '\n'.join(lines).rstrip() + '\n', not any(o['fault'] or o['differ'] for k in short + full for o in k[1]) and all(o for o, _ in lock.values())

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kills', type=int, default=50)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--full', type=int, default=0, help='kills of the plain run')
    p.add_argument('--locks', action='store_true')
    p.add_argument('--jobs', type=int, default=2, help='runs at a time')
    p.add_argument('--quick', action='store_true')
    p.add_argument('--out', help='writes OUT.csv and OUT.md')
    args = p.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler) # what is started in the background of a shell would ignore it
    tmp = Path(tempfile.mkdtemp(prefix='faults-'))
    def say(o): print(time.strftime('%H:%M:%S'), o, flush=True)
    say(tmp)
    tests, two = small_tests(tmp), 0 if args.quick else round(.4*args.kills)
    with ThreadPoolExecutor(args.jobs) as pool:
        n = 2 if args.quick else args.kills - two
        short = [pool.submit(kills, tmp/f'short-{p}', k, args.seed, p, (TINY if args.quick else SHORT) + tests, say) for p, k in ((1, n), (2, two))]
        short = [o.result() for o in short]
    full = [kills(tmp/'full', args.full, args.seed, 1, [], say)] if args.full else []
    lock = locks(tmp/'locks', tests, say) if args.locks else {}
    text, good = summary(sys.argv[1:], short, full, lock)
    if args.out:
        Path(f'{args.out}.md').write_text(text)
        with open(f'{args.out}.csv', 'w', newline='') as f:
            w = csv.DictWriter(f, HEAD, lineterminator='\n')
            w.writeheader(), w.writerows(dict(size=size, **o) for size, some in dict(short=short, full=full).items() for rows, *_ in some for o in rows)
    print(text)
    if good: shutil.rmtree(tmp)
    sys.exit(not good)

if __name__ == '__main__': main()
