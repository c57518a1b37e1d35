"""Times the judging of a folder against pyiqa's own command, and FID's matrix root against the sum of singular values.

    python benchmarks/scoring.py [--images 24] [--side 512] [--rounds 3] [--sets 1,2] [--device cpu] [--out FILE]

README.md beside this file tells what is compared with what.
"""
import argparse, ast, os, re, resource, shutil, subprocess, sys, tempfile
from datetime import date
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np, torch, torch.nn.functional as F

from lego_nb.demo import photographs
from lego_nb.degrade import degrade
from lego_nb.distances import frechet
from lego_nb.evaluation import read_scores
from lego_nb.images import write_image
from lego_nb.files import write_json
from peers import interleave, speed_table, speedups
from stage1 import processor, say

# our names, and pyiqa's for the same definition
SETS = {'our PSNR and SSIM': {'psnr': 'psnr', 'ssim': 'ssimc', 'gmsd': 'gmsd', 'piqe': 'piqe'},
        "pyiqa's code on both sides": {'pyiqa:psnr': 'psnr', 'psnry': 'psnry', 'gmsd': 'gmsd', 'piqe': 'piqe'}}
OURS = 'import sys; from lego_nb.comparison_tables import evaluate_folders as f; f(*[dict(a=sys.argv[1])] + sys.argv[2:5], device=sys.argv[5])'


def write_folders(folder, n, side):
    "n crops and the same degraded: cut from enlarged photographs, each at its own place"
    photos = [F.interpolate(x[None], scale_factor=1.5*side/min(x.shape[-2:]), mode='bicubic')[0].clamp(0, 1) for x in photographs().values()]
    g = torch.Generator().manual_seed(0)
    for i in range(n):
        x = photos[i%len(photos)]
        top,left = (int(torch.randint(s-side+1, (1,), generator=g)) for s in x.shape[-2:])
        x = x[:, top:top+side, left:left+side]
        write_image(x, folder/f'gt/{i:04d}.png')
        write_image(degrade(x[None], 'pocket-weak', [str(i)])[0], folder/f'out/{i:04d}.png')

def call(*args): return subprocess.run([sys.executable, *map(str, args)], check=True, capture_output=True, text=True).stdout

def plain(said): return re.sub(r'np\.float64\((.*?)\)', r'\1', said)

def command(folder, names, device):
    "pyiqa's command, once for each metric; returns name -> file name -> value"
    found = {}
    for m in names:
        said = plain(call('-m', 'pyiqa.pyiqa_cmd', m, '-t', folder/'out', '-r', folder/'gt', '--device', device, '-v'))
        found |= {m: {Path(k.split(' | ')[0]).stem: v for k,v in ast.literal_eval(said[said.index('{'):])[m].items() if k != 'mean'}}
    return found

def ours(folder, names, device):
    "One process of ours for all metrics; returns the rows"
    shutil.rmtree(folder/'scores', ignore_errors=True)
    call('-c', OURS, folder/'out', folder/'gt', ','.join(names), folder/'scores', device)
    return read_scores(folder/'scores/scores.csv')

def spent(f, cpu):
    "`f`, with the processor time of its processes put into `cpu`"
    def used(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    def run():
        before = used()
        f()
        cpu.append(used() - before)
    return run

def apart(folder, names, device):
    "The largest difference of any score"
    theirs = command(folder, names.values(), device)
    return max(abs(r['value'] - theirs[names[r['metric']]][r['image']]) for r in ours(folder, names, device))

def fewer(args): return max(min(args.images//4, 24), 1)

def score_rows(args, tmp):
    "Rows of the table: both ways, for each set, at n images and at few of them"
    few,rows,all_seconds = fewer(args),[],{}
    for n in (args.images, few): write_folders(tmp/str(n), n, args.side)
    for title,names in [list(SETS.items())[int(o) - 1] for o in args.sets.split(',')]:
        d = apart(tmp/str(few), names, args.device)
        say(f'{title}: {d:.1g} apart')
        assert d < 1e-4, d
        theirs,mine = f'pyiqa, once per metric: {", ".join(names.values())}',f'ours, at once: {", ".join(names)}'
        cpu = {n: {theirs: [], mine: []} for n in (args.images, few)}
        def arms(n): return {theirs: spent(lambda: command(tmp/str(n), names.values(), args.device), cpu[n][theirs]),
                             mine: spent(lambda: ours(tmp/str(n), names, args.device), cpu[n][mine])}
        full,part = (interleave(arms(n), args.rounds, 0) for n in (args.images, few))
        all_seconds |= {f'{title}, {n} images': dict(wall=o, cpu=cpu[n]) for n,o in ((args.images, full), (few, part))}
        # processor time: what else runs on the machine changes it little
        if not args.device.startswith('cuda'): full_,part_ = cpu[args.images],cpu[few]
        else: full_,part_ = full,part
        each = {k: (np.median(full_[k]) - np.median(part_[k]))/(args.images - few) for k in full}
        start = {k: np.median(full_[k]) - args.images*each[k] for k in full}
        long = {k: start[k] + 1000*each[k] for k in full}
        say(title, all_seconds, each, long)
        for k,o in speedups(full, theirs).items():
            more = f'{long[theirs]/long[k]:.1f} times at 1000 images, ' if k == mine else ''
            what = 's' if full_ is full else 's of processor time'
            more = f'{title}; {1000*each[k]:.0f} ms for each further image; {more}'
            remark = f'{more}{long[k]:.0f} {what} for 1000 ({"measured" if args.images == 1000 else "projected"})'
            rows.append(dict(what=k, **o | dict(seconds=o['seconds']/args.images), remark=remark))
    return rows,all_seconds

def root_rows(rounds, d=2048):
    "Rows of the table: FID from the same features, by the root and by singular values"
    from scipy.linalg import sqrtm
    g,rows,seconds = torch.Generator().manual_seed(0),[],{}
    spread = torch.linspace(2, .05, d).double()
    for n in (300, 3000):
        x,y = (torch.randn(n, d, generator=g).double()*spread + o for o in (0, .05))
        def by_root():
            a,b = x.numpy(),y.numpy()
            c1,c2 = np.cov(a, rowvar=False),np.cov(b, rowvar=False)
            return ((a.mean(0)-b.mean(0))**2).sum() + np.trace(c1) + np.trace(c2) - 2*np.trace(sqrtm(c1@c2)).real
        value,ways = {},{'matrix root': by_root, 'singular values': lambda: frechet(x, y)}
        arms = {f'FID, {n} and {n} images: {k}': (lambda k=k, f=f: value.update({k: f()})) for k,f in ways.items()}
        seconds |= (got := interleave(arms, rounds, 0))
        say(value)
        assert abs(value['matrix root'] - value['singular values']) < 1e-3, value
        for k,o in speedups(got, next(iter(arms))).items():
            rows.append(dict(what=k, **o, remark=f'{value[k.split(": ")[1]]:.5f}; seconds for one FID, {d} features'))
    return rows,seconds

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--images', type=int, default=24)
    p.add_argument('--side', type=int, default=512, help='of an image, pixels')
    p.add_argument('--rounds', type=int, default=3, help='times that everything is measured')
    p.add_argument('--sets', default='1,2', help="1: our PSNR and SSIM, 2: pyiqa's code on both sides")
    p.add_argument('--parts', default='scores,root', help='what to measure')
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='for the metrics, on both sides')
    p.add_argument('--note', default='', help='what else the machine did, for the record')
    p.add_argument('--out', type=Path, help='JSON to write; the table goes beside it as .md')
    args = p.parse_args()
    rows,seconds = [],{}
    with tempfile.TemporaryDirectory() as tmp:
        for part in args.parts.split(','):
            more,times = score_rows(args, Path(tmp)) if part == 'scores' else root_rows(args.rounds)
            rows,seconds = rows + more,seconds | times
    from importlib.metadata import version
    note = (f'{args.images} pairs of {args.side}×{args.side}, four metrics, whole processes from start to written scores, '
            f'in turn, {args.rounds} rounds; a further image is the difference to {fewer(args)} pairs. {args.note}')
    hardware = torch.cuda.get_device_name() if args.device.startswith('cuda') else processor()
    r = dict(title='Judging a folder', hardware=hardware, versions=f'torch {torch.__version__}, pyiqa {version("pyiqa")}',
             date=date.today().isoformat(), note=note.strip(), rows=rows, seconds=seconds)
    if args.out:
        write_json(r, args.out)
        args.out.with_suffix('.md').write_text(speed_table(r) + '\n', encoding='utf-8')
    print(speed_table(r))

if __name__ == '__main__': main()
