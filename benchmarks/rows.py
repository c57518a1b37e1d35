"""How much memory and time do status, gate, evaluate and report take, where a run has 1,000, 10,000 and 100,000 images?

    python benchmarks/rows.py [--images 1000,10000,100000] [--out benchmarks/rows.md]

A run is made up: its images are links to a few files of 64×64 (all file systems can do that), its records, decisions and scores
are drawn at random, with as many test images as unlabelled ones, of ten photographs in the name of each hundred, three models and
three metrics. Then each command is started on it in a process of its own. Memory is the peak of that process above one that has
started and imported as much; both are the kernel's figures (ru_maxrss). Linux alone.
"""
import argparse, contextlib, io, json, os, random, resource, shutil, subprocess, sys, tempfile, time
from pathlib import Path

MODELS, METRICS = ('unadapted', 'adapted', 'old-pairs'), ('psnr', 'ssim', 'niqe-pocket')

def fill(folder, ids, source):
    "A folder of links, a fresh copy for every 30,000 names"
    folder.mkdir(parents=True)
    for n, i in enumerate(ids):
        if n % 30_000 == 0: at = shutil.copyfile(source, folder/f'{i}.png')
        else: os.link(at, folder/f'{i}.png')

def make(run, n):
    "Make up a run of `n` images, all stages done"
    import torch
    from lego_nb.evaluation import write_scores
    from lego_nb.files import write_json, write_jsonl
    from lego_nb.gate import scorer
    from lego_nb.images import write_image
    from lego_nb.run_choice import _made_by
    from lego_nb.run_folder import Run, changes, take_in
    from lego_nb.settings import resolve_settings
    rng, ids, base = random.Random(0), [f'p{k//10:05}-{k%10:03}-000' for k in range(n)], run.parent
    torch.manual_seed(0)
    write_image(torch.rand(3, 64, 64), base/'one.png')
    for f in ('photos', 'test/lq', 'test/gt'): fill(base/f, ids, base/'one.png')
    for f in ('pairs/lq', 'pairs/gt'): fill(base/f, ids[:20], base/'one.png')
    settings = resolve_settings('pocket', ood=str(base/'photos'), id_pairs=str(base/'pairs'), test=str(base/'test'), test_id=str(base/'pairs'),
                                candidates='t0=.3+t0=.6', controls='old-pairs', control_images=0)
    r = Run(run, settings)
    take_in(r, *changes(r, None)[:2])
    for f in ('pseudo/restored', 'pseudo/targets', 'pseudo/lq'): fill(run/f, ids, base/'one.png')
    for m in MODELS: fill(run/f'evaluation/images/ood/{m}', ids, base/'one.png')
    facts = scorer(r.gate_settings())
    def scores(): return {'niqe-pocket': rng.gauss(6, 1), 'niqe-pocket_restored': rng.gauss(6, 1), 'psnr': rng.gauss(26, 2), 'structure': .8, 'tone': 3.,
                          'drift': 1., 'drift_red': .4, 'drift_green': .7, 'drift_blue': -2., 'drift_cost': .02, 'consistency': 30.}
    rows = [dict(id=i, oracle='pocket', evaluations=10, batch=16, seconds=1.2, plan='t0=0.3', scores=scores(), scorer=facts) for i in ids]
    write_jsonl(rows, run/'pseudo/records-0.jsonl')
    write_jsonl([dict(id=i, judged=dict(gain=rng.gauss(1, 1), better=.9, strange=.2)) for i in ids], run/'pseudo/records-judged.jsonl')
    entry = dict(chosen='t0=0.3', best='t0=0.3', why='made up', images=n, sample=ids[:8], plans=[])
    write_json(dict(settings=_made_by(settings), trusted=True, of={}, groups=dict(all=entry), rows=[]), run/'pseudo/choice.json')
    write_json(dict(settings=settings, versions={}, hardware={}, started='2026-01-01'), run/'config.json')
    for m in MODELS[1:]: shutil.copytree(Path(__file__).parents[1]/'lego_nb/weights/restorer', run/f'checkpoints/{m}')
    write_scores([dict(model=m, split='ood', photograph=i.split('-')[0], image=i, seed=0, metric=k, value=rng.gauss(25, 2)) for m in MODELS for i in ids for k in METRICS]
                 + [dict(model=m, split='id', photograph=i.split('-')[0], image=i, seed=0, metric=k, value=rng.gauss(25, 2)) for m in MODELS for i in ids[:20] for k in METRICS],
                 run/'evaluation/scores.csv')

def parts(run):
    "Name -> what is measured"
    from lego_nb.commands import lego_evaluate, lego_gate, lego_report, lego_status
    from lego_nb.evaluation import paired_test
    def tests():
        rng = random.Random(0)
        paired_test([rng.gauss(.1, 1) for _ in range(sum(1 for _ in (run/'pseudo/targets').iterdir()))])
    def whole():
        from lego_nb.inputs import check_whole
        check_whole(run)
    return {'start': lambda: None, 'check_whole': whole, 'gate': lambda: lego_gate(out=str(run)), 'status': lambda: lego_status(out=str(run)),
            'evaluate, nothing to do': lambda: lego_evaluate(out=str(run)), 'report': lambda: lego_report(out=str(run)),
            'paired test, a photograph each': tests}

def one(run, name):
    "Do one part, and print its seconds and the peak of this process"
    import torch, pandas, scipy.stats, matplotlib.pyplot
    from lego_nb import stages, report, evaluation, control, model_card, controls
    torch.set_num_threads(1)
    at, cpu, said = time.time(), time.process_time(), io.StringIO()
    fn = parts(run)[name]
    try:
        with contextlib.redirect_stdout(said): fn()
    except BaseException as e: print(said.getvalue()[-2000:], file=sys.stderr); raise
    print(json.dumps(dict(seconds=time.time() - at, cpu=time.process_time() - cpu, peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024)))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--images', default='1000,10000,100000')
    p.add_argument('--out', help='Markdown')
    p.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    p.add_argument('--make', nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.one: return one(Path(args.one[0]), args.one[1])
    if args.make: return make(Path(args.make[0]), int(args.make[1]))
    found, names = {}, []
    for n in map(int, args.images.split(',')):
        with tempfile.TemporaryDirectory(prefix='rows-') as tmp:
            run = Path(tmp)/'run'
            subprocess.run([sys.executable, __file__, '--make', str(run), str(n)], check=True, stdout=subprocess.DEVNULL) # a child begins with its parent's peak
            for name in names or (names := [*parts(run)]):
                r = subprocess.run([sys.executable, __file__, '--one', str(run), name], capture_output=True, text=True, env={**os.environ, 'TQDM_DISABLE': '1'})
                if r.returncode: sys.exit(f'{name}, {n}: {r.stderr[-3000:]}')
                o = found[name, n] = json.loads(r.stdout.splitlines()[-1])
                print(f"{name}, {n:,}: {(o['peak'] - found['start', n]['peak'])/1e6:.0f} MB, {o['cpu']:.1f} s", flush=True)
    sizes = [*dict.fromkeys(n for _, n in found)]
    head = '| | ' + ' | '.join(f'{n:,}: MB | s' for n in sizes) + ' |\n|---|' + '--:|'*(2*len(sizes))
    lines = [f'| {k} | ' + ' | '.join(f"{(found[k, n]['peak'] - found['start', n]['peak'])/1e6:,.0f} | {found[k, n]['cpu']:.1f}" for n in sizes) + ' |' for k in names if k != 'start']
    text = '\n'.join([f"`python benchmarks/rows.py {' '.join(sys.argv[1:])}` on {time.strftime('%Y-%m-%d')}: images, peak memory above the start, processor seconds", '', head, *lines, ''])
    print(text)
    if args.out: Path(args.out).write_text(text)

if __name__ == '__main__': main()
