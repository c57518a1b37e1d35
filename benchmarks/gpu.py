"""Checks and times on one GPU what a CPU cannot show, in at most eight minutes: parts in order of value, each with a limit.

    python benchmarks/gpu.py [--budget 445] [--parts evaluation,image,...] [--out FOLDER]
    python benchmarks/gpu.py --rehearse        (on a CPU, tiny shapes, about two minutes: says nothing about speed)

Every result is a line of FOLDER/gpu.jsonl as soon as it is known; FOLDER/gpu.md is the table. README.md beside this file explains the parts.
"""
import argparse, importlib.util, json, os, signal, subprocess, sys, time, traceback
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
os.environ.setdefault('PYTORCH_ALLOC_CONF', 'expandable_segments:True')
HERE = Path(__file__).parent

PARTS = dict(pocket=70, flux=365, cells=40, stages=90) # seconds at most; flux is evaluation, image, eight, folder, memory, features on one model
ALONE = dict(cards=300) # only where it is named

class TooLong(BaseException): pass

class Lines:
    "Results, on the disk as they come"
    def __init__(self, path, part): self.path, self.part = Path(path), part
    def put(self, what, **facts):
        row = dict(part=self.part, what=what, **facts)
        with self.path.open('a') as f: f.write(json.dumps(row, default=str) + '\n')
        print('  ' + what + ': ' + ', '.join(f'{k} {v}' for k, v in facts.items()), flush=True)
    @contextmanager
    def attempt(self, what, limit=60):
        "Go on after an error, or after `limit` seconds"
        def late(*_): raise TooLong(f'longer than {limit} s')
        old, began = signal.signal(signal.SIGALRM, late), time.perf_counter()
        outer = signal.alarm(limit) # seconds that an attempt around this one has left
        try: yield
        except (Exception, TooLong) as e:
            last = traceback.extract_tb(e.__traceback__)[-1]
            self.put(what, failed=f'{type(e).__name__}: {str(e)[:300]} ({Path(last.filename).name}:{last.lineno})')
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
            if outer: signal.alarm(max(1, round(outer - (time.perf_counter() - began))))
            print(f'  [{what}: {time.perf_counter() - began:.1f} s]', flush=True)


# ---------------------------------------------------------------- what the parts share

class Bench:
    "FLUX.1-dev's shapes at random normal weights, or a small model in a rehearsal"
    def __init__(self, lines, small):
        import torch
        import peers
        self.lines, self.small, self.torch, self.peers = lines, small, torch, peers
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.kw = dict(tokens=8, vae=peers.SMALL_VAE, **peers.SMALL_DEV) if small else {}
        self.how = dict(backend='eager') if small else {} # of `compile_blocks`
        self.sides, self.oracle = (64, 128) if small else (512, 1024), None
    def start(self):
        import torch
        if self.oracle: return self
        import torch._dynamo
        torch._dynamo.config.recompile_limit = 64 # as many shapes as no run meets
        began = time.perf_counter()
        self.oracle = self.peers.random_oracle(self.device, torch.bfloat16, **self.kw)
        self.rate = self.peers.matmul_rate(self.device)
        self.lines.put('model', seconds=round(time.perf_counter() - began, 1), bf16_TFLOPs=round(self.rate/1e12, 1), oracle=str(self.oracle))
        return self
    def wait(self):
        if self.device == 'cuda': self.torch.cuda.synchronize()
    def timed(self, f, n=3, warm=1):
        for _ in range(warm): f()
        self.wait()
        times = []
        for _ in range(n):
            began = time.perf_counter(); f(); self.wait()
            times.append(time.perf_counter() - began)
        return sorted(times)[n//2]
    def flops(self, side):
        return self.peers.flop_count(self.peers.random_oracle('meta', **self.kw), side, side)
    def evaluation(self, what, side, batch, n=3):
        "One guided evaluation: seconds per image, share of the matrix rate, and of compiling"
        with self.lines.attempt(f'{what}, {side}², batch {batch}', 75):
            from lego_nb.options import PROMPT
            z = self.torch.randn(batch, self.oracle.vae.config.latent_channels, side//8, side//8, device=self.device)
            run = lambda: self.oracle.velocity(z, .5, PROMPT, 3.5)
            began = time.perf_counter(); run(); self.wait()
            first, t = time.perf_counter() - began, self.timed(run, n)
            self.lines.put(f'{what}, {side}², batch {batch}', s_per_image=round(t/batch, 5), share=round(self.flops(side)*batch/t/self.rate, 3), first_s=round(first, 1))
            return t/batch
    def files(self, side, n, folder):
        from lego_nb.images import write_image
        g = self.torch.Generator().manual_seed(0)
        return {f'{k:02}': write_image(self.torch.rand(3, side, side, generator=g), Path(folder)/f'{k:02}.png') for k in range(n)}
    def peer(self, steps):
        "diffusers' img2img as its users call it: a function of a PIL image"
        return self.peers.img2img_peer(self.oracle, steps)


# ---------------------------------------------------------------- parts

def evaluation(b):
    "One evaluation: ours and diffusers', eager; compiled"
    from PIL import Image
    import numpy as np
    from lego_nb.speed import compile_blocks
    o, (small, large), t = b.start().oracle, b.sides, b.torch
    ours = b.evaluation('eager', small, 1, 5)
    with b.lines.attempt("diffusers' img2img, per evaluation", 40):
        image = Image.fromarray((np.random.rand(small, small, 3)*255).astype('uint8'))
        few, more = (b.timed(lambda p=b.peer(n): p(image), 3) for n in (4, 12))
        theirs = (more - few)/8
        b.lines.put("diffusers' img2img, eager, per evaluation", s_per_image=round(theirs, 5), ours_over_theirs=round(theirs/ours, 3) if ours else None)
    b.evaluation('eager', small, 8)
    compile_blocks(o, **b.how)
    if b.evaluation('compiled', small, 8) is None: # this torch breaks a block into several graphs
        b.how['fullgraph'] = False
        t._dynamo.reset()
        compile_blocks(o, **b.how)
        b.evaluation('compiled in parts', small, 8)
    b.evaluation('compiled', large, 4)
    once = b.evaluation('compiled', small, 1, 5)
    if once: b.lines.put('compiled against diffusers, batch 1', ratio=round(theirs/once, 3))

def eight(b):
    "The same evaluations with 8-bit products, quantised on the device"
    from lego_nb.speed import compile_blocks, eager_blocks, float8_linears, swap_modules
    o, (small, large), t = b.start().oracle, b.sides, b.torch
    with b.lines.attempt('fp8', 90):
        eager_blocks(o)
        z = t.randn(1, o.vae.config.latent_channels, small//8, small//8, device=b.device)
        exact, began = o.velocity(z, .5, ''), time.perf_counter()
        old = float8_linears(o.transformer); b.wait()
        quantised = time.perf_counter() - began
        off = ((o.velocity(z, .5, '') - exact).norm()/exact.norm()).item()
        b.lines.put('fp8', seconds_to_quantise=round(quantised, 2), velocity_off=round(off, 4), layers=len(old))
        compile_blocks(o, **b.how)
        b.evaluation('fp8, compiled', large, 4)
        b.evaluation('fp8, compiled', small, 8)
        eager_blocks(o)
        swap_modules(o.transformer, old)

def image(b):
    "Whole images as the preset does it against diffusers' img2img, and the autoencoder"
    import tempfile
    from stage1 import as_loaded, theirs
    from lego_nb.options import RefineSettings
    from lego_nb.refine_folder import Refiner
    from lego_nb.speed import compile_blocks
    o, side, t = b.start().oracle, b.sides[0], b.torch
    tmp, n = Path(tempfile.mkdtemp()), 4 if b.small else 11
    files, s = b.files(side, n, tmp/'in'), RefineSettings(steps=5, inject_steps=1, min_side=None)
    peer, times = b.peer(10), {}
    with b.lines.attempt("diffusers' img2img, whole images", 40):
        few = dict(list(files.items())[:3])
        with as_loaded(o, {}): times['peer'] = b.timed(lambda: theirs(peer, few, tmp/'peer'), 3)/len(few)
    def folder(name, batch=None):
        import shutil
        def run():
            shutil.rmtree(tmp/name, ignore_errors=True)
            r = Refiner(o, files, tmp/name, s, batch_size=batch, progress=False, say=lambda *_: None)
            assert not r.run()
            return r
        return run
    compile_blocks(o, **b.how)
    with b.lines.attempt('whole images, the preset', 60):
        batch = folder('preset')().batch_size
        times['preset'] = b.timed(folder('preset'), 3, 0)/n
        b.lines.put('whole images, 5+5 evaluations', side=side, batch=batch, preset_s=round(times['preset'], 4), diffusers_s=round(times['peer'], 4), ratio=round(times['peer']/times['preset'], 3))
    with b.lines.attempt('what is not the transformer', 30):
        x = t.rand(8 if not b.small else 2, 3, side, side, device=b.device)
        z = o.encode(x)
        b.lines.put('autoencoder, per image', encode=round(b.timed(lambda: o.encode(x), 3)/len(x), 5), decode=round(b.timed(lambda: o.decode(z), 3)/len(x), 5))
    if b.device != 'cuda': return
    with b.lines.attempt('compiled autoencoder', 60):
        plain = o.decode(z)
        o.vae.decoder.forward, kept = t.compile(o.vae.decoder.forward), o.vae.decoder.forward
        began = time.perf_counter(); made = o.decode(z); b.wait()
        b.lines.put('decoder compiled, per image', first_s=round(time.perf_counter() - began, 1), decode=round(b.timed(lambda: o.decode(z), 3)/len(z), 5), off=(made - plain).abs().max().item())

def memory(b):
    "Batches of a size that does not fit are halved"
    import tempfile
    from lego_nb.options import RefineSettings
    from lego_nb.refine_folder import Refiner
    from lego_nb.speed import eager_blocks
    o, side, t, n = b.start().oracle, b.sides[0], b.torch, 4 if b.small else 12
    tmp = Path(tempfile.mkdtemp())
    files = b.files(side, n, tmp/'in')
    eager_blocks(o)
    with b.lines.attempt('memory ends', 30):
        said = []
        r = Refiner(o, files, tmp/'oom', RefineSettings(steps=1, inject_steps=0, min_side=None), batch_size=n, progress=False, say=said.append)
        if b.device == 'cuda':
            t.cuda.empty_cache()
            hold = t.empty(max(0, t.cuda.mem_get_info()[0] - int(1.6e9)), dtype=t.uint8, device='cuda')
        failed = r.run()
        b.lines.put('memory ends: the batch is halved', failed=len(failed), made=len(list((tmp/'oom').glob('*.png'))), said=' | '.join(said))
        hold = None

def flux(b):
    "All that needs FLUX's shapes, on one model"
    for part in (evaluation, image, eight, folder, memory, features):
        b.lines.part = part.__name__
        with b.lines.attempt(part.__name__, 240): part(b)

def pocket(b):
    "The demonstration on the GPU, the judged choice included, against the CPU's numbers"
    import shutil, tempfile
    import torch
    from lego_nb.commands import lego_run
    from lego_nb.files import image_files
    from lego_nb.images import read_image
    from lego_nb.metrics import NO_WEIGHTS, metric, score
    from lego_nb.degrade import DEGRADATIONS, degrade
    from lego_nb.load_restorer import load_restorer
    from lego_nb.oracle import Oracle
    from lego_nb.options import RefineSettings
    from lego_nb.pixel_metrics import psnr
    from lego_nb.refinement import refine
    out = Path(tempfile.mkdtemp())
    few = dict(preset='pocket', iterations=4 if b.small else 100, first_n=4 if b.small else 16, sample=4 if b.small else 8, control_images=2, controls='none')
    if b.small: few |= dict(candidates='t0=.3,steps=2,solver=euler', steps=2, inject_steps=0)
    choice = {}
    for dev in (['cuda'] if b.device == 'cuda' else []) + ['cpu']:
        with b.lines.attempt(f'lego_run on {dev}', 60):
            began = time.perf_counter()
            lego_run(out=str(out/dev), device=dev, **(few if dev == b.device else few | dict(iterations=2)))
            c = json.loads((out/dev/'pseudo/choice.json').read_text())
            choice[dev] = {g: o['chosen'] for g, o in c['groups'].items()}
            b.lines.put(f'lego_run on {dev}', seconds=round(time.perf_counter() - began, 1), chosen=choice[dev])
    if b.device != 'cuda': return
    x = torch.stack([read_image(o) for o in list(image_files(out/'cpu/pseudo/restored').values())[:4]])
    def near(name, a, c): b.lines.put(f'{name}, GPU to CPU', dB=round(psnr(a.cpu().float(), c.cpu().float()).min().item(), 1))
    with b.lines.attempt('restoration'): near('restoration', load_restorer('pocket', 'cuda').restore(x), load_restorer('pocket').restore(x))
    s = RefineSettings(steps=6, inject_steps=2, min_side=None)
    exact = refine(Oracle.from_pretrained('pocket'), x, s)[0]
    for dtype in (torch.float32, torch.bfloat16):
        with b.lines.attempt(f'refinement {dtype}'): near(f'refinement {dtype}', refine(Oracle.from_pretrained('pocket', 'cuda', dtype), x.cuda(), s)[0], exact)
    for k in DEGRADATIONS:
        with b.lines.attempt(f'degradation {k}'):
            y, again = degrade(x.cuda(), k, list('abcd')), degrade(x.cuda(), k, list('abcd'))
            assert y.is_cuda and y.isfinite().all() and torch.equal(y, again)
    with b.lines.attempt('copies of a degraded batch'):
        from torch.profiler import ProfilerActivity, profile
        many = x.repeat(2, 1, 1, 1).cuda()
        for k in ('weak', 'strong'):
            degrade(many, k, list('abcdefgh'))
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen: degrade(many, k, list('abcdefgh')); torch.cuda.synchronize()
            names = [o.name for o in seen.events()]
            b.lines.put(f'{k}, 8 a batch: copies to the GPU, kernels, waits', copies=sum('Memcpy HtoD' in o for o in names), kernels=sum('LaunchKernel' in o for o in names),
                        waits=sum(o == 'cudaStreamSynchronize' for o in names), s_per_image=round(b.timed(lambda: degrade(many, k, list('abcdefgh')))/8, 5))
    with b.lines.attempt('metrics'):
        r = (x*.9 + .02).clamp(0, 1)
        off = {k: (score(r.cuda(), metric(k, 'cuda'), x.cuda()).cpu() - score(r, metric(k, 'cpu'), x)).abs().max().item() for k in ('psnr', 'ssim', 'niqe-pocket', *(NO_WEIGHTS if importlib.util.find_spec('pyiqa') else ()))}
        b.lines.put('metrics, GPU to CPU', largest=max(off.values()), of=max(off, key=off.get))

def folder(b):
    "A folder through Stage 1 as a preset does it: 50+50 steps, foretold and measured"
    import tempfile
    from lego_nb.options import RefineSettings
    from lego_nb.refine_folder import Refiner
    from lego_nb.speed import compile_blocks
    o, side = b.start().oracle, b.sides[0]
    tmp, n, steps = Path(tempfile.mkdtemp()), 4 if b.small else 32, 4 if b.small else 50
    compile_blocks(o, **b.how)
    with b.lines.attempt('folder', 210):
        s = RefineSettings(steps=steps, inject_steps=steps//5, min_side=None)
        r = Refiner(o, b.files(side, n, tmp/'in'), tmp/'out', s, batch_size=2 if b.small else None, progress=False, say=lambda *_: None)
        told = r.foretell()
        b.lines.put('folder foretold', seconds=round(told, 1), batch=r.batch_size)
        began = time.perf_counter()
        from lego_nb.folder_map import FolderMap
        failed = FolderMap.run(r)
        took = time.perf_counter() - began
        b.lines.put(f'{n} images of {side}², {steps}+{steps} evaluations', foretold_s=round(told, 1), measured_s=round(took, 1), foretold_over_measured=round(told/took, 3),
                    s_per_image=round(took/n, 3), failed=len(failed), hours_for_6000_extrapolated=round(took/n*6000/3600, 2))

def features(b):
    "The ways to keep features, eager"
    import tempfile
    from lego_nb.attention import choose_features
    from lego_nb.options import RefineSettings
    from lego_nb.refinement import refine
    from lego_nb.speed import eager_blocks
    o, side, n = eager_blocks(b.start().oracle), b.sides[0], 2 if b.small else 8
    x = b.torch.rand(n, 3, side, side, device=b.device)
    for name, how in {'none': dict(inject_steps=0), 'stored': dict(features='store'), 'in main memory': dict(features='store', values_device='cpu'), 'recomputed': dict(features='recompute')}.items():
        with b.lines.attempt(f'features {name}', 30):
            s = RefineSettings(**dict(steps=4, inject_steps=2, min_side=None) | how)
            if b.device == 'cuda': b.torch.cuda.reset_peak_memory_stats()
            t = b.timed(lambda: refine(o, x, s, floor=[]), 1)
            b.lines.put(f'features {name}, 4+4', s_per_image=round(t/n, 4), peak_GB=round(b.torch.cuda.max_memory_allocated()/1e9, 1) if b.device == 'cuda' else None)

def cards(b):
    "FLUX's shapes on cards of 24 and 16 GB: what each way takes in seconds and bytes, as far as it fits"
    from diffusers.hooks import HookRegistry
    from lego_nb.memory import way_bytes
    from lego_nb.speed import compile_blocks, eager_blocks, swap_modules
    from lego_nb.weights import eight_bits, offload
    t, cuda = b.torch, b.device == 'cuda'
    o = b.peers.random_oracle(b.device, t.bfloat16, **b.kw)
    net, old = o.transformer.to('cpu'), {}
    def four(net):
        from bitsandbytes.nn import Linear4bit, Params4bit
        def made(l):
            new = Linear4bit(l.in_features, l.out_features, l.bias is not None, compute_dtype=t.bfloat16, quant_type='nf4')
            new.weight, new.bias = Params4bit(l.weight.data, requires_grad=False, quant_type='nf4', module=new), l.bias
            return new.to(b.device)
        old.update(swap_modules(net, {k: made(l) for k, l in net.named_modules() if type(l) is t.nn.Linear}))
        net.works = t.device(b.device), t.bfloat16
        return net.to(b.device)
    def undo(net):
        HookRegistry.check_if_exists_or_initialize(net).remove_hook('group_offloading', recurse=True)
        for k in ('works', 'carried'): vars(net).pop(k, None)
        if old: swap_modules(net, old), old.clear()
        eager_blocks(o)
        net.to('cpu')
        if cuda: t.cuda.empty_cache()
    def compiled(net):
        compile_blocks(o, **b.how)
        return offload(net, b.device)
    def eight(net):
        net.works = t.device(b.device), t.bfloat16
        return eight_bits(net, t.bfloat16).to(b.device)
    ways = {'full': lambda net: net.to(b.device), '4bit': four, 'offload': lambda net: offload(net, b.device), 'offload, compiled': compiled, '8bit': eight} # 8bit stays
    total, (small, large) = t.cuda.mem_get_info()[1] if cuda else 0, b.sides
    if not cuda: ways.pop('4bit') # bitsandbytes' kernels for processors are another thing
    for way, make in ways.items():
        if cuda: t.cuda.set_per_process_memory_fraction(1.)
        told = round(way_bytes(net, way.split(',')[0])/1e9, 1)
        with b.lines.attempt(f'{way} loads', 60):
            make(net)
            for limit in (24, 16):
                if cuda: t.cuda.set_per_process_memory_fraction(min(1., limit*2**30/total))
                for side, rows in ((large, 1), (small, 4)):
                    with b.lines.attempt(f'{way} on {limit} GB, {side}², batch {rows}', 25):
                        z = t.randn(rows, o.vae.config.latent_channels, side//8, side//8, device=b.device)
                        if cuda: t.cuda.empty_cache(), t.cuda.reset_peak_memory_stats()
                        seconds = b.timed(lambda: o.velocity(z, .5), 2, 2)
                        b.lines.put(f'{way} on {limit} GB, {side}², batch {rows}', s_per_image=round(seconds/rows, 4), weights_GB_by_shapes=told,
                                    peak_GB=round(t.cuda.max_memory_allocated()/1e9, 2) if cuda else None)
        if way != '8bit': undo(net)

def cells(b):
    "The cells of the notebooks that are flagged `cuda`, with the cells before them that define what they need"
    import ast, importlib, re, types
    for name in ('nbdev', 'nbdev.showdoc', 'IPython', 'IPython.display'):
        try: __import__(name)
        except ImportError:
            sys.modules[name] = m = types.ModuleType(name)
            m.__path__, m.__all__ = [], ['show_doc']
            m.show_doc = m.HTML = m.Markdown = m.display = m.Image = lambda *a, **k: None
    def names(src, ctx):
        tree, found = ast.walk(ast.parse(src)), set()
        for o in tree:
            if isinstance(o, ast.Name) and isinstance(o.ctx, ctx): found.add(o.id)
            if ctx is ast.Store and isinstance(o, (ast.FunctionDef, ast.ClassDef)): found.add(o.name)
            if ctx is ast.Store and isinstance(o, (ast.Import, ast.ImportFrom)): found |= {(a.asname or a.name).split('.')[0] for a in o.names}
        return found
    def needed(cells, n):
        def code(i):
            src = '\n'.join(o for o in ''.join(cells[i]['source']).splitlines() if not o.startswith(('%', '!')))
            flags = re.match(r'(#\|.*\n)*', src)[0]
            return src if cells[i]['cell_type'] == 'code' and (i == n or not re.search(r'export|slow|hub|cuda|hide|eval: *false', flags)) else ''
        want, take = names(code(n), ast.Load), [n]
        for i in range(n - 1, -1, -1):
            try: made = names(src := code(i), ast.Store)
            except SyntaxError: continue
            if src.strip() and (re.search(r'^(from|import) ', src, re.M) or made & want): take.append(i); want |= names(src, ast.Load)
        return [code(i) for i in sorted(take)]
    os.chdir(HERE.parent/'nbs')
    for f in sorted(Path('.').rglob('*.ipynb')):
        all_cells = json.loads(f.read_text())['cells']
        for n, c in enumerate(all_cells):
            if c['cell_type'] != 'code' or not re.match(r'#\|\s*cuda', ''.join(c['source'])): continue
            with b.lines.attempt(f'cell {f.stem} {n}', 25):
                if b.small: b.lines.put(f'cell {f.stem} {n}', parts=len(needed(all_cells, n))); continue
                space = dict(vars(importlib.import_module(f'lego_nb.{f.stem.partition("_")[2]}')))
                *before, last = needed(all_cells, n)
                for o in before:
                    try: exec(compile(o, f'{f.stem}', 'exec'), space)
                    except Exception as e: print(f'    a helper cell: {type(e).__name__}: {str(e)[:100]}')
                exec(compile(last, f'{f.stem}-{n}', 'exec'), space)
                b.lines.put(f'cell {f.stem} {n}', passed=True)

def stages(b):
    "The benchmarks of the other stages, quick"
    import tempfile
    small, out = b.small, Path(tempfile.mkdtemp())
    each = {'stage2.py': ['--quick'], 'stage0.py --files': ['--size', '64' if small else '512', '--images', '2' if small else '8', '--rounds', '3'], 'degradations.py': ['--size', '64' if small else '512', '--images', '2' if small else '32', '--rounds', '1'],
            'stage0.py': ['--size', '64' if small else '512', '--images', '4' if small else '32', '--rounds', '1', '--few', '--net', 'pocket' if small else 'nafnet']}
    for name, args in each.items():
        with b.lines.attempt(name, 60):
            file, *flags = name.split()
            result = out/f'{len(list(out.iterdir()))}.json'
            r = subprocess.run([sys.executable, HERE/file, *flags, *args, '--out', result], capture_output=True, text=True, timeout=55)
            if r.returncode: raise RuntimeError(r.stderr.strip()[-300:])
            for row in json.loads(result.read_text())['rows']:
                b.lines.put(f"{file[:-3]}: {row['what']}", **{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items() if k in ('seconds', 'ratio', 'remark')})


# ---------------------------------------------------------------- the parent

def table(path):
    "The results as a table"
    from lego_nb.files import markdown_grid
    rows = [json.loads(o) for o in path.read_text().splitlines()]
    def told(r): return '; '.join(f'{k} {v}' for k, v in r.items() if k not in ('part', 'what'))
    return markdown_grid([['part', 'what', 'found'], *([r['part'], r['what'], told(r)] for r in rows)], [])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--budget', type=float, default=445, help='seconds for all parts')
    p.add_argument('--parts', default=','.join(PARTS), help='which, in order')
    p.add_argument('--out', type=Path, default=Path(os.environ.get('OUT') or 'gpu_results'), help='folder of the results')
    p.add_argument('--rehearse', action='store_true', help='tiny shapes, wherever')
    p.add_argument('--child', help='used inside: run this part')
    args = p.parse_args()
    sys.path.insert(0, str(HERE))
    lines = args.out/'gpu.jsonl'
    if args.child: return globals()[args.child](Bench(Lines(lines, args.child), args.rehearse))
    began = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    lines.unlink(missing_ok=True)
    Lines(lines, 'all').put('machine', **about())
    for name in args.parts.split(','):
        left = args.budget - (time.time() - began)
        if left < 15: Lines(lines, name).put('left out', reason='no time'); continue
        limit, start = min((PARTS | ALONE).get(name, 90), left), time.time()
        print(f'== {name}, at most {limit:.0f} s', flush=True)
        command = [sys.executable, __file__, '--child', name, '--out', args.out, *['--rehearse']*args.rehearse]
        try: end = subprocess.run(list(map(str, command)), timeout=limit, env=os.environ | dict(PYTHONPATH=f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}")).returncode
        except subprocess.TimeoutExpired: end = f'longer than {limit:.0f} s'
        Lines(lines, name).put('end', code=end, seconds=round(time.time() - start, 1))
        (args.out/'gpu.md').write_text(table(lines) + '\n', encoding='utf-8')
    print(table(lines))

def about():
    import torch
    from lego_nb.console import versions
    gpu = torch.cuda.is_available()
    return dict(gpu=torch.cuda.get_device_name() if gpu else None, memory_GB=round(torch.cuda.mem_get_info()[1]/1e9) if gpu else None, cores=os.cpu_count(), versions=versions())

if __name__ == '__main__': main()
