"""Restore a folder in processes that may take little more memory than they have: does a batch that does not fit get halved?

    python benchmarks/memory.py [--rooms 256,128,96,64,48,32,24,16]

Stands for a small card: the fault is the allocator's own. How much a convolution takes depends on the processor and on the
library, so the limit that bites is searched for, and a room in which not even one image fits ends the search. Prints what the
restoration said under each limit, and how far its images are from those of a process with room (8-bit steps). Linux alone.
"""
import argparse, multiprocessing, re, resource, sys, tempfile
from pathlib import Path
import torch
from lego_nb.demo import photographs
from lego_nb.images import cut_crops, read_image, write_image
from lego_nb.files import image_files
from lego_nb.restore_folder import restore_folder
from lego_nb.load_restorer import load_restorer

def limited(room, fn):
    "Exit code of `fn` in a process that may take `room` bytes more than it has"
    def run():
        now = int(re.search(r'VmSize:\s+(\d+)', Path('/proc/self/status').read_text())[1])*1024
        resource.setrlimit(resource.RLIMIT_AS, (now + room,)*2)
        sys.dont_write_bytecode = True # or compiled modules would be cut short
        fn()
    p = multiprocessing.get_context('fork').Process(target=run)
    p.start()
    p.join()
    return p.exitcode

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rooms', default='256,128,96,64,48,32,24,16', help='MB above what the process has, with commas between')
    args = p.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as tmp:
        tmp, pocket = Path(tmp), load_restorer('pocket')
        for i, x in photographs().items(): write_image(cut_crops(x, 256)[0][2], tmp/f'in/{i}.png')
        files = image_files(tmp/'in')
        def restored(out, say=print):
            return restore_folder(pocket, files, tmp/out, 8, progress=False, pixels=2**20, readers=1, writers=1, say=say)[1]
        restored('roomy')
        for room in map(int, args.rooms.split(',')):
            said = tmp/f'{room}.txt'
            def tight():
                for i, why in restored(str(room), say=lambda s: said.open('a').write(s + '\n')): said.open('a').write(f'  {i}: {why}\n')
            code = limited(room*2**20, tight)
            there = image_files(tmp/str(room)) if any(tmp.glob(f'{room}/*.png')) else {}
            off = max([(read_image(f) - read_image(tmp/f'roomy/{i}.png')).abs().max().item()*255 for i, f in there.items()], default=0)
            print(f'{room} MB: exit code {code}, {len(there)} of {len(files)} images, at most {off:.1f} steps off')
            if said.exists(): print(said.read_text(), end='')
            if len(there) < len(files): break

if __name__ == '__main__': main()
