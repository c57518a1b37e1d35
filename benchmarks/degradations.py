"""Times the second-order degradation of a batch against one image after the other, ours and OpenCV's.

    python benchmarks/degradations.py [--size 256,512] [--images 16] [--rounds 5] [--level strong] [--out FILE]

Needs opencv-python for the peer. README.md beside this file tells what is compared with what.
"""
import argparse, os, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import numpy as np, torch
import torch.nn.functional as F

import lego_nb.second_order as room
from lego_nb.demo import photographs
from lego_nb.degradations import Draws
from lego_nb.files import write_json
from lego_nb.pixel_metrics import psnr
from lego_nb.second_order import TABLE9, plan, second_order
from peers import interleave, speed_table, speedups
from stage1 import processor, result, say

try: import cv2
except ImportError: cv2 = None
PARTS = 'plan','filter2d','filter_each','resize_each','noise_each','jpeg'


def crops(n, size):
    "n photographs, enlarged where they must be, B×3×size×size"
    def one(x):
        scale = max(size/min(x.shape[-2:]), 1)
        x = F.interpolate(x[None], scale_factor=scale, mode='bicubic', antialias=True).clamp(0,1)
        return x[..., :size, :size]
    return torch.cat([one(x) for _,x in zip(range(n), list(photographs().values())*n)])

# ---------------------------------------------------------------- the peer: OpenCV and NumPy, an image at a time

def trimmed(k):
    "A kernel without the zeros around it: the peer is not charged for our common size"
    r = max(1, int((k>0).any(0).sum())//2)
    c = k.shape[0]//2
    return np.ascontiguousarray(k[c-r:c+r+1, c-r:c+r+1].numpy())

def rows(rounds, n):
    "The plan, image by image, as NumPy arrays and numbers"
    def one(o, i): return {k: trimmed(v[i]) if k=='kernel' else v[i].item() for k,v in o.items()}
    return [[one(o, i) for o in rounds] for i in range(n)]

def cv_resize(x, size, mode):
    h,w = (max(1, int(s)) for s in size)
    return cv2.resize(x, (w,h), interpolation=(cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[mode])

def cv_noise(x, o, rng):
    x = x.clip(0, 1)
    base = x.mean(2, keepdims=True) if o['grey'] else x
    if o['poisson']: n = (rng.poisson(base*256)/256 - base).astype(np.float32)*o['level']
    else: n = rng.standard_normal(base.shape, np.float32)*(o['level']/255)
    return (x+n).clip(0, 1)

def cv_jpeg(x, quality):
    _,data = cv2.imencode('.jpg', (x.clip(0,1)*255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, round(quality)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32)/255

def opencv(x, row, rng):
    "The same pipeline for H×W×3, with the same drawn numbers"
    (first,second,end),size = row,x.shape[:2]
    def scaled(f): return [s*f for s in size]
    x = cv_resize(cv2.filter2D(x, -1, first['kernel']), scaled(first['factor']), first['mode'])
    x = cv2.filter2D(cv_jpeg(cv_noise(x, first, rng), first['quality']), -1, second['kernel'])
    x = cv_noise(cv_resize(x, scaled(second['factor']), second['mode']), second, rng)
    def back(x): return cv2.filter2D(cv_resize(x, size, end['mode']), -1, end['kernel'])
    def pack(x): return cv_jpeg(x, second['quality'])
    return back(pack(x)).clip(0,1) if end['jpeg_first'] else pack(back(x))

# ---------------------------------------------------------------- the lines

@contextmanager
def timed(seconds):
    "While it lasts, adds up the time of the pipeline's parts"
    old = {k: getattr(room, k) for k in PARTS}
    def timer(k):
        def run(*args, **kwargs):
            sync()
            start = time.perf_counter()
            out = old[k](*args, **kwargs)
            sync()
            seconds[k] = seconds.get(k, 0) + time.perf_counter() - start
            return out
        return run
    for k in PARTS: setattr(room, k, timer(k))
    try: yield
    finally:
        for k,f in old.items(): setattr(room, k, f)

def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()

def with_threads(t, f):
    "`f` with t of torch's threads"
    old = torch.get_num_threads()
    torch.set_num_threads(t)
    try: return f()
    finally: torch.set_num_threads(old)

def arms(x, level, cores):
    "Name -> function; the batch on the GPU where there is one"
    table,n,ids = TABLE9[level],len(x),[str(i) for i in range(len(x))]
    def ours(x, size): return torch.cat([second_order(x[i:i+size], Draws(ids[i:i+size]), table, 1) for i in range(0, n, size)])
    lines = {}
    if cv2:
        images = [np.ascontiguousarray(a.flip(0).permute(1,2,0).numpy()) for a in x]  # BGR, as OpenCV's JPEG expects
        planned = rows(plan(Draws(ids), table), n)
        def one(i): return torch.from_numpy(opencv(images[i], planned[i], np.random.default_rng(i))).permute(2,0,1).flip(0)
        def pooled():
            with ThreadPoolExecutor(cores) as pool: return torch.stack(list(pool.map(one, range(n))))
        cv2.setNumThreads(1)
        lines['OpenCV image by image, 1 thread'] = lambda: torch.stack([one(i) for i in range(n)])
        lines[f'OpenCV, images on {cores} threads'] = pooled
    for t in sorted({1, cores}):
        threads = f'{t} thread{"s"*(t>1)}'
        lines[f'ours image by image, {threads}'] = lambda t=t: with_threads(t, lambda: ours(x, 1))
        lines[f'ours, {n} a batch, {threads}'] = lambda t=t: with_threads(t, lambda: ours(x, n))
    if torch.cuda.is_available():
        on = x.cuda()
        lines |= {'ours image by image, GPU': lambda: ours(on, 1), f'ours, {n} a batch, GPU': lambda: ours(on, n)}
    return lines

def measure(size, args, cores):
    "Rows of the table for one size, and where the time of a batch goes"
    x,seen,shares,used = crops(args.images, size),{},{},{}
    lines = arms(x, args.level, cores)
    for k,f in lines.items(): seen[k] = f()
    def clocked(k, f):
        start = time.process_time()
        f()
        used.setdefault(k, []).append((time.process_time()-start)/len(x)*1e3)
    base = next(iter(lines))
    seconds = interleave({k: lambda k=k,f=f: clocked(k, f) for k,f in lines.items()}, args.rounds, 0)
    part = list(lines)[-1] if torch.cuda.is_available() else f'ours, {len(x)} a batch, 1 thread'
    with timed(shares): lines[part]()
    def row(k, o): return dict(what=f'{size}², {k}', **o | dict(seconds=o['seconds']/len(x)),
                               remark=f'{median(used[k]):.1f} ms of CPU time; {psnr(seen[k].cpu().clamp(0,1), x).mean():.2f} dB from clean')
    say(f'{size}²', {k: f'{v/len(x)*1e3:.2f} ms' for k,v in shares.items()})
    over = {k: speedups(seconds, k) for k in lines}
    return [row(k, o) for k,o in speedups(seconds, base).items()],dict(size=size, line=part, shares=shares, over=over, cpu=used)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--size', default='256,512', help='sides of the images')
    p.add_argument('--images', type=int, help='images of a batch; default 64 on a GPU, 16 without')
    p.add_argument('--rounds', type=int, default=5, help='times that everything is measured')
    p.add_argument('--level', default='strong', choices=list(TABLE9))
    p.add_argument('--note', default='', help='what else the machine did, for the record')
    p.add_argument('--out', type=Path, help='JSON to write; the table goes beside it as .md')
    args,gpu = p.parse_args(),torch.cuda.is_available()
    args.images = args.images or (64 if gpu else 16)
    if not cv2: say('OpenCV: left out, opencv-python is not installed')
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    found = [measure(int(s), args, cores) for s in args.size.split(',')]
    note = (f"'{args.level}' of Table 9, {args.images} photographs, {args.rounds} rounds, all lines in turn. Speed-ups are over the "
            f'first line of a size. {args.note}')
    where = torch.cuda.get_device_name() if gpu else processor()
    r = result('Degrading a batch', where, [row for rows,_ in found for row in rows], note.strip(), parts=[o for _,o in found])
    if args.out:
        write_json(r, args.out)
        args.out.with_suffix('.md').write_text(speed_table(r) + '\n', encoding='utf-8')
    print(speed_table(r))

if __name__=='__main__': main()
