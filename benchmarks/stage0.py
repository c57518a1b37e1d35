"""Times Stage 0 over a folder against a loop that reads, restores and writes one image after the other.

    python benchmarks/stage0.py [--size 64,256,512] [--net pocket,nafnet] [--images N] [--rounds N] [--out FILE]
    python benchmarks/stage0.py --files [--size 512] [--images N] [--rounds N]      (readers and writers of image files alone)

Both use the same model. README.md beside this file tells what is compared with what.
"""
import argparse, os, shutil, tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import date
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('TQDM_DISABLE', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # threads that spin while they wait starve on a shared machine

import numpy as np, torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from fastcore.basics import store_attr

from lego_nb.demo import photographs
from lego_nb.degrade import degrade
from lego_nb.files import image_files, write_json
from lego_nb.images import read_image, write_image
from lego_nb.pixel_metrics import psnr
from lego_nb.folder_map import batches, image_size
from lego_nb.restore_folder import restore_folder
from lego_nb.load_restorer import load_restorer
from peers import interleave, matmul_rate, speed_table, speedups
from stage1 import processor, say

BASE = 'image by image'
GPU = torch.cuda.is_available()
DEVICE = 'cuda' if GPU else 'cpu'

READ, WRITE = 'read_image', 'write_image'

# ---------------------------------------------------------------- what is restored, and with what

def cropped(x, height, width):
    "The middle of a photograph that was enlarged where it must be"
    scale = max(height/x.shape[-2], width/x.shape[-1], 1)
    x = F.interpolate(x[None], size=[round(n*scale + .5) for n in x.shape[-2:]], mode='bicubic').clamp(0, 1)
    top, left = (x.shape[-2] - height)//2, (x.shape[-1] - width)//2
    return x[..., top:top+height, left:left+width]

def noisy_files(folder, n, height, width, seed=0):
    "n photographs with weak noise, each its own: id -> file"
    for i, (name, x) in zip(range(n), list(photographs().items())*n):
        y = degrade(cropped(x, height, width), 'pocket-weak', [f'{name}-{i}'], seed)
        write_image(y, folder/f'{name}-{i}.png')
    return image_files(folder)

def model(net, folder):
    "'pocket', or NAFNet with 32 channels as its authors trained it, at random weights"
    if net == 'pocket': return load_restorer('pocket', DEVICE)
    from spandrel.architectures.NAFNet import NAFNet
    torch.manual_seed(0)
    nafnet = NAFNet(width=32, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1]*4)
    torch.save(nafnet.state_dict(), folder/'nafnet.pth')
    return load_restorer(folder/'nafnet.pth', DEVICE)


# ---------------------------------------------------------------- the ways through a folder

def in_turn(restorer, files, out, batch_size=1, layout=torch.contiguous_format):
    "Read, restore, write; no threads but torch's own"
    for ids in batches(list(files), batch_size, lambda i: image_size(files[i])):
        y = torch.stack([read_image(files[i]) for i in ids]).contiguous(memory_format=layout)
        for i, x in zip(ids, restorer.restore(y)): write_image(x, out/f'{i}.png')

def ours(restorer, files, out, **kwargs):
    "As `lego_run` does it"
    _, failed = restore_folder(restorer, files, out, progress=False, **kwargs)
    assert not failed, failed

def worker_start(net, folder):
    global _worker
    torch.set_num_threads(1)
    _worker = model(net, folder)

def worker_run(files, out): ours(_worker, files, out, readers=1, writers=1)

class Arms:
    "Name -> function, for every way through a folder"
    def __init__(self, net, files, tmp, pool):
        self.restorer, self.cores, self.arms = model(net, tmp), os.cpu_count(), {}
        store_attr('files,tmp,pool')

    def add(self, name, way, threads=None, precision=None, channels_last=None, inference=False, **kwargs):
        r, out = self.restorer, self.tmp/'out'/str(len(self.arms))
        asks = getattr(type(r.net), 'channels_last', False)
        def run():
            shutil.rmtree(out, ignore_errors=True)
            torch.set_num_threads(threads or self.cores)
            r.dtype, r.net.channels_last = precision, asks if channels_last is None else channels_last
            with torch.inference_mode() if inference else nullcontext(): way(r, self.files, out, **kwargs)
        self.arms[name] = run

    def floor(self):
        "Seconds that one image's arithmetic takes at the rate of large products, in float32 as the loop's"
        y = read_image(next(iter(self.files.values())))[None]
        with FlopCounterMode(display=False) as counter: self.restorer.restore(y)
        torch.set_num_threads(self.cores)
        return counter.get_total_flops()/matmul_rate(DEVICE, torch.float32, (2048,))

    def near(self, name):
        "How far the images of an arm are from the loop's, dB; 80: equal"
        folders = [self.tmp/'out'/str(list(self.arms).index(o)) for o in (name, BASE)]
        x, y = (torch.stack([read_image(o/f'{i}.png') for i in self.files]) for o in folders)
        return psnr(x, y).min().item()

    def split(self, restorer, files, out):
        "A share of the files for each process"
        shares = [dict(list(files.items())[i::self.cores]) for i in range(self.cores)]
        self.pool.starmap(worker_run, [(o, out) for o in shares], chunksize=1)

def fill(a, few):
    "The loop, the default, both in bf16, and unless `few` the default with one thing changed"
    a.add(BASE, in_turn)
    a.add('restore_folder', ours)
    a.add('image by image, bf16', in_turn, precision=torch.bfloat16)
    a.add('restore_folder, bf16', ours, precision=torch.bfloat16)
    if few: return
    a.add('restore_folder, one image a batch', ours, batch_size=1)
    a.add('restore_folder, one reader and one writer', ours, readers=1, writers=1)
    a.add('batches of 8 in turn, no threads', in_turn, batch_size=8)
    if not GPU:  # on a GPU Stage 0 always hands over PyTorch's own layout
        a.add('restore_folder, channels_last', ours, channels_last=True)
        a.add("restore_folder, PyTorch's own layout", ours, channels_last=False)
    a.add('image by image, channels_last', in_turn, layout=torch.channels_last)
    a.add('image by image, inference_mode', in_turn, inference=True)
    if GPU: return a.add('restore_folder, batches of 32', ours, batch_size=32)
    a.add('image by image, 1 torch thread', in_turn, threads=1)
    a.add('restore_folder, 1 torch thread', ours, threads=1)
    a.add('restore_folder, batches of 8 at any size', ours, pixels=2**40)
    a.add(f'restore_folder, {a.cores} processes of 1 thread', a.split)

def measured(args, net, size, tmp, pool):
    "Rows of the table for one net and size, and their seconds"
    height, width = (720, 1280) if size == '720p' else (int(size),)*2
    n = args.images or max(8, 2**(18 if not GPU else 25)//(height*width))
    a = Arms(net, noisy_files(tmp/f'{size}', n, height, width), tmp, pool)
    fill(a, args.few)
    say(f'{net} {size}: {n} images, {len(a.arms)} lines')
    seconds, floor = interleave(a.arms, args.rounds, 1), a.floor()
    def remark(k):
        if k == BASE: return f'{n} images; arithmetic alone {1000*floor:.1f} ms'
        near = a.near(k)
        assert near > 30, (k, near)
        return f'{near:.0f} dB from the loop' if near < 79 else 'the same images'
    rows = [dict(what=f'{net} {size}: {k}', **o | dict(seconds=o['seconds']/n), remark=remark(k))
            for k, o in speedups(seconds, BASE).items()]
    return rows, seconds


# ---------------------------------------------------------------- files alone

def in_threads(n, f, items):
    "`f` of each item, in n threads"
    def run():
        if n == 1: return [f(o) for o in items]
        with ThreadPoolExecutor(n) as pool: return list(pool.map(f, items))
    return run

def readers():
    "Name -> function of a file: 3×H×W, float32"
    from torchvision.io import ImageReadMode, decode_image
    def pillow(path): return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)/255
    def vision(path): return decode_image(str(path), ImageReadMode.RGB)/255
    arms = {READ: read_image, 'Pillow alone': pillow, 'torchvision.io.decode_image': vision}
    try: import cv2
    except ImportError: return arms
    cv2.setNumThreads(1)
    return arms | {'cv2.imread': lambda path: torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1)/255}

def writers():
    "Name -> function of 3×H×W and a file's path"
    from torchvision.io import encode_png
    def levels(x): return (x.clamp(0, 1)*255).round().byte()
    def pillow(**how): return lambda x, path: Image.fromarray(levels(x).permute(1, 2, 0).contiguous().numpy()).save(path, **how)
    def vision(level): return lambda x, path: path.write_bytes(encode_png(levels(x), level).numpy().tobytes())
    arms = {WRITE: write_image, 'Pillow, level 0': pillow(compress_level=0), 'Pillow, level 1': pillow(compress_level=1),
            'Pillow, level 1, runs alone': pillow(compress_level=1, compress_type=3), 'Pillow, level 3': pillow(compress_level=3),
            'Pillow, level 6': pillow(compress_level=6), 'torchvision, level 1': vision(1)}
    try: import cv2
    except ImportError: return arms
    def opencv(*how): return lambda x, path: cv2.imwrite(str(path), levels(x).permute(1, 2, 0).flip(2).contiguous().numpy(), list(how))
    return arms | {'cv2, level 1': opencv(cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT),
                   'cv2, runs alone': opencv(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)}

def files_alone(args, size, tmp):
    "Rows of the table for reading and writing PNG of one size; all keep the pixels"
    n, side, rows, seconds, cores = args.images or 8, int(size), [], {}, os.cpu_count()
    clean = tmp/'clean'
    for i, (name, x) in zip(range(n), list(photographs().items())*n): write_image(cropped(x, side, side), clean/f'{name}-{i}.png')
    noisy, torch_threads = noisy_files(tmp/'noisy', n, side, side), torch.get_num_threads()
    torch.set_num_threads(1)
    for kind, files in dict(photographs=image_files(clean), noisy=noisy).items():
        paths = list(files.values())
        images, out = [read_image(p) for p in paths], tmp/'written'
        out.mkdir(exist_ok=True)
        arms, about = {}, {}
        for name, f in readers().items():
            assert all(torch.equal(f(p), x) for p, x in zip(paths, images)), name
            arms[f'read: {name}'] = in_threads(1, f, paths)
        for name, f in writers().items():
            def one(k, f=f, name=name): f(images[k], out/f'{name}-{k}.png'.replace(', ', '-'))
            arms[f'write: {name}'] = in_threads(1, one, range(n))
            arms[f'write: {name}']()
            made = [out/f'{name}-{k}.png'.replace(', ', '-') for k in range(n)]
            assert all(torch.equal(read_image(p), x) for p, x in zip(made, images)), name
            about[f'write: {name}'] = f'{sum(p.stat().st_size for p in made)/n/1000:.0f} kB'
            if name == WRITE: arms[f'write: {name}, {cores} threads'] = in_threads(cores, one, range(n))
        arms[f'read: {READ}, {cores} threads'] = in_threads(cores, read_image, paths)
        taken = seconds[f'{kind} {size}'] = interleave(arms, args.rounds, 1)
        for base in READ, WRITE:
            which = base.split('_')[0]
            some = speedups({k: v for k, v in taken.items() if k.startswith(which)}, f'{which}: {base}')
            rows += [dict(what=f'{kind} {size}: {k}', **o | dict(seconds=o['seconds']/n), remark=about.get(k, '')) for k, o in some.items()]
    torch.set_num_threads(torch_threads)
    return rows, seconds


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--size', help="sides of the images, or 720p; default 256,512,720p on a GPU, 64,256,512 without")
    p.add_argument('--net', help='pocket, nafnet; default both on a GPU, pocket without')
    p.add_argument('--images', type=int, help='images of a round; default by size')
    p.add_argument('--rounds', type=int, default=5, help='times that everything is measured')
    p.add_argument('--few', action='store_true', help='only the loop and the default, in float32 and bf16')
    p.add_argument('--files', action='store_true', help='only reading and writing files, by several libraries')
    p.add_argument('--note', default='', help='what else the machine did, for the record')
    p.add_argument('--out', type=Path, help='JSON to write; the table goes beside it as .md')
    args = p.parse_args()
    if args.files:
        rows, seconds = [], {}
        for size in (args.size or '512').split(','):
            with tempfile.TemporaryDirectory() as tmp: more, new = files_alone(args, size, Path(tmp))
            rows, seconds = rows + more, seconds | new
        return told(args, 'Reading and writing PNG', rows, seconds, f'Seconds by the clock, median of {args.rounds} rounds in '
                    f'turn, one thread where nothing else is said; every way keeps every pixel. {args.note}')
    sizes = (args.size or ('256,512,720p' if GPU else '64,256,512')).split(',')
    nets, rows, seconds = (args.net or ('pocket,nafnet' if GPU else 'pocket')).split(','), [], {}
    for net in nets:
        for size in sizes:
            with tempfile.TemporaryDirectory() as tmp:
                tmp = Path(tmp)
                start = dict(initializer=worker_start, initargs=(net, tmp))
                with get_context('spawn').Pool(os.cpu_count(), **start) if not GPU else nullcontext() as pool:
                    more, seconds[f'{net} {size}'] = measured(args, net, size, tmp, pool)
                rows += more
    note = (f'Files in, files out. Speed-ups are over reading, restoring and writing one image after the other with '
            f'the same model: median of {args.rounds} rounds, all lines in turn, lowest and highest in brackets. '
            f'Seed 0. {args.note}')
    told(args, 'Stage 0 over a folder', rows, seconds, note)

def told(args, title, rows, seconds, note):
    hardware = torch.cuda.get_device_name() if GPU else processor()
    r = dict(title=title, hardware=hardware, versions=f'torch {torch.__version__}',
             date=date.today().isoformat(), note=note.strip(), rows=rows, seconds=seconds)
    if args.out:
        write_json(r, args.out)
        args.out.with_suffix('.md').write_text(speed_table(r) + '\n', encoding='utf-8')
    print(speed_table(r))

if __name__ == '__main__': main()
