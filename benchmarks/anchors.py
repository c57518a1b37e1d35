"""Compares anchors with in-distribution pairs: what is gained in a new domain, what is forgotten in the old one.

    python benchmarks/anchors.py --photos DIR [--restorers pocket,nafnet] [--seeds 3] [--iterations 250] [--side 256]
                                              [--anchors DIR] [--out FILE]

DIR holds the photographs of the pocket weights (`lego_nb.pocket.split_photographs`): crops of the training ones are adapted to, and
every model is judged on the validation ones, never on test images. README.md beside this file tells what is compared with what.
"""
import argparse, json, os, sys, tempfile, time
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import torch, torch.nn.functional as F

from lego_nb.anchors import Anchors, anchor_files, write_shipped
from lego_nb.datasets import Degraded, Pairs, centre_crop, lower
from lego_nb.degrade import DEGRADATIONS, light, pocket_strong, pocket_weak
from lego_nb.evaluation import crossed_ci, signed
from lego_nb.files import markdown_grid, write_json
from lego_nb.finetune import finetune
from lego_nb.images import read_image
from lego_nb.load_restorer import load_restorer
from lego_nb.options import FinetuneSettings, RefineSettings
from lego_nb.oracle import Oracle
from lego_nb.pixel_metrics import psnr
from lego_nb.pocket import PhotoCrops, split_photographs
from lego_nb.refinement import refine
from lego_nb.restorers import NetRestorer
from lego_nb.settings import PRESETS

ARMS = {'none': 'pseudo-pairs alone', 'pairs': 'in-distribution pairs', 'truth': 'anchors, their truth',
        'unadapted': "anchors, the unadapted model's output"}
SPLITS = dict(ood='out-of-distribution', id='in-distribution', light='anchors')


def say(*what): print(*what, file=sys.stderr, flush=True)

def reduced(f):
    "A degradation of images that are first reduced by `scale`"
    def g(x, draws, scale=1):
        return f(F.interpolate(x, scale_factor=1/scale, mode='bicubic', antialias=True).clamp(0, 1) if scale > 1 else x, draws)
    return g

DEGRADATIONS |= {'old': reduced(pocket_weak), 'new': reduced(pocket_strong)}


# ---------------------------------------------------------------- restorers

def net(name):
    "A network of spandrel at random weights, and by how much it enlarges"
    if name == 'nafnet':
        from spandrel.architectures.NAFNet import NAFNet
        return NAFNet(width=8, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1], middle_blk_num=1), 1
    from spandrel.architectures.Compact import Compact
    return Compact(num_feat=24, num_conv=4, upscale=2), 2

def checkpoint(name, photos, folder, iterations):
    "A restorer: the pocket one, or a checkpoint that was trained a little on the Kodak photographs alone, as spandrel loads it"
    if name == 'pocket': return load_restorer(name)
    path = folder/f'{name}-{iterations}.pth'
    if not path.exists():
        torch.manual_seed(0)
        model, scale = net(name)
        s = FinetuneSettings(iterations=iterations, batch_size=8, crop=64//scale, lr=2e-3, warmup=50, ema=.98, id_ratio=1., mixed_precision='no',
                             log_with='none', checkpoint_every=10**6)
        old = Degraded({i: f for i, f in photos.items() if i.startswith('kodak')}, 'old', scale)
        began, start = time.time(), NetRestorer(model, scale=scale, multiple=4)
        trained = finetune(start, old, None, s, folder/f'{name}-{iterations}-state', progress=False)
        torch.save(dict(params=trained.net.state_dict()), path)
        say(f'{name}: trained for {time.time() - began:.0f} s')
    return load_restorer(path)


# ---------------------------------------------------------------- one adaptation

def pseudo_pairs(restorer, photos, n):
    "Unlabelled crops in the new domain with the pocket oracle's targets"
    g, scale = torch.Generator().manual_seed(0), restorer.scale
    x = PhotoCrops([f for i, f in photos.items() if i.startswith('unsplash')], size=64).batch(n, g)
    ids = [f'crop {i}' for i in range(n)]
    y = lower(x, 'new', ids, scale=scale)
    r = restorer.restore(y)
    s, oracle = RefineSettings.of(PRESETS['pocket']), Oracle.from_pretrained('pocket')
    t = torch.cat([refine(oracle, r[k:k+16], s, ids=ids[k:k+16])[0] for k in range(0, n, 16)])
    say(f'targets: {psnr(r, x).mean():.2f} dB restored, {psnr(t, x).mean():.2f} refined')
    return Pairs([*zip(ids, y, t)])

def old_pairs(arm, restorer, photos, anchors):
    "What holds on to the old domain"
    if arm == 'none': return None
    if arm == 'pairs': return Degraded({i: f for i, f in photos.items() if restorer.kind == 'pocket' or i.startswith('kodak')}, 'old', restorer.scale)
    return Anchors(anchors, restorer.scale, restorer if arm == 'unadapted' else None)

def judge(model, valid, side):
    "PSNR of every validation photograph, degraded as new, as old, and lightly: (split, photograph) -> dB"
    res = {}
    for split, name in dict(ood='new', id='old', light='light').items():
        for id, f in valid.items():
            x = centre_crop(read_image(f), side)[None]
            res[split, id] = float(psnr(model.restore(lower(x, name, [id], scale=model.scale)), x)[0])
    return res

def adapt(restorer, arm, seed, pairs, ood, iterations, folder):
    "Stage 2 with a seed"
    s = FinetuneSettings(iterations=iterations, batch_size=8, id_ratio=0. if arm == 'none' else .75, crop=64//restorer.scale, lr=6e-4, warmup=10,
                         ema=0., reduction='pooled', mixed_precision='no', log_with='none', checkpoint_every=10**6, seed=seed)
    return finetune(restorer, pairs, ood, s, folder, progress=False)


# ---------------------------------------------------------------- the table

def table(rows):
    "Gains by restorer and arm, with intervals over seeds and photographs"
    lines = []
    for name in dict.fromkeys(r['restorer'] for r in rows):
        before = {(r['split'], r['photograph']): r['psnr'] for r in rows if (r['restorer'], r['arm']) == (name, 'unadapted model')}
        for arm, words in ARMS.items():
            mine = [r for r in rows if (r['restorer'], r['arm']) == (name, arm)]
            def gain(s): return {(r['seed'], r['photograph']): r['psnr'] - before[s, r['photograph']] for r in mine if r['split'] == s}
            if mine: lines.append([name, words, *(signed(crossed_ci(gain(s))) for s in SPLITS)])
    return markdown_grid([['restorer', 'old behaviour held by', *(f'{v}, dB' for v in SPLITS.values())], *lines])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--photos', type=Path, required=True, help='clean photographs, divided as for the pocket weights')
    p.add_argument('--restorers', default='pocket,nafnet', help='by commas: pocket, nafnet, compact (enlarges twice)')
    p.add_argument('--arms', default=','.join(ARMS), help=f'by commas: {", ".join(ARMS)}')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--iterations', type=int, default=250, help='of an adaptation')
    p.add_argument('--train', type=int, default=1500, help="iterations of a small restorer's training")
    p.add_argument('--crops', type=int, default=96, help='unlabelled ones')
    p.add_argument('--side', type=int, default=256, help='of the middle of a validation photograph, pixels')
    p.add_argument('--anchors', type=Path, help='folder of clean images; without it the crops that ship')
    p.add_argument('--out', type=Path, default=Path('anchors.json'), help='results; what is there is not done again')
    o = p.parse_args()
    train, valid = split_photographs(o.photos)
    rows = json.loads(o.out.read_text())['rows'] if o.out.exists() else []
    state, work = o.out.with_suffix(''), Path(tempfile.mkdtemp())
    state.mkdir(parents=True, exist_ok=True)
    anchors = anchor_files(o.anchors or write_shipped(work/'shipped'))
    def note(name, arm, seed, scores):
        rows.extend(dict(restorer=name, arm=arm, seed=seed, split=s, photograph=i, psnr=round(v, 4)) for (s, i), v in scores.items())
        write_json(dict(anchors=len(anchors), iterations=o.iterations, train=o.train, crops=o.crops, side=o.side, rows=rows), o.out)
    for name in o.restorers.split(','):
        done = {(r['arm'], r['seed']) for r in rows if r['restorer'] == name}
        todo = [(arm, seed) for seed in range(o.seeds) for arm in o.arms.split(',') if (arm, seed) not in done]
        if not todo: continue
        restorer = checkpoint(name, train, state, o.train)
        if ('unadapted model', 0) not in done: note(name, 'unadapted model', 0, judge(restorer, valid, o.side))
        ood = pseudo_pairs(restorer, train, o.crops)
        for arm, seed in todo:
            began = time.time()
            model = adapt(restorer, arm, seed, old_pairs(arm, restorer, train, anchors), ood, o.iterations, work/f'{name}-{arm}-{seed}')
            note(name, arm, seed, judge(model, valid, o.side))
            say(f'{name}, {arm}, seed {seed}: {time.time() - began:.0f} s')
    print(table(rows))

if __name__ == '__main__': main()
