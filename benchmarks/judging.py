"""Asks whether the judge knows when a refinement helped: beside NIQE, PIQE and the size of the change, and as a chooser of settings.

    python benchmarks/judging.py --polyu DIR --city100 DIR --photos DIR --out DIR [--crops 48] [--judge FILE ...]

Sets: PolyU (real camera noise, the half of the scenes that is evidence), City100 (two cameras, another lens), validation photographs
under pocket-strong and pocket-weak. One crop of 64 pixels of each image; restorations by the pocket restorer, proposals by the
pocket oracle under fixed settings and by non-local means. Intervals are over scenes, or photographs.
"""
import argparse, json
from pathlib import Path

import numpy as np
import torch

from lego_nb.console import hardware
from lego_nb.degrade import degrade
from lego_nb.denoiser import non_local_means
from lego_nb.files import image_files, markdown_grid, write_json
from lego_nb.images import cut_crops, image_seed, quantize, read_image
from lego_nb.intervals import bootstrap_ci
from lego_nb.judge import judge_pairs, load_judge
from lego_nb.load_restorer import load_restorer
from lego_nb.metrics import metric, score
from lego_nb.options import PROMPT, RefineSettings
from lego_nb.oracle import Oracle
from lego_nb.photo_crops import split_photographs
from lego_nb.pixel_metrics import psnr
from lego_nb.refinement import refine
from real import developed, scene, spread

PLANS = {'t0 .1': dict(t0=.1, steps=4), 't0 .3': dict(t0=.3, steps=5), 't0 .6': dict(t0=.6, steps=6), 't0 .9': dict(t0=.9, steps=12, solver='fireflow'), 'nlm 1': 1., 'nlm 2': 2.}
FIXED = [*PLANS][:4] # settings of the oracle, as the pocket preset offers them

def crop(x, id):
    at = cut_crops(x, 64, 32)
    return at[image_seed(id) % len(at)]

def real(folder, ids, group):
    lq, gt = (image_files(folder/o) for o in ('lq', 'gt'))
    pairs = []
    for i in ids(lq):
        top, left, x = crop(read_image(lq[i]), i)
        pairs.append((x, read_image(gt[i])[:, top:top + 64, left:left + 64], group(i)))
    return pairs

def sets(a):
    "Name -> list of (input, truth, scene)"
    n = a.crops
    yield 'PolyU, evidence', real(a.polyu, lambda f: spread([i for i in f if not developed(scene(i))], n), scene)
    for camera in ('nikon', 'iphone'): yield f'City100, {camera}', real(a.city100/camera, lambda f: spread([*f], n), lambda i: i)
    valid = split_photographs(a.photos)[1]
    for name in ('pocket-strong', 'pocket-weak'):
        x = [(crop(read_image(f), f'{i}/{k}')[2], i) for i, f in valid.items() for k in range(max(1, n//len(valid)))]
        lq = degrade(torch.stack([o for o, _ in x]), name, [f'{i}/{k}' for k, (_, i) in enumerate(x)])
        yield f'{name}, validation', [(y, o, i) for y, (o, i) in zip(lq, x)]

def proposals(oracle, r):
    for name, how in PLANS.items():
        if isinstance(how, float): yield name, quantize(non_local_means(r, how))
        else: yield name, quantize(torch.cat([refine(oracle, o, RefineSettings(prompt=PROMPT, guidance=2., inject_steps=1, min_side=None, **how))[0] for o in r.split(24)]))

def auc(s, g):
    from sklearn.metrics import roc_auc_score
    return roc_auc_score(g > 0, s) if len({*(g > 0)}) == 2 else np.nan

def over_scenes(f, scenes, n=500):
    "A statistic of images, with its 95 % interval from scenes drawn again"
    names, rng = sorted({*scenes}), np.random.default_rng(0)
    where = {s: np.flatnonzero(np.array(scenes) == s) for s in names}
    drawn = [f(np.concatenate([where[s] for s in rng.choice(names, len(names))])) for _ in range(n)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
    return f(np.arange(len(scenes))), low, high

def shown(v, d=2, sign=''): return '–' if not np.isfinite(v[0]) else '{:{s}.{d}f} ({:{s}.{d}f} to {:{s}.{d}f})'.format(*v, d=d, s=sign)

def chosen(foretold): # plan -> values
    best = max(foretold, key=lambda k: foretold[k].mean())
    return best if foretold[best].mean() > 0 else 'keep'

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name in ('polyu', 'city100', 'photos', 'out'): p.add_argument(f'--{name}', type=Path, required=True)
    p.add_argument('--crops', type=int, default=48, help='images of a set, at most')
    p.add_argument('--judge', type=Path, nargs='*', default=[], help='further judges, such as other seeds')
    a = p.parse_args()
    oracle, restorer = Oracle.from_pretrained('pocket'), load_restorer('pocket')
    judges = {'judge': load_judge(), **{f'judge {f.parent.name}': load_judge(f) for f in a.judge}}
    blind = {k: metric(k) for k in ('niqe-pocket', 'pyiqa:piqe')}
    signs, cells, choices, facts = [], [], [], {}
    for name, pairs in sets(a):
        lq, gt, scenes = (quantize(torch.stack([o[0] for o in pairs])), quantize(torch.stack([o[1] for o in pairs])), [o[2] for o in pairs])
        r = quantize(restorer.restore(lq))
        base, before = psnr(r, gt), {k: score(r, m) for k, m in blind.items()}
        true, said = {}, {k: {} for k in (*judges, *blind, 'little change')}
        for plan, t in proposals(oracle, r):
            true[plan] = (psnr(t, gt) - base).numpy()
            for k, j in judges.items(): said[k][plan] = judge_pairs(j, r, t).gain.numpy()
            for k, m in blind.items(): said[k][plan] = (before[k] - score(t, m)).numpy() # lower is better in both
            said['little change'][plan] = -(t - r).abs().mean((1, 2, 3)).numpy()
        G = np.stack([true[k] for k in PLANS])
        for k, v in said.items():
            P = np.stack([v[o] for o in PLANS])
            clear = lambda i: np.abs(G[:, i]) > .1
            right = over_scenes(lambda i: ((P[:, i] > 0) == (G[:, i] > 0))[clear(i)].mean() if clear(i).any() else np.nan, scenes) if k != 'little change' else (np.nan,)*3
            signs.append([name, k, shown(over_scenes(lambda i: auc(P[:, i].ravel(), G[:, i].ravel()), scenes)), shown(right)])
        for plan in PLANS: cells.append([name, plan, shown(bootstrap_ci(mean_by(true[plan], scenes)), sign='+'), *(f'{said[k][plan].mean():+.2f}' for k in judges), f'{(true[plan] > 0).mean():.0%}'])
        rng = np.random.default_rng(0)
        for k in judges:
            v = {o: said[k][o] for o in FIXED}
            pick = chosen(v)
            drawn = [chosen({o: x[i] for o, x in v.items()}) for i in (rng.choice(len(r), 12, replace=False) for _ in range(500))]
            gained = [0. if o == 'keep' else true[o].mean() for o in drawn]
            final = np.zeros(len(r)) if pick == 'keep' else true[pick]
            veto = np.zeros(len(r)) if pick == 'keep' else np.where(v[pick] > 0, true[pick], 0)
            best = max(FIXED, key=lambda o: true[o].mean())
            choices.append([name, k, pick, shown(bootstrap_ci(mean_by(final, scenes)), sign='+'), shown(bootstrap_ci(mean_by(veto, scenes)), sign='+'),
                            f'{np.mean(gained):+.2f}, {np.quantile(gained, .05):+.2f}', f"{true['t0 .9'].mean():+.2f}", f'{best} {true[best].mean():+.2f}'])
        facts[name] = dict(images=len(r), scenes=len({*scenes}), restored=float(base.mean()))
        print(name, facts[name], flush=True)
    tables = [markdown_grid([['set', 'score', 'AUC (95 %)', 'sign right (95 %)'], *signs], (2, 3)),
              markdown_grid([['set', 'proposal', 'true gain, dB (95 %)', *(f'foretold, {k}' for k in judges), 'images better'], *cells], range(2, 4 + len(judges))),
              markdown_grid([['set', 'by', 'setting chosen', 'its gain, dB (95 %)', 'with vetoes', 'chosen from 12 crops: mean, 5 % quantile', 'always t0 .9', 'best fixed, with truth'], *choices], range(3, 8))]
    a.out.mkdir(parents=True, exist_ok=True)
    text = '\n\n'.join([', '.join(f"{k}: {v['images']} crops of {v['scenes']} scenes, restored {v['restored']:.2f} dB" for k, v in facts.items()) + '.', *tables])
    (a.out/'judging.md').write_text(text + '\n', encoding='utf-8')
    write_json(dict(sets=facts, hardware=hardware(), torch=torch.__version__), a.out/'judging.json')
    print(text)

def mean_by(values, scenes): return [values[np.array(scenes) == s].mean() for s in dict.fromkeys(scenes)]

if __name__ == '__main__': main()
