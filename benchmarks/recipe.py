"""Compares recipes of the pocket preset's Stage 2 on the validation photographs, which neither weights nor tests contain.

    python benchmarks/recipe.py --photos DIR --out recipe.csv [--recipes a,b] [--targets 0.6;0.9;truth;old] [--seeds N] [--threads N]

`--photos` are the photographs of the pocket weights (`94_pocket`). The middle 256x256 of each of its validation photographs is the test; the
demonstration's crops are trained on. `--targets` are names in TARGETS, truth, or old (in-distribution pairs alone). One line of the CSV for each
training; those that stand there are not run again, so the command may be stopped. README.md beside this file tells what came out.
"""
import argparse, csv, os, tempfile, time
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import torch

from lego_nb.datasets import Pairs, centre_crop
from lego_nb.degrade import degrade
from lego_nb.demo import demo_images
from lego_nb.files import markdown_grid
from lego_nb.finetune import finetune
from lego_nb.gate import decide, score_rows
from lego_nb.images import read_image, write_image
from lego_nb.load_restorer import load_restorer
from lego_nb.oracle import Oracle
from lego_nb.pixel_metrics import psnr
from lego_nb.pocket import split_photographs
from lego_nb.refinement import refine
from lego_nb.settings import RunSettings

TARGETS = {'0.9': dict(t0=.9), '0.6': dict(t0=.6, solver='euler', steps=6)}  # what differs from the preset
SAME = dict(id_ratio=.75, reduction='pooled', ood_weight=1., warmup=10, ema=0.)
RECIPES = {  # with three quarters of a batch, `two_means` is `pooled` with three times the ood_weight
    'shipped in 0.1': dict(iterations=250, batch_size=16, lr=3e-5, id_ratio=.9, ood_weight=.5),
    'batch 8, 250 it, 4e-4': dict(iterations=250, batch_size=8, lr=4e-4),
    'batch 8, 250 it, 6e-4': dict(iterations=250, batch_size=8, lr=6e-4),
    'batch 8, 250 it, 1e-3': dict(iterations=250, batch_size=8, lr=1e-3),
    'batch 8, 250 it, 1.5e-3': dict(iterations=250, batch_size=8, lr=1.5e-3),
    'batch 8, 250 it, 1e-3, ood_weight .5': dict(iterations=250, batch_size=8, lr=1e-3, ood_weight=.5),
    'batch 8, 250 it, 1e-3, ood_weight .7': dict(iterations=250, batch_size=8, lr=1e-3, ood_weight=.7),
    'batch 8, 300 it, 1e-3': dict(iterations=300, batch_size=8, lr=1e-3),
    'batch 8, 400 it, 1e-3': dict(iterations=400, batch_size=8, lr=1e-3),
    'batch 8, 250 it, 1e-3, ema .98': dict(iterations=250, batch_size=8, lr=1e-3, ema=.98),
    'batch 8, 250 it, 1e-3, two_means': dict(iterations=250, batch_size=8, lr=1e-3, reduction='two_means'),
    'batch 16 of 48 px, 250 it, 1e-3': dict(iterations=250, batch_size=16, lr=1e-3, crop=48),
    'batch 16, 200 it, 8e-4': dict(iterations=200, batch_size=16, lr=8e-4)}


def tests(photos):
    "Split -> ids, degraded and clean, N×3×256×256, of the validation photographs"
    clean = {i: centre_crop(read_image(f), 256) for i, f in split_photographs(photos)[1].items()}
    x = torch.stack(list(clean.values()))
    return {k: (degrade(x, name, list(clean)), x) for k, name in dict(ood='pocket-strong', id='pocket-weak').items()}

def quality(model, sets):
    "Split -> PSNR of every photograph"
    return {k: torch.cat([psnr(model.restore(y[None]), x[None]) for y, x in zip(*pair)]) for k, pair in sets.items()}

def pairs_of(split, name):
    "Ids, degraded and clean of the demonstration's training crops"
    clean = demo_images(split)
    x = torch.stack(list(clean.values()))
    return list(clean), degrade(x, name, list(clean)), x

def targets(kind, restorer, ids, y, x, tmp):
    "The pairs that Stage 2 gets: those of the oracle that pass the preset's gate, or those with truth; None for old pairs alone"
    if kind == 'old': return None
    if kind == 'truth': return Pairs(list(zip(ids, y, x)))
    s, restored = RunSettings.from_preset('pocket', **TARGETS[kind]), restorer.restore(y)
    made = torch.cat([refine(Oracle.from_pretrained(), restored[k:k + 16], s.refine)[0] for k in range(0, len(ids), 16)])
    files = {i: {k: write_image(o, tmp/f'{kind}/{k}/{i}.png') for k, o in zip(('target', 'restored', 'lq'), images)}
             for i, *images in zip(ids, made, restored, y)}
    kept = {r['id'] for r in decide(score_rows(files, s.gate), s.gate) if r['kept']}
    print(f'targets at t0 {kind}: {(psnr(made, x) - psnr(restored, x)).mean():+.2f} dB, {len(kept)} of {len(ids)} kept', flush=True)
    return Pairs([(i, a, b) for i, a, b in zip(ids, y, made) if i in kept])

def measure(recipe, seed, pairs, restorer, sets, before, out):
    "Train once: mean gains, the worst photograph's, and processor seconds of the training"
    preset, changes = RunSettings.from_preset('pocket'), SAME | RECIPES[recipe] | dict(seed=seed)
    if pairs[1] is None: changes |= dict(id_ratio=1.)
    began, busy = time.time(), time.process_time()
    model = finetune(restorer, *pairs, (preset | changes).finetune, out, progress=False)
    seconds = dict(processor_s=f'{time.process_time() - busy:.0f}', clock_s=f'{time.time() - began:.0f}')
    gains = {k: v - before[k] for k, v in quality(model, sets).items()}
    return {k: f'{v.mean():.3f}' for k, v in gains.items()} | {'worst ood': f"{gains['ood'].min():.3f}"} | seconds

FIELDS = ['recipe', 'targets', 'seed', 'ood', 'id', 'worst ood', 'processor_s', 'clock_s', 'threads']

def rows_of(path):
    "The lines of the CSV that are there"
    return list(csv.DictReader(path.open(encoding='utf-8'))) if path.exists() else []

def table(rows):
    "Mean over seeds for each recipe and its targets, with the least and the largest"
    lines = []
    for key in dict.fromkeys((r['recipe'], r['targets']) for r in rows):
        mine = [r for r in rows if (r['recipe'], r['targets']) == key]
        def told(k):
            v = [float(r[k]) for r in mine]
            return f'{sum(v)/len(v):+.2f}' + (f' ({min(v):+.2f} to {max(v):+.2f})' if len(v) > 1 else '')
        lines.append([*key, len(mine), told('ood'), told('id'), f"{min(float(r['processor_s']) for r in mine):.0f}"])
    return markdown_grid([['recipe', 'targets', 'seeds', 'ood, dB', 'id, dB', 'processor s'], *(map(str, o) for o in lines)], (2, 3, 4, 5))

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--photos', type=Path, required=True, help='clean photographs, validation ones among them')
    p.add_argument('--out', type=Path, required=True, help='CSV, a line for each training')
    p.add_argument('--recipes', default='', help='some of the names in RECIPES, by semicolons')
    p.add_argument('--targets', default='0.6', help='names in TARGETS, truth or old, by semicolons')
    p.add_argument('--seeds', type=int, default=1, help='0, 1, ...')
    p.add_argument('--threads', type=int, default=2, help='of torch')
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    restorer, sets = load_restorer('pocket'), tests(args.photos)
    before = quality(restorer, sets)
    print({k: f'{v.mean():.2f} dB unadapted' for k, v in before.items()}, flush=True)
    ood, (ids, y, x) = pairs_of('ood', 'pocket-strong'), pairs_of('id', 'pocket-weak')
    old = Pairs(list(zip(ids, y, x)))
    with tempfile.TemporaryDirectory() as tmp:
        for kind in args.targets.split(';'):
            found = None
            for recipe in args.recipes.split(';') if args.recipes else RECIPES:
                for seed in range(args.seeds):
                    if any((r['recipe'], r['targets'], r['seed']) == (recipe, kind, str(seed)) for r in rows_of(args.out)): continue
                    if kind != 'old' and not found: found = targets(kind, restorer, *ood, Path(tmp))
                    row = measure(recipe, seed, (old, found), restorer, sets, before, Path(tmp)/f'{recipe} {kind} {seed}')
                    row |= dict(recipe=recipe, targets=kind, seed=seed, threads=args.threads)
                    new = not args.out.exists()
                    with args.out.open('a', encoding='utf-8', newline='') as f:
                        w = csv.DictWriter(f, FIELDS)
                        if new: w.writeheader()
                        w.writerow(row)
                    print(row, flush=True)
    print(table(rows_of(args.out)))


if __name__ == '__main__': main()
