"""Adapts the pocket restorer to real photographs without truth, by the command a user would type, and judges it on other scenes.

    python benchmarks/real.py --polyu DIR --city100 DIR --out DIR [--sets polyu nikon iphone] [--seeds 0 1 2] [--options '--lr 4e-4 ...']

PolyU: real camera noise; 64 crops of the scenes to develop on are unlabelled, photographs of the other half are the test.
City100: another lens; crops of scenes 1 to 30, tests of 31 to 60. In-distribution pairs are those that ship.
A second start ends at once; interrupted, the same command goes on. README.md beside this file has what came out.
"""
import argparse, csv, re, shlex, subprocess, sys
from pathlib import Path

import torch

from lego_nb.console import hardware
from lego_nb.datasets import check_disjoint, mark_crops
from lego_nb.evaluation import read_scores
from lego_nb.files import image_files, markdown_grid, write_json
from lego_nb.images import cut_crops, image_seed, read_image, write_image
from lego_nb.intervals import bootstrap_ci, signed
from lego_nb.verdict import Verdict, verdict_lines

CROP, CROPS, SIDE = 64, 64, 192
HALVES = dict(csv.reader(open(Path(__file__).parent/'polyu_scenes.csv', encoding='utf-8')))

def scene(id): return re.sub(r'_+\d+$', '', id)

def developed(scene):
    """Whether a scene is of the half to develop on; polyu_scenes.csv has both halves, by the last bit of sha256
    of their names, but for NikonD800_..._plant, which moved to this one: a crop of it had been looked at"""
    return HALVES[scene] == 'develop'

def spread(things, n):
    "n of a list, evenly"
    return [things[k*len(things)//n] for k in range(min(n, len(things)))]

def places(files, n):
    "n crops, evenly over the files and, by a hash, over each of them: id of the file, top, left"
    ids = list(files)
    for k in range(n):
        i = ids[k % len(ids)]
        at = cut_crops(read_image(files[i]), CROP)
        yield i, *at[image_seed(i, k) % len(at)][:2]

def prepare(name, folder, out):
    "The folders of a run: unlabelled crops with their truth apart, test images of other scenes"
    lq, gt = (image_files(folder/side) for side in ('lq', 'gt'))
    mine = {i: f for i, f in lq.items() if (developed(scene(i)) if name == 'polyu' else int(i[:3]) <= 30)}
    rest = [i for i in lq if i not in mine]
    for i, top, left in places(mine, CROPS):
        for side, files in dict(unlabelled=lq, truth=gt).items():
            write_image(read_image(files[i])[:, top:top + CROP, left:left + CROP], out/f'{side}/{i}-{top:03d}-{left:03d}.png')
    for side in ('unlabelled', 'truth'): mark_crops(out/side)
    for i in spread(rest, 32):
        for side, files in dict(lq=lq, gt=gt).items():
            x = read_image(files[i])
            top, left = (n - SIDE >> 1 for n in x.shape[-2:])
            write_image(x[:, top:top + SIDE, left:left + SIDE], out/f'test/{side}/{i}.png')
    check_disjoint(train=[*mine.values()], test=[lq[i] for i in rest])

def run(data, out, seed, options):
    "A run as a user starts it"
    words = ['--preset', 'pocket', '--ood', data/'unlabelled', '--ood-truth', data/'truth', '--test', data/'test', '--out', out, '--seed', seed, *options]
    print('$ lego_run', shlex.join(map(str, words)), flush=True)
    subprocess.run([sys.executable, '-W', 'ignore', '-m', 'lego_nb', 'lego_run', *map(str, words)], check=True)

def gains(folders, split):
    "Model -> scene -> dB over the unadapted model, mean over images and seeds; and that of single images"
    scenes, images = {}, {}
    for folder in folders:
        rows = [r for r in read_scores(folder/'evaluation/scores.csv') if (r['split'], r['metric']) == (split, 'psnr')]
        base = {r['image']: r['value'] for r in rows if r['model'] == 'unadapted'}
        for r in rows:
            if r['model'] == 'unadapted': continue
            scenes.setdefault(r['model'], {}).setdefault(scene(r['image']), []).append(r['value'] - base[r['image']])
            images.setdefault(r['model'], {}).setdefault(r['image'], []).append(r['value'] - base[r['image']])
    mean = lambda groups: {m: {k: sum(v)/len(v) for k, v in g.items()} for m, g in groups.items()}
    return mean(scenes), mean(images)

def table(name, folders):
    "Lines: set, model, gain with interval over scenes, scenes better, worst image, seeds, change in distribution"
    (ood, images), (id, _) = gains(folders, 'ood'), gains(folders, 'id')
    for model, g in ood.items():
        seeds = [gains([f], 'ood')[0].get(model) for f in folders]
        each = ' '.join(f'{sum(s.values())/len(s):+.2f}' for s in seeds if s)
        yield [name, model, signed(bootstrap_ci(g.values())), f'{sum(v > 0 for v in g.values())} of {len(g)}', f'{min(images[model].values()):+.2f}', each,
               signed(bootstrap_ci(id[model].values())) if model in id else '']

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name in ('polyu', 'city100'): p.add_argument(f'--{name}', type=Path)
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--sets', nargs='+', default=['polyu', 'nikon', 'iphone'], choices=['polyu', 'nikon', 'iphone'])
    p.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--options', default='', help='further options of lego_run')
    a = p.parse_args()
    lines, said = [], []
    for name in a.sets:
        data = a.out/f'data-{name}'
        if not data.exists(): prepare(name, a.polyu if name == 'polyu' else a.city100/name, data)
        folders = [a.out/f'{name}-{s}' for s in a.seeds]
        for folder, seed in zip(folders, a.seeds): run(data, folder, seed, shlex.split(a.options))
        lines += table(name, folders)
        for folder in folders: said += [f'{folder.name}: {"; ".join(verdict_lines(Verdict.of(folder)))}']
    text = markdown_grid([['set', 'model', 'gain over unadapted, dB (95 % over scenes)', 'scenes better', 'worst image', 'seeds', 'in distribution'], *lines], (2, 3, 4))
    print('\n' + '\n'.join(said) + '\n\n' + text)
    (a.out/'real.md').write_text('\n'.join(said) + '\n\n' + text + '\n', encoding='utf-8')
    write_json(dict(verdicts=said, hardware=hardware(), torch=torch.__version__), a.out/'real.json')

if __name__ == '__main__': main()
