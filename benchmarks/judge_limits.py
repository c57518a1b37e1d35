"""What the judge says where it was not trained: rain, motion blur, haze, darkness, restorers that enlarge four times; on validation photographs.
    python benchmarks/judge_limits.py --photos DIR --out DIR
writes limits.json and limits.md, `--calibrate 256` also a judge calibrated to bicubic x4, and `--features` what other distances can be tried on."""
import argparse, json
from pathlib import Path

T0 = {.1: 4, .3: 5, .6: 6} # noise level -> steps, as the pocket preset's plans
KNOWN, NEW = ['camera', 'wide', 'pocket-strong'], ['rain', 'motion', 'low-light', 'x4', 'x4 strong']

def degraded(name, x, ids, dice, restorer):
    "Restorations of crops and their truths, as a domain has them"
    import torch.nn.functional as F
    from lego_nb.camera import camera
    from lego_nb.degrade import degrade
    from lego_nb.triples import wide_faults
    if name == 'camera': y, x = camera(x, dice)
    elif name == 'wide': y = wide_faults(x, dice)
    elif name == 'x4 strong': y = degrade(x, 'strong', ids, scale=4)
    elif name == 'x4': y = F.interpolate(x, scale_factor=.25, mode='bicubic', antialias=True).clamp(0, 1)
    else: y = degrade(x, name, ids)
    if not name.startswith('x4'): return restorer.restore(y), x
    return F.interpolate(y, scale_factor=4., mode='bicubic').clamp(0, 1), x

def measure(a, device):
    "A row for each domain, photograph, crop and plan, and the images"
    import torch
    from lego_nb.camera import Dice
    from lego_nb.denoiser import non_local_means
    from lego_nb.images import quantize
    from lego_nb.load_restorer import load_restorer
    from lego_nb.options import RefineSettings
    from lego_nb.oracle import Oracle
    from lego_nb.photo_crops import PhotoCrops, split_photographs
    from lego_nb.pixel_metrics import psnr
    from lego_nb.refinement import refine
    oracle, restorer, rows, images = Oracle.from_pretrained('pocket', device), load_restorer('pocket', device), [], []
    for k, (photo, f) in enumerate(split_photographs(a.photos)[1].items()):
        clean = PhotoCrops([f], (1, .65), 64).batch(a.crops, torch.Generator().manual_seed(k)).to(device)
        ids = [f'{photo}-{j}' for j in range(len(clean))]
        for n, name in enumerate(KNOWN + NEW):
            r, x = (quantize(o) for o in degraded(name, clean, ids, Dice(len(clean), 100*k + n, device), restorer))
            made = {'nlm': non_local_means(r, .8)}
            for t0, steps in T0.items():
                s = RefineSettings(t0=t0, steps=steps, guidance=2., inject_steps=1, solver='fireflow', min_side=None, tile=64, overlap=16)
                made[f't0 {t0}'] = refine(oracle, r, s)[0]
            for plan, t in made.items():
                t = quantize(t)
                for j, gain in enumerate((psnr(t, x) - psnr(r, x)).tolist()):
                    rows.append(dict(domain=name, photograph=photo, crop=j, plan=plan, true=gain))
                    images.append(((r[j], t[j])))
        print(photo, flush=True)
    return rows, *(torch.stack(o) for o in zip(*images))

def judged(judge, rows, r, t):
    "The rows with what a judge foretells"
    from lego_nb.judge import judge_pairs
    said = judge_pairs(judge, r, t, batch=256)
    return [dict(o, gain=g, strange=s) for o, g, s in zip(rows, said.gain.tolist(), said.strange.tolist())]

def table(rows):
    "One line for each domain"
    from lego_nb.intervals import over_photographs, signed
    from lego_nb.judge_calibration import scores_over_photographs
    from lego_nb.lego_judge import STRANGE
    lines, facts = ['| faults, restorer | AUC | right sign | foretold, dB | true, dB | stranger than 1 | verdict | chosen: true gain | best plan |', '|---|---|---|---|---|--:|---|---|---|'], {}
    for name in dict.fromkeys(r['domain'] for r in rows):
        own = [r for r in rows if r['domain'] == name]
        scores = scores_over_photographs(*([r[k] for r in own] for k in ('gain', 'true', 'photograph')))
        plans = {p: [r for r in own if r['plan'] == p] for p in dict.fromkeys(r['plan'] for r in own)}
        def mean(p, k): return sum(r[k] for r in plans[p])/len(plans[p])
        best, strange = max(plans, key=lambda p: mean(p, 'true')), sum(r['strange'] > 1 for r in own)/len(own)
        first = max(plans, key=lambda p: mean(p, 'gain'))
        chosen = first if mean(first, 'gain') > 0 else None
        told, true = (over_photographs(own, k)[0] for k in ('gain', 'true'))
        harm = mean(chosen, 'true') if chosen else 0.
        facts[name] = dict(scores, foretold=told, true=true, strange=strange, chosen=chosen or 'keep', gain=harm, best=best, most=mean(best, 'true'))
        def three(v): return '' if v is None else f'{v[0]:.2f} ({v[1]:.2f} to {v[2]:.2f})'
        lines.append(f"| {name} | {three(scores['auc'])} | {three(scores['sign'])} | {signed(told)} | {signed(true)} | {100*strange:.0f} % | {'yes' if strange <= STRANGE else 'no'} "
                     f"| {chosen or 'keep'}: {harm:+.2f} | {best}: {mean(best, 'true'):+.2f} |")
    return '\n'.join(lines) + '\n', facts

def calibrated(a, device):
    "A judge tuned to bicubic x4 on the training photographs, and what its own test says"
    import torch.nn.functional as F
    from lego_nb.judge_calibration import judge_for
    from lego_nb.options import RefineSettings
    from lego_nb.oracle import Oracle
    from lego_nb.photo_crops import split_photographs
    class Bicubic:
        scale = 4
        def restore(self, y): return F.interpolate(y, scale_factor=4., mode='bicubic').clamp(0, 1)
    s = RefineSettings(steps=6, guidance=2., inject_steps=1, solver='fireflow', min_side=None, tile=64, overlap=16)
    pairs = {i: (None, f) for i, f in split_photographs(a.photos)[0].items()}
    return judge_for(a.judge, a.calibrate, pairs, Bicubic(), lambda: Oracle.from_pretrained('pocket', device), s, a.out/'calibrated', device=device, progress=False, about='pocket')

def features(a, judge, device, r, t):
    "What the judge sees of these images and of training triples, for trying other distances"
    import torch
    from lego_nb.load_restorer import load_restorer
    from lego_nb.oracle import Oracle
    from lego_nb.photo_crops import PhotoCrops, split_photographs
    from lego_nb.triples import refined_at_random, write_triples
    oracle, restorer = Oracle.from_pretrained('pocket', device), load_restorer('pocket', device)
    pool = write_triples(a.out/'triples', 4096, PhotoCrops(split_photographs(a.photos)[0].values(), (1, .8, .65, .5, .4)), [restorer.restore], [refined_at_random(oracle)], seed=77, device=device, progress=False)
    def seen(r, t): return torch.cat([judge.features(r[k:k + 256], t[k:k + 256])[0] for k in range(0, len(r), 256)]).half().cpu()
    with torch.no_grad(): torch.save(dict(train=seen(*pool.images(slice(None))[:2]), here=seen(r, t)), a.out/'features.pt')

def main(a):
    import torch
    from lego_nb.console import find_device
    from lego_nb.judge import load_judge
    device, judge = find_device(a.device), None
    a.out.mkdir(parents=True, exist_ok=True)
    rows, r, t = measure(a, device)
    judge = load_judge(a.judge, device)
    rows0 = judged(judge, rows, r, t)
    text, facts = table(rows0)
    res = dict(crops=a.crops, shipped=facts)
    if a.calibrate:
        tuned, about = calibrated(a, device)
        more, res['calibrated'] = table(judged(tuned, rows, r, t))
        res['calibration'] = {k: v for k, v in about.items() if k != 'key'}
        text += f"\nCalibrated to bicubic x4: {about['why']}\n\n{more}"
    if a.features: features(a, judge, device, r, t)
    (a.out/'limits.json').write_text(json.dumps(res, indent=1) + '\n'); (a.out/'limits.md').write_text(text)
    (a.out/'rows.json').write_text(json.dumps(rows0) + '\n')
    print(text)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--photos', type=Path, required=True); p.add_argument('--out', type=Path, required=True); p.add_argument('--device')
    p.add_argument('--judge', type=Path, help='weights; those that ship'); p.add_argument('--crops', type=int, default=2, help='of each photograph, 64×64')
    p.add_argument('--calibrate', type=int, default=0, help='refinements for a calibration to bicubic x4'); p.add_argument('--features', action='store_true')
    main(p.parse_args())
