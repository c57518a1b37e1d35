"""Times a training step of the latent restorer: latents cached or not, compiled or not, and diffusers' own step;
a step of a network of convolutions by layout; and the encoding of latents by batch.

    python benchmarks/stage2.py [--parts step,compiled,layout,encode,wait] [--batch N] [--size N] [--rounds N] [--quick] [--out FILE]

With a GPU: the 1.3-billion-parameter restorer at random weights, 512x512, bf16. Without: `tiny`, in float32.
README.md beside this file tells what is compared with what.
"""
import argparse, os, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import torch
import torch.nn.functional as F
from fastcore.basics import store_attr

import lego_nb.autoencoder  # keeps diffusers' import quiet
from accelerate import Accelerator
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3
from torch.utils.flop_counter import FlopCounterMode

from lego_nb.datasets import Degraded, Pairs
from lego_nb.demo import photographs
from lego_nb.degrade import degrade
from lego_nb.finetune import Adaptation, quicken
from lego_nb.folder_map import ahead
from lego_nb.options import FinetuneSettings
from lego_nb.images import write_image
from lego_nb.files import write_json
from lego_nb.latent_restorer import LatentRestorer, backbone, latent_restorer
from lego_nb.latents import cache_latents
from lego_nb.restorers import NetRestorer, PocketNet
from peers import FLUX_VAE, interleave, matmul_rate, randomize, speed_table, speedups
from stage1 import processor, result

GPU = torch.cuda.is_available()
DEVICE = 'cuda' if GPU else 'cpu'
SD3_VAE = FLUX_VAE | dict(scaling_factor=1.5305, shift_factor=.0609)  # SD3's differs from FLUX's in these two numbers
SMALL_VAE = SD3_VAE | dict(block_out_channels=(8, 16, 32, 32), norm_num_groups=8)
CACHED, IMAGES, THEIRS = 'ours, latents cached', 'ours, autoencoder in the step', "diffusers' step"


def say(*what): print(*what, file=sys.stderr, flush=True)

# ---------------------------------------------------------------- model and data

def model(full):
    "A restorer at random weights that keep activations near unit size"
    with torch.device(DEVICE):
        vae = randomize(AutoencoderKL(**(SD3_VAE if full else SMALL_VAE)))
        net = latent_restorer('1.3b' if full else 'tiny', vae).to(DEVICE)
    randomize(net.transformer)
    return net

def pictures(folder, height, width, n):
    "n pairs of photograph crops in files, enlarged where they must be"
    photos, pairs = photographs(), []
    for i, (name, x) in zip(range(n), list(photos.items())*n):
        scale = max(1., height/x.shape[-2], width/x.shape[-1])
        x = F.interpolate(x[None], size=[round(o*scale + .5) for o in x.shape[-2:]], mode='bicubic').clamp(0, 1)
        x = x[..., :height, :width]
        y = degrade(x, 'pocket-strong', [f'{name}-{i}'])
        pairs.append((f'{name}-{i}', *(write_image(o, folder/f'{k}/{i}.png') for k, o in dict(lq=y, gt=x).items())))
    return Pairs(pairs)

def flops(full, size):
    "Operations for one image: forward and backward of the transformer, two encodings"
    with torch.device('meta'):
        vae = AutoencoderKL(**(SD3_VAE if full else SMALL_VAE))
        net = backbone('1.3b' if full else 'tiny', 16)
        text = torch.zeros(16 if full else 4, net.config.joint_attention_dim), torch.zeros(net.config.pooled_projection_dim)
        m = LatentRestorer(net, vae, text, learn_text=True)
        z, x = torch.empty(1, 16, size//8, size//8), torch.empty(2, 3, size, size)
        with FlopCounterMode(display=False) as step: m.velocity(z, torch.empty(1), z).sum().backward()
        with FlopCounterMode(display=False) as encoding, torch.no_grad(): vae.encode(x)
    return step.get_total_flops(), encoding.get_total_flops()


# ---------------------------------------------------------------- diffusers' step

class Peer:
    "The step of diffusers' script that trains SD3 by DreamBooth, on our model with its second input"
    def __init__(self, restorer, settings):
        store_attr('restorer,settings')
        self.acc = Accelerator(mixed_precision=settings.mixed_precision, cpu=not GPU)
        self.params = list(restorer.transformer.parameters())
        optimizer = torch.optim.AdamW(self.params, lr=settings.lr, betas=(.9, .999), weight_decay=1e-4, eps=1e-8)
        rates = get_scheduler('constant', optimizer)
        self.net, self.optimizer, self.rates = self.acc.prepare(restorer.transformer, optimizer, rates)
        self.noise = FlowMatchEulerDiscreteScheduler(shift=3.)

    def sigmas(self, times, n):
        "Noise levels of `times`, looked up one by one in the scheduler's table"
        table, there = (o.to(DEVICE) for o in (self.noise.sigmas, self.noise.timesteps))
        s = table[[(there == t).nonzero().item() for t in times]].flatten()
        return s.view(-1, *[1]*(n - 1))

    def latent(self, x):
        "A latent that is drawn from the posterior; given latents pass"
        if x.shape[1] != 3: return x
        c = self.restorer.vae.config
        with torch.no_grad(): z = self.restorer.vae.encode(x*2 - 1).latent_dist.sample()
        return (z - c.shift_factor)*c.scaling_factor

    def step(self, batch):
        lq, z = (self.latent(batch[k].to(DEVICE)) for k in ('lq', 'gt'))
        noise, n = torch.randn_like(z), len(z)
        u = compute_density_for_timestep_sampling('logit_normal', n, logit_mean=0., logit_std=1.)
        times = self.noise.timesteps[(u*self.noise.config.num_train_timesteps).long()].to(DEVICE)
        s = self.sigmas(times, z.ndim)
        noisy = (1 - s)*z + s*noise
        text = self.restorer.embeds.detach().expand(n, -1, -1), self.restorer.pooled.detach().expand(n, -1)
        v = self.net(torch.cat([noisy, lq], 1), *text, times, return_dict=False)[0]
        weights = compute_loss_weighting_for_sd3('logit_normal', s)
        errors = weights.float()*((v*-s + noisy).float() - z.float())**2  # its default, precondition_outputs
        loss = errors.reshape(n, -1).mean(1).mean()
        self.acc.backward(loss)
        self.acc.clip_grad_norm_(self.params, 1.)
        for o in (self.optimizer, self.rates): o.step()
        self.optimizer.zero_grad()
        return loss.detach().item()  # for its progress bar


# ---------------------------------------------------------------- measurements

class Compiled:
    "The transformer's blocks compiled while it is entered"
    def __init__(self, net): self.fast = {o: torch.compile(o.forward, dynamic=False) for o in net.transformer_blocks}
    def __enter__(self):
        for o, f in self.fast.items(): o.forward = f
    def __exit__(self, *args):
        for o in self.fast: del o.forward

def peak(f):
    "GB of GPU memory at the peak of `f`, all that is loaded included"
    torch.cuda.reset_peak_memory_stats()
    f()
    return torch.cuda.max_memory_allocated()/1e9

def wait(run, pairs, steps):
    "Seconds a step waits for its batch, and seconds a step, while training, with threads that read as training has them"
    run.pairs, waited = [pairs, None], 0.
    with ThreadPoolExecutor(run.settings.workers) as pool:
        run.pool = pool if GPU else None
        batches = (o for _, (o,) in ahead(run.draw, ([k] for k in range(steps + 1)), 1)) if GPU else map(run.draw, range(steps + 1))
        run.update(next(batches))
        run.flush()
        began = asked = time.perf_counter()
        for batch in batches:
            waited += time.perf_counter() - asked
            run.update(batch)
            asked = time.perf_counter()
        run.flush()
        run.pool = None
    return waited/steps, (time.perf_counter() - began)/steps

def plain(net, pairs, s, out, quick=lambda *args: []):
    "An `Adaptation` as it is without `quicken`, or with one in its place"
    with mock.patch('lego_nb.finetune.quicken', quick): return Adaptation(net, pairs, None, s, out)

def layouts(args, tmp, full):
    "Rows: a step of the pocket network by the layout of its numbers"
    n, side = args.batch, 256 if full else args.size
    g = torch.Generator().manual_seed(0)
    pairs = Pairs([(f'{k}', *torch.rand(2, 3, side, side, generator=g)) for k in range(n)])
    def run(name, **how): return plain(NetRestorer(PocketNet()).to(DEVICE), pairs, settings(args, full), tmp/name, **how)
    runs = {'convolutions': run('nchw'), 'convolutions, channels_last': run('nhwc', quick=lambda net, *_: quicken(net, DEVICE, force=True))}
    arms = {k: (lambda r=r, b=r.draw(0): r.update(b)) for k, r in runs.items()}
    seconds = interleave({k: repeated(f, args.steps) for k, f in arms.items()}, args.rounds, 1)
    return [dict(what=f'step: {k}', **o | dict(seconds=o['seconds']/args.steps/n)) for k, o in speedups(seconds, 'convolutions').items()], seconds

def encodings(args, tmp, restorer, pairs):
    "Rows: latents of the pairs, one at a time and in batches"
    count = iter(range(10**6))
    def arm(b): return lambda: cache_latents(restorer, pairs, tmp/f'cache{next(count)}', batch_size=b, progress=False)
    arms = {'latents encoded one by one': arm(1), 'latents encoded in batches of 16': arm(16)}
    seconds = interleave(arms, args.rounds, 1)
    return [dict(what=k, **o | dict(seconds=o['seconds']/len(pairs))) for k, o in speedups(seconds, 'latents encoded one by one').items()], seconds

def waiting(args, tmp, full, cached):
    "Name -> data of the wait: files larger than the crop, decoded anew each time; clean ones degraded in the batch; latents"
    height, width = (720, 1280) if full else (2*args.size,)*2
    files = pictures(tmp/'files', max(height, args.size), max(width, args.size), args.files).items
    same = dict(crop=args.size, augment=True, cache_mb=0)
    clean = Degraded({i: gt for i, _, gt in files}, 'weak', **same)
    return {'image files': Pairs(files, **same), 'clean files, degraded in the batch': clean, 'latents': cached}

def half_vae(restorer, f):
    "`f` with the autoencoder in bfloat16"
    def run():
        restorer.vae.to(torch.bfloat16)
        try: f()
        finally: restorer.vae.to(torch.float32)
    return run

def steps(args, run, peer, latents, images):
    "Name -> function: one training step of each kind on the same pairs"
    def ours(batch): return lambda: run.update(batch)
    def theirs(batch): return lambda: peer.step(batch)
    arms = {IMAGES: ours(images), CACHED: ours(latents)}
    if GPU and not args.quick: arms['ours, autoencoder in the step in bf16'] = half_vae(run.accelerator.unwrap_model(run.model), ours(images))
    if peer: arms |= {THEIRS: theirs(images), f'{THEIRS} given latents': theirs(latents)}
    if 'compiled' in args.parts:
        fast = Compiled(run.accelerator.unwrap_model(run.model).transformer)
        def compiled():
            with fast: run.update(latents)
        arms[f'{CACHED}, blocks compiled'] = compiled
    return arms

def settings(args, full):
    return FinetuneSettings(iterations=10**6, batch_size=args.batch, id_ratio=1., schedule='constant', warmup=0, lr=1e-5, ema=.999, crop=None,
                            augment=False, mixed_precision='bf16' if full else 'no', log_with='none')

def repeated(f, n):
    "n times `f`"
    return lambda: [f() for _ in range(n)]

def measure(args, tmp, full):
    "The result of all parts"
    restorer, s = model(full), settings(args, full)
    pairs = pictures(tmp, args.size, args.size, 2*args.batch)
    dtype = torch.bfloat16 if full else torch.float32
    cached = cache_latents(restorer, pairs, tmp/'latents', batch_size=4, dtype=str(dtype)[6:], progress=False)
    run, peer = plain(restorer, cached, s, tmp/'run'), None if args.quick else Peer(model(full), s)
    work, encoding = flops(full, args.size)
    rate = matmul_rate(DEVICE, dtype)
    rows, more = [], {}
    if 'step' in args.parts:
        latents = run.draw(0)
        run.pairs = [pairs, None]
        arms, n = steps(args, run, peer, latents, run.draw(0)), args.steps
        for name, f in arms.items(): f(); say(name)
        seconds = interleave({k: repeated(f, n) for k, f in arms.items()}, args.rounds, 1)
        more['seconds'] = seconds = {k: [o/n for o in times] for k, times in seconds.items()}
        over = {base: speedups(seconds, base) for base in (IMAGES, THEIRS, f'{THEIRS} given latents') if base in seconds}
        if peer: more['over'] = over
        for name, o in over[IMAGES].items():
            remark = f'transformer alone {100*work*args.batch/o["seconds"]/rate:.0f} % of the matrix rate'
            if GPU: remark += f'; peak {peak(arms[name]):.0f} GB with the optimizers of both'
            rows.append(dict(what=f'step: {name}', **o | dict(seconds=o['seconds']/args.batch), remark=remark))
    for part, make in dict(layout=lambda: layouts(args, tmp, full), encode=lambda: encodings(args, tmp, restorer, pairs)).items():
        if part in args.parts:
            say(part)
            found, more[f'seconds_{part}'] = make()
            rows += found
    if 'wait' in args.parts:
        for name, data in waiting(args, tmp, full, cached).items():
            say(f'wait for {name}')
            waited, took = wait(run, data, 5*args.rounds)
            remark = f'{100*waited/took:.1f} % of the step'
            rows.append(dict(what=f'wait for {name}', seconds=waited/args.batch, remark=remark))
    return rows, dict(more, rate=rate, flops=dict(step=work, encodings=encoding)), restorer

def note(args, more, restorer, full):
    "What a reader needs to judge the rows"
    count = lambda o: sum(p.numel() for p in o.parameters())
    def share(o): return f'{o["step"]/1e9:.4g} GFLOP in the transformer and {o["encodings"]/1e9:.4g} in two encodings'
    big = dict(zip(('step', 'encodings'), flops(True, 512)))
    lines = [f'{count(restorer.transformer)/1e6:.4g} million parameters, autoencoder of {count(restorer.vae)/1e6:.3g} million, '
             f'{args.batch} pairs of {args.size}×{args.size}, {"bf16" if full else "float32"}: {share(more["flops"])} per pair.']
    if not full: lines.append(f'No GPU, so nothing here is about the 1.3b model, which has {share(big)} at 512×512.')
    if 'over' in more:
        def told(base, name): return '{ratio:.2f}× ({low:.2f}–{high:.2f})'.format(**more['over'][base][name])
        lines.append(f"Latents cached, over diffusers' step: {told(THEIRS, CACHED)}; when that is given latents too: "
                     f'{told(f"{THEIRS} given latents", CACHED)}.')
    lines.append(f'Matrix rate {more["rate"]/1e12:.3g} TFLOP/s; {args.rounds} rounds of {args.steps} steps. {args.note}')
    return ' '.join(lines).strip()

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--parts', default='step,compiled,layout,encode,wait', help='what to measure; compiled belongs to step')
    p.add_argument('--size', type=int, help='side of the pairs; default 512 on a GPU, 64 without')
    p.add_argument('--batch', type=int, help='pairs in a step; default 32 on a GPU, 8 without')
    p.add_argument('--rounds', type=int, default=10, help='times that everything is measured')
    p.add_argument('--steps', type=int, help='steps of a measurement; default 1 on a GPU, 10 without')
    p.add_argument('--files', type=int, help='pairs of files for the wait; default 256 on a GPU, 64 without')
    p.add_argument('--quick', action='store_true', help='three kinds of step, layouts, encoding, few pairs, 20 seconds')
    p.add_argument('--note', default='', help='what else the machine did, for the record')
    p.add_argument('--out', type=Path, help='JSON to write; the table goes beside it as .md')
    args = p.parse_args()
    if args.quick: args.parts, args.batch, args.rounds, args.steps = 'step,compiled,layout,encode' if GPU else 'step,layout,encode', args.batch or (8 if GPU else 2), 3, args.steps or 1
    args.size, args.batch = args.size or (512 if GPU else 64), args.batch or (32 if GPU else 8)
    args.steps, args.parts = args.steps or (1 if GPU else 10), args.parts.split(',')
    args.files = args.files or (256 if GPU else 64)
    if not GPU: say('no GPU: the tiny restorer is measured, which says nothing about the 1.3b')
    with tempfile.TemporaryDirectory() as tmp: rows, more, restorer = measure(args, Path(tmp), GPU)
    hardware = torch.cuda.get_device_name() if GPU else processor()
    title = f'A training step of the latent restorer on a {"GPU" if GPU else "CPU"}'
    r = result(title, hardware, rows, note(args, more, restorer, GPU), **more)
    if args.out:
        write_json(r, args.out)
        args.out.with_suffix('.md').write_text(speed_table(r) + '\n', encoding='utf-8')
    print(speed_table(r))

if __name__ == '__main__': main()
