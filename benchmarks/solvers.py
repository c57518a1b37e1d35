"""Compares the solvers of Stage 1: what a round trip loses, and what the targets are worth, against the evaluations spent.

    python benchmarks/solvers.py PHOTOGRAPH... [--steps 4 8 16] [--t0 .2 .45 .9] [--oracle pocket] [--size 64] [--guidance 2] [--out FILE]

From each photograph, which must not be one that an oracle, a restorer or a setting was chosen on, comes one crop from its middle.
README.md beside this file tells what is compared with what.
"""
import argparse, os

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import torch

from lego_nb.degrade import degrade
from lego_nb.files import write_csv
from lego_nb.flow import SOLVERS, both_ways, evaluations, integrate
from lego_nb.generation import generate
from lego_nb.images import read_image
from lego_nb.inversion import invert, markdown_table
from lego_nb.load_restorer import load_restorer
from lego_nb.oracle import Oracle
from lego_nb.pixel_metrics import psnr

def crops(files, size):
    "id -> the middle of each photograph"
    def middle(x):
        y, z = (n//2 - size//2 for n in x.shape[-2:])
        return x[:, y:y + size, z:z + size]
    return {os.path.splitext(os.path.basename(f))[0]: middle(read_image(f)) for f in files}

def measure(oracle, restored, truth, t0, solver, steps, guidance):
    "One row: evaluations and decibels of the round trip of a restoration, and of the target that the prompt makes of it"
    z, grid = oracle.encode(restored), oracle.grid(steps, *restored.shape[-2:], t_max=t0)
    noise = invert(oracle, z, grid, solver)
    back = integrate(lambda z, t, at: oracle.velocity(z, t, '', at=at), noise, grid, solver)
    target = generate(oracle, noise, grid, guidance=guidance, solver=solver)
    passes = 1 + (oracle.guidance_mode == 'true_cfg' and guidance not in (0, 1))
    gains = psnr(oracle.decode(target).clamp(0, 1), truth) - psnr(restored, truth)
    return dict(t0=t0, solver=solver, steps=steps, trip=both_ways(solver, steps), back=float(psnr(oracle.decode(back).clamp(0, 1), restored).mean()),
                spent=evaluations(solver, steps, True) + passes*evaluations(solver, steps), gain=float(gains.mean()), worst=float(gains.min()))

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('photographs', nargs='+')
    p.add_argument('--steps', type=int, nargs='+', default=[4, 8, 16])
    p.add_argument('--t0', type=float, nargs='+', default=[.2, .45, .9])
    p.add_argument('--oracle', default='pocket')
    p.add_argument('--size', type=int, default=64)
    p.add_argument('--guidance', type=float, default=2.)
    p.add_argument('--out', help='csv of all rows')
    args = p.parse_args()
    torch.set_num_threads(1)
    oracle, clean = Oracle.from_pretrained(args.oracle), crops(args.photographs, args.size)
    truth = torch.stack([*clean.values()])
    restored = load_restorer('pocket').restore(degrade(truth, 'pocket-strong', list(clean)))
    print(f'{len(clean)} crops of {args.size}×{args.size}; restorations {float(psnr(restored, truth).mean()):.2f} dB', flush=True)
    rows = [measure(oracle, restored, truth, t0, solver, n, args.guidance) for t0 in args.t0 for n in args.steps for solver in SOLVERS]
    if args.out: write_csv(rows, args.out)
    print(markdown_table(rows, dict(t0='g', steps='d', solver='', trip='d', back='.1f', spent='d', gain='+.2f', worst='+.2f'),
                         dict(trip='evaluations, round trip', back='round trip, dB', spent='evaluations, target', gain='target − restoration, dB')))

if __name__ == '__main__': main()
