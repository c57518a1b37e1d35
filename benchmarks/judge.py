"""Train judges from photographs: three seeds side by side, or one. On a GPU a seed takes minutes, on two cores most of an hour.
    python benchmarks/judge.py --photos DIR --out DIR --seeds 0 1 2 --triples 120000 --iterations 9000
Each seed's folder keeps its triples and its state, so that the same command goes on; `judge.safetensors` and `report.json` are the outcome."""
import argparse, json, subprocess, sys, time
from pathlib import Path

def one(a, seed):
    import torch
    from lego_nb.console import find_device, hardware
    from lego_nb.denoiser import non_local_means
    from lego_nb.judge import load_judge, save_judge
    from lego_nb.judge_training import judge_report, train_judge
    from lego_nb.load_restorer import load_restorer
    from lego_nb.oracle import Oracle
    from lego_nb.photo_crops import PhotoCrops, split_photographs
    from lego_nb.triples import refined_at_random, write_triples
    began, out, device = time.time(), a.out/f'seed{seed}', find_device(a.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    train, valid = split_photographs(a.photos)
    oracle, restorer = Oracle.from_pretrained('pocket', device), load_restorer('pocket', device)
    how = dict(restorers=[restorer.restore]*3 + [lambda y: non_local_means(y, .7)], oracles=[refined_at_random(oracle)], device=device, progress=False)
    def late(seconds): return seconds and began + seconds
    def said(*words): print(f'[seed {seed}, {time.time() - began:6.1f} s]', *words, flush=True)
    pool = write_triples(a.out/f'triples{seed}', a.triples, PhotoCrops(train.values(), (1, .8, .65, .5, .4)), seed=seed, deadline=late(a.triple_seconds), chunk=min(a.triples, 4096 if device.type == 'cuda' else 512), **how)
    said(len(pool), 'triples; better', round((pool.gain > 0).float().mean().item(), 3), 'quantiles', [round(v, 2) for v in pool.gain.float().quantile(torch.tensor([.05, .25, .5, .75, .95], device=pool.gain.device)).tolist()])
    iterations = a.iterations
    if a.fit_seconds: # as many as fit: timed beside the other seeds
        train_judge(out/'warm', pool, 20, seed, width=a.width, batch=a.batch, device=device, progress=False)
        t = time.time()
        train_judge(out/'timed', pool, 60, seed, width=a.width, batch=a.batch, device=device, progress=False)
        iterations = int(60*max(10., a.fit_seconds - (time.time() - began))/(time.time() - t))
        said('fits', iterations, 'iterations')
    judge = train_judge(out, pool, iterations, seed, load_judge(a.start) if a.start else None, a.width, a.batch, a.lr, device, late(a.seconds), progress=False)
    said('trained', iterations)
    save_judge(judge, out/'judge.safetensors', seed=seed, triples=len(pool), iterations=iterations, batch=a.batch)
    if not a.valid: return
    pools = {i: write_triples(a.out/f'valid{seed}/{i}', a.valid, PhotoCrops([f], (1, .65, .4)), seed=10_000 + k, chunk=a.valid, **how) for k, (i, f) in enumerate(valid.items())}
    report = dict(seed=seed, triples=len(pool), iterations=iterations, seconds=round(time.time() - began, 1), hardware=hardware(), validation=judge_report(judge, pools))
    (out/'report.json').write_text(json.dumps(report, indent=1) + '\n')
    said(json.dumps(report['validation']))

def soup(a):
    "The mean of the weights of seeds that began with one judge"
    import torch
    from lego_nb.console import find_device
    from lego_nb.judge import load_judge, save_judge
    from lego_nb.judge_training import know_limits
    from lego_nb.triples import Pool
    device = find_device(a.device)
    judges = [load_judge(a.out/f'seed{s}/judge.safetensors', device) for s in a.seeds]
    res = judges[0]
    res.load_state_dict({k: torch.stack([j.state_dict()[k] for j in judges]).mean(0) for k in res.state_dict()})
    know_limits(res, Pool(sorted((a.out/f'triples{a.seeds[0]}').glob('*.safetensors'))[:2], device))
    save_judge(res, a.out/'judge.safetensors', seeds=a.seeds, iterations=a.iterations)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--photos', type=Path, required=True); p.add_argument('--out', type=Path, required=True)
    p.add_argument('--seeds', type=int, nargs='+', default=[0]); p.add_argument('--device')
    p.add_argument('--triples', type=int, default=120_000); p.add_argument('--triple-seconds', type=float, help='stop making triples after this long')
    p.add_argument('--iterations', type=int, default=9000); p.add_argument('--batch', type=int, default=512); p.add_argument('--lr', type=float, default=1.5e-3)
    p.add_argument('--width', type=int, default=64); p.add_argument('--valid', type=int, default=512, help='triples of each validation photograph')
    p.add_argument('--start', type=Path, help='judge to begin with'); p.add_argument('--seconds', type=float, help='stop training after this long; the same command goes on')
    p.add_argument('--fit-seconds', type=float, help='as many iterations as end about this long after the start, in place of --iterations')
    p.add_argument('--soup', action='store_true', help='with --start: average the weights of the seeds into judge.safetensors')
    a = p.parse_args()
    if len(a.seeds) == 1: one(a, a.seeds[0])
    else: # a process for each
        rest = [o for o in sys.argv[1:]]
        k = rest.index('--seeds'); del rest[k:k + 1 + len(a.seeds)]
        codes = [o.wait() for o in [subprocess.Popen([sys.executable, __file__, *rest, '--seeds', str(s)]) for s in a.seeds]]
        if a.soup and not any(codes): soup(a)
        sys.exit(max(codes))
