"""Times Deep Optimal Transport, and what it holds in memory, against unfolding every patch in float64.

    python benchmarks/transport.py [--images 16] [--size 512] [--patch 5] [--rounds 5] [--out FILE]

README.md beside this file tells what is compared with what.
"""
import argparse, os, resource, statistics, sys, time
from multiprocessing import get_context

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import psutil, torch, torch.nn.functional as F

from lego_nb.demo import photographs
from lego_nb.files import write_json
from lego_nb.latent_space import LatentSpace, latent_space
from lego_nb.transport import blend, fit_transport
from lego_nb.gaussian_maps import ot_map


# ---------------------------------------------------------------- images and latents

def prepared(n, size, blurred):
    "n photographs as bytes, resized, and turned from the second time on; blurred, they stand for restorations"
    res,photos = [],list(photographs().values())
    for k in range(n):
        x = photos[k%len(photos)]
        side = min(x.shape[-2:])
        x = F.interpolate(x[None, :, :side, :side], size=(size, size), mode='bicubic', antialias=True).clamp(0, 1)
        if blurred: x = F.avg_pool2d(F.pad(x, (1,1,1,1), mode='replicate'), 3, 1)
        res.append((255*x[0].rot90(k//len(photos), (1, 2))).round().byte())
    return res

def images(prepared):
    "One at a time, as a folder would give them"
    for x in prepared: yield x.float()/255

class VaeShaped(LatentSpace):
    "Latents in the shape of an f=8 autoencoder with 4 channels, at no cost: what is timed is transport alone"
    def __init__(self):
        super().__init__(name='vae')
        self.channels, self.multiple = 4, 8
    def encode(self, x):
        y = torch.cat([x, x.square().mean(1, keepdim=True)], 1)
        return F.avg_pool2d(2*y - 1, 8)
    def decode(self, z): return F.interpolate(z[:, :3], scale_factor=8.)/2 + .5

def space(name): return VaeShaped() if name=='vae' else latent_space(name)


# ---------------------------------------------------------------- the plain way, written down

def unfolded(images, latents, patch):
    "Mean and covariance of all patches of all images, held at once in float64"
    x = torch.cat([F.unfold(latents.encode(o[None]).double(), patch)[0].T for o in images])
    return x.mean(0), torch.cov(x.T)

def direct(restored, natural, latents, patch, eps):
    "A function that transports an image: unfold, multiply, fold, all in float64"
    (m1,s1),(m2,s2) = unfolded(restored, latents, patch), unfolded(natural, latents, patch)
    t = ot_map(s1, s2, eps)
    def apply(x, alpha=0.):
        z = latents.encode(x).double()
        grown = F.pad(z, [patch//2]*4, mode='replicate')  # a patch around every latent pixel
        moved = t @ (F.unfold(grown, patch) - m1[:,None]) + m2[:,None]
        def fold(patches): return F.fold(patches, z.shape[-2:], patch, padding=patch//2)
        return blend(latents.decode((fold(moved)/fold(torch.ones_like(moved))).float()), x, alpha)
    return apply


# ---------------------------------------------------------------- one measurement, in a process of its own

def measure(arm, name, n, size, patch, threads):
    "Processor seconds to fit and for one image, MB above what the process held before; the image"
    torch.set_num_threads(threads)
    latents,sets = space(name),[prepared(n, size, o) for o in (True, False)]
    fit = dict(ours=lambda a, b, p: fit_transport(a, b, latents, p, eps=1e-6),
               direct=lambda a, b, p: direct(a, b, latents, p, 1e-6))[arm]
    x = next(images(sets[0]))[None]
    fit(*([o[:,:64,:64] for o in images(s[:2])] for s in sets), 1)(x[...,:64,:64])  # warms up
    before = psutil.Process().memory_info().rss
    t0 = time.process_time()
    op = fit(*map(images, sets), patch)
    t1 = time.process_time()
    y = op(x)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform=='darwin' else 1024)
    def again():
        t = time.process_time()
        op(x)
        return time.process_time() - t
    apply = statistics.median(again() for _ in range(5))
    return dict(fit=t1-t0, apply=apply, mb=(peak-before)/1e6, image=y.numpy())

def apart(*args):
    "`measure` in a fresh process"
    with get_context('spawn').Pool(1) as pool: return pool.apply(measure, args)

def row(name, args):
    "Both ways in turn, forwards and backwards; medians, and ratios within a round"
    rounds = []
    for k in range(args.rounds):
        order = ['ours','direct'] if k%2 else ['direct','ours']
        got = {arm: apart(arm, name, args.images, args.size, args.patch, args.threads) for arm in order}
        rounds.append(got)
        short = {a: {o: round(g[o], 3) for o in ('fit','apply','mb')} for a,g in got.items()}
        print(name, k, short, file=sys.stderr, flush=True)
    def median(arm, o): return statistics.median(g[arm][o] for g in rounds)
    def ratios(o): return [g['direct'][o]/g['ours'][o] for g in rounds]
    same = max(abs(g['ours']['image'] - g['direct']['image']).max() for g in rounds)
    res = {f'{a}_{o}': median(a, o) for a in ('ours','direct') for o in ('fit','apply','mb')}
    res |= {f'ratio_{o}': statistics.median(ratios(o)) for o in ('fit','apply','mb')}
    least = {o: min(ratios(o)) for o in ('fit','apply','mb')}
    return dict(space=name, patch=args.patch, **res, least=least, difference=float(same))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--spaces', default='pixels,pocket,vae', help='which latents')
    p.add_argument('--images', type=int, default=16, help='of each kind')
    p.add_argument('--size', type=int, default=512, help='side of an image, pixels')
    p.add_argument('--patch', type=int, default=5)
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--out', help='JSON file')
    args = p.parse_args()
    rows = [row(o, args) for o in args.spaces.split(',')]
    print('| latents | fit, s | direct | ratio | one image, s | direct | ratio | memory, MB | direct | ratio |')
    print('|---|' + '---:|'*9)
    for r in rows:
        def cells(o, d): return f"{r[f'ours_{o}']:.{d}f} | {r[f'direct_{o}']:.{d}f} | {r[f'ratio_{o}']:.1f}×"
        parts = cells('fit', 2),cells('apply', 3),cells('mb', 0)
        print(f"| {r['space']} | {' | '.join(parts)} |")
    print('largest difference of the images:', max(r['difference'] for r in rows))
    asked = {k: v for k,v in vars(args).items() if k!='out'}
    if args.out: write_json(dict(asked, rows=rows), args.out)

if __name__=='__main__': main()
