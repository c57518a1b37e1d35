"""Times Stage 1 against its floor, against plain diffusers, and lever by lever.

    python benchmarks/stage1.py [--size 512,1024] [--plan 50] [--images N] [--out FILE]
    python benchmarks/stage1.py --one      (one image at a time against diffusers, a small model on one thread)

With a GPU: FLUX.1-dev's shapes at random normal weights. Without: the pocket oracle, on a folder of crops.
README.md beside this file tells what is compared with what.
"""
import argparse, importlib.util, os, platform, shutil, sys, tempfile, time
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import torch
from fastcore.basics import store_attr
from PIL import Image

from lego_nb.refine_folder import refine_folder
from lego_nb.folder_map import batches, image_size
from lego_nb.options import PROMPT
from lego_nb.files import image_files, write_json
from lego_nb.images import read_image, write_image
from lego_nb.inversion import invert
from lego_nb.flow import integrate
from lego_nb.pixel_metrics import psnr
from lego_nb.oracle import Oracle
from lego_nb.console import versions
from lego_nb.settings import resolve_settings
from lego_nb.options import RefineSettings
from lego_nb.refinement import passes, refine
from lego_nb.speed import compile_blocks, counted, eager_blocks, float8_linears, repeated_blocks, swap_modules
from peers import (SMALL_DEV, SMALL_VAE, flop_count, img2img_peer, interleave, matmul_rate, random_oracle, randomize, speed_table,
                   speedups)


def say(*what): print(*what, file=sys.stderr, flush=True)

def processor():
    "The CPU's own name"
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [o.split(':')[1].strip() for o in lines if o.startswith('model name')]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"

def result(title, hardware, rows, note, **more):
    "What is written: the table's rows and what a reader needs to judge them"
    v = versions()
    named = ', '.join(f'{k} {v[k]}' for k in ('torch', 'diffusers', 'lego-nb') if k in v)
    return dict(title=title, hardware=hardware, versions=named, date=date.today().isoformat(), note=note, rows=rows, **more)

def rows_of(seconds, base, n, about):
    "Rows of the table from interleaved seconds: per image, ratio to `base`"
    def row(k, o): return dict(what=k, **o | dict(seconds=o['seconds']/n)) | about.get(k, {})
    return [row(k, o) for k,o in speedups(seconds, base).items()]


# ---------------------------------------------------------------- the two ways through a folder

def ours(oracle, files, out, settings, batch):
    "Files in, files out, as `lego_refine` does it: equal sizes share a batch, threads read and write beside it"
    shutil.rmtree(out, ignore_errors=True)
    failed = refine_folder(oracle, files, out, settings, batch, progress=False)
    assert not failed, failed

def ours_in_turn(oracle, files, out, settings, batch):
    "The same without threads: read, refine, write"
    for ids in batches(list(files), batch, lambda i: image_size(files[i])):
        x = torch.stack([read_image(files[i]) for i in ids]).to(oracle.device)
        y,_ = refine(oracle, x, settings, ids=ids)
        for i,o in zip(ids, y): write_image(o.cpu(), out/f'{i}.png')

def theirs(peer, files, out):
    "Files in, files out through a pipeline: one image after the other"
    for i,f in files.items():
        (out/i).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(f) as image: y = peer(image.convert('RGB'))
        y.save(out/f'{i}.png')

def count(oracle, f, n=1):
    "Passes per image that `f` really makes, by a hook"
    with counted(oracle.transformer) as seen: f()
    return seen['passes']//n


# ---------------------------------------------------------------- CPU: the pocket oracle

def threaded(n, f):
    "`f` with n threads"
    def run(files):
        old = torch.get_num_threads()
        torch.set_num_threads(n)
        try: f(files)
        finally: torch.set_num_threads(old)
    return run

def worker_start(settings):
    global _worker
    torch.set_num_threads(1)
    _worker = Oracle.from_pretrained('pocket'),settings

def worker_run(files, out, batch):
    oracle,settings = _worker
    ours(oracle, files, out, settings, batch)

def split(files, n):
    "n shares of a dict"
    return [dict(list(files.items())[i::n]) for i in range(n)]

def crops(folder, n):
    "n restored crops of the demonstration: what Stage 1 gets from Stage 0"
    from lego_nb.demo import write_demo
    from lego_nb.restore_folder import restore_folder
    from lego_nb.load_restorer import load_restorer
    demo = write_demo(folder/'demo')
    files = dict(list(image_files(demo['ood']).items())[:n])
    restore_folder(load_restorer('pocket'), files, folder/'restored', progress=False)
    return image_files(folder/'restored')

def pocket_settings():
    "The pocket preset's, in the form `refine` takes"
    s = resolve_settings('pocket')
    return s.refine, s['refine_batch']

def same(folder, base, files):
    "How near the images of two arms are, dB; 80: equal"
    x,y = (torch.stack([read_image(o/f'{i}.png') for i in files]) for o in (folder, base))
    return psnr(x, y).mean().item()

def cpu_arms(plain, settings, batch, cores, tmp, pool):
    "Name -> function of files, for every way to refine a folder; and the names of the default and of the peers"
    def name(t, b): return f'ours, {t} thread{"s"*(t>1)}, {b} image{"s"*(b>1)} a batch'
    def arm(out, oracle=plain, size=batch, t=cores):
        return threaded(t, lambda f: ours(oracle, f, tmp/out, settings, size))
    dtypes = dict(bf16=torch.bfloat16, compiled=None, fp8=None)
    others = {k: Oracle.from_pretrained('pocket', dtype=o) for k,o in dtypes.items()}
    compile_blocks(others['compiled'])
    float8_linears(others['fp8'].transformer)
    peer = img2img_peer(plain, passes(plain, settings))
    threads = sorted({1, cores})
    peers = {f'diffusers image by image, {t} thread{"s"*(t>1)}': threaded(t, lambda f: theirs(peer, f, tmp/'peer'))
             for t in threads}
    def out(t, b): return 'default' if (t,b)==(cores,batch) else f'{t}-{b}'
    arms = peers | {name(t, b): arm(out(t, b), size=b, t=t) for t in threads for b in sorted({1, 4, 16, 64, batch})}
    arms[f'ours, {cores} processes of 1 thread'] = lambda f: pool.starmap(
        worker_run, [(o, tmp/'processes', batch) for o in split(f, cores)], chunksize=1)
    arms |= {f'ours, {k}, else as the default': arm(k, o) for k,o in others.items()}
    in_turn = threaded(cores, lambda f: ours_in_turn(plain, f, tmp/'in-turn', settings, batch))
    arms['ours, reading and writing in turn, else as the default'] = in_turn
    return arms,name(cores, batch),list(peers)

def cpu(args, tmp):
    files,cores = crops(tmp, args.images or 64),os.cpu_count()
    settings,batch = pocket_settings()
    plain = Oracle.from_pretrained('pocket')
    n,k,few = len(files),passes(plain, settings),dict(list(files.items())[:batch])
    with get_context('spawn').Pool(cores, worker_start, (settings,)) as pool:
        arms,base,peers = cpu_arms(plain, settings, batch, cores, tmp, pool)
        seen = {o: count(plain, lambda: arms[o](few), len(few)) for o in (base, *peers)}
        assert set(seen.values())=={k}, seen
        say(f'{n} crops, {k} passes for an image, ours and theirs; {len(arms)} lines')
        for o in arms: arms[o](few)  # warms up, and compiles for the one shape there is
        seconds = interleave({o: (lambda f=f: f(files)) for o,f in arms.items()}, args.rounds, 0)
        pool.close(); pool.join()
    about = {o: dict(passes=k) for o in arms}
    for o in ('bf16', 'compiled', 'fp8'):
        near = same(tmp/o, tmp/'default', files)
        about[f'ours, {o}, else as the default']['remark'] = f"images {near:.0f} dB from the default's"
    about[base]['remark'] = 'the default'
    against = {p: speedups(seconds, p) for p in peers}
    better = min(peers, key=lambda p: min(seconds[p]))
    float32 = [o for o in arms if o not in peers and 'bf16' not in o and 'fp8' not in o]
    best = min(float32, key=lambda o: min(seconds[o]))
    def told(o): return '{ratio:.2f}× ({low:.2f}–{high:.2f}; {best:.2f}× by best times)'.format(**against[better][o])
    note = (f'The pocket oracle on {n} restored crops of 64×64, files in, files out; no GPU, so nothing here is about '
            f'FLUX. Speed-ups are over the default of {base.removeprefix("ours, ")}. Over {better}, with as many passes: '
            f'the default {told(base)}, the fastest in float32 ({best.removeprefix("ours, ")}) {told(best)}. '
            f'{args.rounds} rounds, all lines in turn; threads wait {os.environ["OMP_WAIT_POLICY"].lower()}. {args.note}')
    return result('Stage 1 on a CPU', processor(), rows_of(seconds, base, n, about), note.strip(),
                  seconds=seconds, over_diffusers=against)


def one_image(args):
    "One image at a time at equal evaluations, on a small model of FLUX.1's kind: ours against diffusers' img2img, processor seconds of one thread"
    torch.set_num_threads(1)
    oracle, rows, seconds = random_oracle('cpu', torch.float32, tokens=8, vae=SMALL_VAE, **SMALL_DEV), [], {}
    for side in (64, 128):
        s = RefineSettings(steps=8, inject_steps=0, min_side=None)
        k, x = passes(oracle, s), torch.rand(1, 3, side, side)
        peer, image = img2img_peer(oracle, k), Image.fromarray((x[0].permute(1, 2, 0)*255).byte().numpy())
        base = f"{side}², diffusers' img2img"
        arms = {base: lambda: peer(image), f'{side}², ours': lambda: refine(oracle, x, s, floor=[])}
        assert {count(oracle, f) for f in arms.values()} == {k}
        seconds |= (taken := interleave(arms, 4*args.rounds, 2, time.process_time))
        rows += rows_of(taken, base, 1, dict.fromkeys(arms, dict(passes=k)))
    told = ', '.join(f"{o['ratio']:.2f}× ({o['best']:.2f}× by best times) at {o['what'].split(',')[0]}" for o in rows[1::2])
    note = f'A small random model of FLUX.1\'s kind: what is beside its products weighs more than in a large one. From pixels to pixels, ours is {told}. {args.note}'
    return result('One image at a time, on one thread', processor(), rows, note.strip(), seconds=seconds)


# ---------------------------------------------------------------- GPU: full-size FLUX.1-dev, random weights

def community_peer(oracle, path, steps):
    "diffusers' community RF-inversion pipeline, from a file of the user's: a function from a PIL image"
    spec = importlib.util.spec_from_file_location('community', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules['community'] = module
    spec.loader.exec_module(module)
    vae = torch.nn.Module.to(deepcopy(oracle.vae), oracle.transformer.dtype)
    none = [None]*4  # the text encoders and their tokenizers
    pipe = module.RFInversionFluxPipeline(deepcopy(oracle.scheduler), vae, *none, oracle.transformer)
    pipe.set_progress_bar_config(disable=True)
    embeds,pooled = oracle.embed([PROMPT])
    ids = torch.zeros(embeds.shape[1], 3, device=oracle.device, dtype=embeds.dtype)
    pipe.encode_prompt = lambda *args, **kwargs: (embeds, pooled, ids)  # its own would need, and cost, text encoders
    def peer(image):
        size = dict(height=image.height, width=image.width)
        z,z0,where = pipe.invert(image, num_inversion_steps=steps, dtype=oracle.transformer.dtype, **size)
        return pipe(prompt_embeds=embeds, pooled_prompt_embeds=pooled, inverted_latents=z, image_latents=z0,
                    latent_image_ids=where, num_inference_steps=steps, **size).images[0]
    return peer

def peak(f):
    "GB of GPU memory at the peak of `f`"
    if not torch.cuda.is_available(): f(); return 0.
    torch.cuda.reset_peak_memory_stats()
    f()
    return torch.cuda.max_memory_allocated()/1e9

def round_trip(oracle, x, steps):
    "The reconstruction check on latents: a random autoencoder says nothing about images"
    z,grid = oracle.encode(x),oracle.grid(steps, *x.shape[-2:])
    back = integrate(lambda z,t,at: oracle.velocity(z, t, '', at=at), invert(oracle, z, grid), grid, 'euler')
    return ((back-z).norm()/z.norm()).item(),back

def evaluator(oracle, size, batch, guidance=3.5, turns=False):
    "One guided evaluation of a batch of latents; `turns`: the passes of Equation 4 one after the other"
    z = oracle.encode(torch.rand(1, 3, size, size, device=oracle.device)).repeat(batch, 1, 1, 1)
    def run():
        if not turns: return oracle.velocity(z, .5, PROMPT, guidance)
        v0,v1 = oracle.velocity(z, .5, ''),oracle.velocity(z, .5, PROMPT)
        return v0 + guidance*(v1-v0)
    return run

def text_encoders(device, small):
    "T5-XXL's encoder and CLIP-L's at random weights, and a function that encodes one prompt"
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel
    t5 = dict(d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, vocab_size=32128,
              feed_forward_proj='gated-gelu')
    cl = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=49408)
    if small:
        t5 |= dict(d_model=64, d_ff=64, num_layers=1, num_heads=2)
        cl |= dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    with torch.device(device): nets = T5EncoderModel(T5Config(**t5)),CLIPTextModel(CLIPTextConfig(**cl))
    nets = [randomize(o.to(torch.bfloat16).eval()) for o in nets]
    ids = [torch.randint(0, 1000, (1, n), device=device) for n in (512, 77)]
    @torch.no_grad()
    def encode(): return [o(input_ids=i)[0] for o,i in zip(nets, ids)]
    return nets,encode

class Size:
    "What the measurements at one size share"
    def __init__(self, args, oracle, size, tmp, rate):
        store_attr()
        self.rows = []
        self.euler = RefineSettings(steps=args.plan, inject_steps=0, min_side=None)
        self.injecting = replace(self.euler, inject_steps=max(args.plan//5, 1))
        self.fireflow = replace(self.euler, solver='fireflow', steps=min(8, args.plan))
        self.k = passes(oracle, self.euler)
        self.flops = flop_count(random_oracle('meta', **args.model), size, size)
        self.n = self.batch = args.images or 2
        names = [f'{size}-{i}' for i in range(self.n)]
        self.files = {o: write_image(torch.rand(3, size, size), tmp/f'in/{o}.png') for o in names}
        self.base = f'diffusers img2img, {self.k} evaluations'

    def share(self, seconds, evaluations=1):
        "Of the machine's matrix rate"
        return f'{100*self.flops*evaluations/seconds/self.rate:.0f} % of the matrix rate'

    def run(self, settings, batch=None, how=ours):
        "Files to files, ours"
        return lambda: how(self.oracle, self.files, self.tmp/'ours', settings, batch or self.batch)

    def add(self, what, o, **more):
        self.rows.append(dict(what=f'{self.size}² {what}') | o | more)

    def alone(self, what, arms, base, images=None, evaluations=1):
        "The transformer alone: seconds per image of each arm, and its share of the rate"
        images = images or dict.fromkeys(arms, 1)
        for name,o in speedups(interleave(arms, 3*self.args.rounds, 2), base).items():
            p = images[name]
            o = {k: v/p if k=='seconds' else v*p/images[base] for k,v in o.items()}  # per image
            self.add(f'{what}: {name}', o, remark=self.share(o['seconds'], evaluations))

    def end_to_end(self, seen, got):
        "Rows of whole images, from `speedups`"
        for name,o in got.items():
            o,more = o | dict(seconds=o['seconds']/self.n),dict(seen[name])
            more['remark'] = '; '.join([*filter(None, [more.get('remark')]), self.share(o['seconds'], more['passes'])])
            self.add(name, o, **more)

def evaluations_alone(m):
    "One evaluation: batch sizes, the two passes of Equation 4"
    sizes = [b for b in (1, 2, 4, 8) if b*m.size**2 <= 8*1024**2]
    images = {f'batch {b}': b for b in sizes}
    m.alone('evaluation', {k: evaluator(m.oracle, m.size, b) for k,b in images.items()}, 'batch 1', images)
    cfg = copy(m.oracle)
    cfg.guidance_mode = 'true_cfg'
    arms = {'in turn': evaluator(cfg, m.size, 1, turns=True), 'in one batch': evaluator(cfg, m.size, 1)}
    m.alone('Equation 4, two passes', arms, 'in turn', evaluations=2)

def whole_images(m):
    "Files to files, as loaded: the peers, batch, values, solver, and what is not the transformer"
    peers = {m.base: img2img_peer(m.oracle, m.k)}
    plan,file = f'{m.args.plan}+{m.args.plan}',m.args.community
    if file: peers[f'community RF inversion, {plan}'] = community_peer(m.oracle, file, m.args.plan)
    arms = {name: (lambda p=p: theirs(p, m.files, m.tmp/'peer')) for name,p in peers.items()}
    same = f'ours, Euler {plan}, {m.batch} a batch'
    if m.batch>1: arms[f'ours, Euler {plan}, 1 a batch'] = m.run(m.euler, 1)
    stored,moved = replace(m.injecting, features='store'),replace(m.injecting, features='store', values_device='cpu')
    arms |= {same: m.run(m.euler), f'{same}, values on the GPU': m.run(stored), f'{same}, values in main memory': m.run(moved),
             f'{same}, values recomputed': m.run(replace(m.injecting, features='recompute')),
             f'{same}, reading and writing in turn': m.run(m.euler, how=ours_in_turn),
             f'ours, FireFlow {m.fireflow.steps}, {m.batch} a batch': m.run(m.fireflow),
             'ours, one step each way: what is not the transformer': m.run(replace(m.euler, steps=1))}
    seen = {}
    for name,f in arms.items():
        gb = peak(lambda: seen.update({name: dict(passes=count(m.oracle, f, m.n))}))
        seen[name]['remark'] = f'peak {gb:.0f} GB'
    assert {seen[o]['passes'] for o in [*peers, same]}=={m.k}, seen
    m.end_to_end(seen, speedups(interleave(arms, m.args.rounds, 0), m.base))

@contextmanager
def as_loaded(oracle, old):
    "For the peer's turn: the blocks without compilation, the linear layers without 8 bits"
    blocks = {b: vars(b).pop('forward') for b in repeated_blocks(oracle.transformer).values() if 'forward' in vars(b)}
    new = swap_modules(oracle.transformer, old)
    try: yield
    finally:
        swap_modules(oracle.transformer, new)
        for b,o in blocks.items(): b.forward = o

def compiled(m):
    "Compiled blocks, then 8-bit products on top, each beside the peer; returns what they gain"
    x,steps = torch.rand(1, 3, m.size, m.size, device=m.oracle.device),min(m.args.plan, 10)
    peer,gains = img2img_peer(m.oracle, m.k),{}
    loss,exact = round_trip(m.oracle, x, steps)
    for name in ('compiled', 'compiled, 8 bits'):
        old,remark = float8_linears(m.oracle.transformer) if '8' in name else {},''
        if old:
            off,back = round_trip(m.oracle, x, steps)
            apart = ((back-exact).norm()/exact.norm()).item()
            off,loss8,apart = (f'{100*o:.2f} %' for o in (off, loss, apart))
            remark = f'null round trip of {steps} steps: {off} off, {loss8} in bf16, {apart} apart'
        torch._dynamo.reset()
        compile_blocks(m.oracle)
        e,start = evaluator(m.oracle, m.size, m.batch),time.perf_counter()
        e()
        remark = '; '.join([*filter(None, [remark]), f'first call {time.perf_counter()-start:.0f} s'])
        m.alone(f'evaluation, {name}', {f'batch {m.batch}': e}, f'batch {m.batch}', {f'batch {m.batch}': m.batch})
        def base():
            with as_loaded(m.oracle, old): theirs(peer, m.files, m.tmp/'peer')
        plan = f'Euler {m.args.plan}+{m.args.plan}, {m.batch} a batch'
        arms = {m.base: base, f'ours, {name}, {plan}': m.run(m.euler)}
        fire = f'ours, {name}, FireFlow {m.fireflow.steps}, {m.batch} a batch'
        if not old: arms |= {f'ours, {name}, {plan}, values on the GPU': m.run(m.injecting), fire: m.run(m.fireflow)}
        seen = {o: dict(passes=count(m.oracle, f, m.n), remark='' if o==m.base else remark) for o,f in arms.items()}
        got = speedups(interleave(arms, m.args.rounds, 0), m.base)
        m.end_to_end(seen, got)
        gains |= {o: got[o]['ratio'] for o in list(arms)[1:]}
        eager_blocks(m.oracle)
        swap_modules(m.oracle.transformer, old)
    both = next(v for o,v in gains.items() if 'FireFlow' in o)
    return dict(size=m.size, engineering=gains[f'ours, compiled, {plan}'], both=both,
                evaluations=m.k/passes(m.oracle, m.fireflow))

def gpu(args, tmp):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    args.model = dict(tokens=8, vae=SMALL_VAE, **SMALL_DEV) if args.rehearse else {}
    oracle = random_oracle(device, torch.bfloat16, **args.model)
    say(oracle)
    if not args.community: say('community RF-inversion pipeline: left out, no --community FILE was given')
    rates,rows,gains = [],[],[]
    for size in args.sizes:
        rates.append(matmul_rate(device))
        m = Size(args, oracle, size, tmp, rates[-1])
        if 'evaluation' in args.parts: evaluations_alone(m)
        if 'images' in args.parts: whole_images(m)
        if 'compiled' in args.parts: gains.append(compiled(m))
        rows += m.rows
    if 'text' in args.parts: rows.append(text_row(args, device))
    def tell(size, engineering, evaluations, both):
        return (f'At {size}², compiled: {engineering:.2f}× over diffusers img2img at equal evaluations; FireFlow takes '
                f'{evaluations:.2f}× fewer evaluations, and {both:.2f}× is both together.')
    told = ' '.join(tell(**g) for g in gains)
    told_rates = ' and '.join(f'{o/1e12:.3g}' for o in rates)
    what = 'FLUX.1-dev at random normal weights, bf16.'
    if args.rehearse: what = 'A small random model: a rehearsal that says nothing about speed.'
    note = (f'{what} Large products of bf16 matrices ran at {told_rates} TFLOP/s in the same run. '
            f'Speed-ups are over the first line of a group; whole images over diffusers img2img. {told} {args.note}')
    hardware = torch.cuda.get_device_name() if device=='cuda' else processor()
    title = 'Stage 1 on a GPU' if device=='cuda' else 'A rehearsal of the GPU run'
    return result(title, hardware, rows, note.strip(), rates=rates, gains=gains)

def text_row(args, device):
    "What encoding a prompt costs, which is done once and not for each image"
    held = lambda: torch.cuda.memory_allocated()/1e9 if device=='cuda' else 0.
    before = held()
    nets,encode = text_encoders(device, args.rehearse)
    o = speedups(interleave(dict(e=encode), 3*args.rounds, 2), 'e')['e']
    return dict(what='one prompt through T5-XXL and CLIP-L', seconds=o['seconds'],
                remark=f'spared for every image but the first; {held()-before:.1f} GB freed')


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--size', default='512,1024', help='sides of the images, GPU only')
    p.add_argument('--plan', type=int, default=50, help='steps each way, GPU only')
    p.add_argument('--images', type=int, help='images of a round; default 2 on a GPU, 64 crops without')
    p.add_argument('--rounds', type=int, help='times that everything is measured; default 2 on a GPU, 5 without')
    p.add_argument('--parts', default='evaluation,images,compiled,text', help='what to measure, GPU only')
    p.add_argument('--community', help="diffusers' community pipeline_flux_rf_inversion.py, to measure it too")
    p.add_argument('--note', default='', help='what else the machine did, for the record')
    p.add_argument('--out', type=Path, help='JSON to write; the table goes beside it as .md')
    p.add_argument('--one', action='store_true', help='only one image at a time against diffusers, on one thread')
    p.add_argument('--rehearse', action='store_true', help='run the GPU plan with a small random model, wherever')
    args = p.parse_args()
    args.sizes = [int(o) for o in args.size.split(',')]
    full = torch.cuda.is_available() or args.rehearse
    args.parts,args.rounds = args.parts.split(','),args.rounds or (2 if full else 5)
    if not full: say('no GPU: the pocket oracle is measured, which says nothing about FLUX')
    with tempfile.TemporaryDirectory() as tmp: r = one_image(args) if args.one else (gpu if full else cpu)(args, Path(tmp))
    if args.out:
        write_json(r, args.out)
        args.out.with_suffix('.md').write_text(speed_table(r) + '\n', encoding='utf-8')
    print(speed_table(r))

if __name__=='__main__': main()
