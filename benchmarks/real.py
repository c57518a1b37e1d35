"""Adapts the pocket restorer to real camera noise and applies it to photographs of other scenes, by the commands a user would type.

    python benchmarks/real.py --polyu DIR --photos DIR --out DIR [--options '--lr 4e-4 ...']

`--polyu` holds lq/ and gt/ of real noisy photographs (scene_N.jpg: the name without its last number is the scene),
`--photos` clean photographs. README.md beside this file tells what is measured and what came out.
"""
import argparse, csv, platform, re, shlex, subprocess, sys, time
from pathlib import Path

import torch

from lego_nb.datasets import check_disjoint, mark_crops
from lego_nb.degrade import degrade
from lego_nb.evaluation import bootstrap_ci
from lego_nb.images import cut_crops, image_seed, read_image, write_image
from lego_nb.files import image_files, markdown_grid, write_json
from lego_nb.pixel_metrics import psnr

CROP, CROPS, PAIRS = 64, 64, 256


def scene(id): return re.sub(r'_+\d+$', '', id)

HALVES = dict(csv.reader(open(Path(__file__).parent/'polyu_scenes.csv', encoding='utf-8')))

def developed(scene):
    "Whether a scene is of the half to develop on; polyu_scenes.csv has both halves, by the last bit of sha256
    of their names, but for NikonD800_..._plant, which moved to this one: a crop of it had been looked at"
    return HALVES[scene] == 'develop'

def spread(things, n):
    "n of a list, evenly"
    return [things[k*len(things)//n] for k in range(min(n, len(things)))]

def crops(files, n):
    "n crops, evenly over the files and, by a hash, over each of them: id -> 3×CROP×CROP"
    found, ids = {}, list(files)
    for k in range(n):
        i = ids[k % len(ids)]
        at = cut_crops(read_image(files[i]), CROP)
        top, left, x = at[image_seed(i, k) % len(at)]
        found[f'{i}-{top:03d}-{left:03d}'] = x
    return found

def prepare(polyu, photos, out):
    "The folders of a run: unlabelled crops of half of the scenes, pairs of clean photographs, test images of the other half"
    noisy, truth = image_files(polyu/'lq'), image_files(polyu/'gt')
    mine = {i: f for i, f in noisy.items() if developed(scene(i))}
    rest = [i for i in noisy if i not in mine]
    for i, x in crops(mine, CROPS).items(): write_image(x, out/f'unlabelled/{i}.png')
    clean = crops(image_files(photos), PAIRS)
    for i, x in clean.items():
        write_image(degrade(x[None], 'pocket-weak', [i])[0], out/f'pairs/lq/{i}.png')
        write_image(x, out/f'pairs/gt/{i}.png')
    for folder in ('unlabelled', 'pairs/lq', 'pairs/gt'): mark_crops(out/folder)
    for i in spread(rest, 16):
        for side, files in dict(lq=noisy, gt=truth).items():
            x = read_image(files[i])
            top, left = (n - 192 >> 1 for n in x.shape[-2:])
            write_image(x[:, top:top + 192, left:left + 192], out/f'test/{side}/{i}.png')
    for i in rest: (out/'others').mkdir(exist_ok=True), (out/'others'/noisy[i].name).write_bytes(noisy[i].read_bytes())
    check_disjoint(train=[*mine.values()], test=[noisy[i] for i in rest])
    return {i: truth[i] for i in rest}, len({scene(i) for i in mine})

def timed(name, *words):
    "Run a command as a user does; its seconds"
    print('$', name, shlex.join(map(str, words)), flush=True)
    began = time.time()
    subprocess.run([sys.executable, '-m', 'lego_nb', name, *map(str, words)], check=True)
    return time.time() - began

def by_scene(values):
    "Mean of every scene"
    groups = {}
    for i, v in values.items(): groups.setdefault(scene(i), []).append(v)
    return {s: sum(v)/len(v) for s, v in groups.items()}

def gains(folder, base, truth):
    "Id -> dB of the images of a folder over those of another"
    made, other = image_files(folder), image_files(base)
    at = lambda f, t: float(psnr(read_image(f)[None], read_image(t)[None]))
    return {i: at(made[i], t) - at(other[i], t) for i, t in truth.items()}

def line(name, values):
    means = by_scene(values)
    worst = min(means, key=means.get)
    mean, low, high = bootstrap_ci(means.values())
    return [name, f'{mean:+.2f} ({low:+.2f} to {high:+.2f})', f'{sum(v > 0 for v in means.values())} of {len(means)}',
            f'{means[worst]:+.2f} ({worst})', f'{min(values.values()):+.2f}']

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name in ('polyu', 'photos', 'out'): p.add_argument(f'--{name}', type=Path, required=True)
    p.add_argument('--options', default='', help='further options of lego_run')
    args = p.parse_args()
    out, seconds = args.out, {}
    truth, learned = prepare(args.polyu, args.photos, out)
    run = out/'run'
    seconds['lego_run'] = timed('lego_run', '--preset', 'pocket', '--ood', out/'unlabelled', '--id-pairs', out/'pairs',
                                '--test', out/'test', '--out', run, *shlex.split(args.options))
    for which in ('adapted', 'unadapted'):
        seconds[f'lego_apply {which}'] = timed('lego_apply', '--model', run, '--images', out/'others', '--out', out/which,
                                               '--which', which, '--format', 'png')
    pairs = dict(adapted=('adapted', 'unadapted'), **{'adapted over the input': ('adapted', 'others'),
                                                       'unadapted over the input': ('unadapted', 'others')})
    found = {name: gains(out/a, out/b, truth) for name, (a, b) in pairs.items()}
    print(f'\n{len(truth)} photographs of {len({scene(i) for i in truth})} scenes; adapted to {CROPS} crops of {learned} others\n')
    print(markdown_grid([['PSNR gained, dB', 'mean over scenes (95 %)', 'scenes better', 'worst scene', 'worst image'],
                         *(line(*o) for o in found.items())], (1, 2)))
    print('\n' + markdown_grid([['step', 's'], *([k, f'{v:.0f}'] for k, v in seconds.items())], (1,)))
    cpu = next((o.split(':')[1].strip() for o in open('/proc/cpuinfo') if o.startswith('model name')), '') if platform.system() == 'Linux' else ''
    write_json(dict(gains=found, seconds=seconds, torch=torch.__version__, processor=cpu or platform.processor(),
                    threads=torch.get_num_threads()), out/'real.json')


if __name__ == '__main__': main()
