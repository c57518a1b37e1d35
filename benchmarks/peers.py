"""What the benchmarks share: models of FLUX.1-dev's shapes, their floor, timing in turns, the peer, the table.

The library needs none of it. `nbs/checks/peers.ipynb` explains and tests it.
"""
import json, time
from pathlib import Path
from statistics import median

import torch
import torch.nn as nn, torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from lego_nb.files import markdown_grid
from lego_nb.options import PROMPT
from lego_nb.oracle import Oracle


def _product(a, b): return 2*a.numel()*b.shape[-1]
def _linear(input, weight, bias=None): return 2*input.numel()*len(weight)
def _attention(query, key, value, *args, **kwargs):
    return 2*query.shape[:-1].numel()*key.shape[-2]*(query.shape[-1] + value.shape[-1])

PRODUCTS = {F.linear: _linear, F.scaled_dot_product_attention: _attention,
            **dict.fromkeys((torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.bmm, torch.Tensor.__matmul__), _product)}

class Products(TorchFunctionMode):
    "While it is entered, `total` adds up the operations of linear layers, matrix products and attention, from their shapes."
    total = 0
    def __torch_function__(self, fn, types, args=(), kwargs=None):
        if fn in PRODUCTS: self.total += PRODUCTS[fn](*args, **kwargs or {})
        return fn(*args, **kwargs or {})

def flop_count(
    oracle, # Oracle, on any device; 'meta' is enough
    height, # of the image, pixels
    width, # of the image, pixels
    prompt='', # a prompt the oracle knows; its length counts
)->int: # operations; a multiplication and an addition are two
    "Floating-point operations of one evaluation of one image, one pass."
    z = oracle.encode(torch.empty(1, 3, height, width, device=oracle.device))
    with Products() as products: oracle.velocity(z, .5, prompt)
    return products.total

FLUX_DEV = dict(
    patch_size=1, in_channels=64, num_layers=19, num_single_layers=38, attention_head_dim=128, num_attention_heads=24,
    joint_attention_dim=4096, pooled_projection_dim=768, guidance_embeds=True, axes_dims_rope=(16,56,56))
FLUX_VAE = dict(
    down_block_types=('DownEncoderBlock2D',)*4, up_block_types=('UpDecoderBlock2D',)*4,
    block_out_channels=(128,256,512,512), layers_per_block=2, latent_channels=16, sample_size=1024, scaling_factor=.3611, shift_factor=.1159,
    use_quant_conv=False, use_post_quant_conv=False)
SMALL_DEV = dict(
    num_layers=1, num_single_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=64,
    pooled_projection_dim=64, axes_dims_rope=(4,14,14))
SMALL_VAE = dict(block_out_channels=(8,8,8,8), layers_per_block=1, norm_num_groups=4)

@torch.no_grad()
def randomize(
    module, # made on the device it stays on
    seed=0, # of the weights
):
    "Fill `module` with normal weights that keep activations near unit size; scales of norms near 1."
    device = next(module.parameters()).device
    if device.type=='meta': return module
    g = torch.Generator(device).manual_seed(seed)
    for name,p in module.named_parameters():
        if p.ndim>1: p.normal_(0, p[0].numel()**-.5, generator=g)
        else: p.normal_(0 if name.endswith('bias') else 1, .02, generator=g)
    return module

def random_oracle(
    device='cpu', # 'meta' for counting
    dtype=torch.bfloat16, # of the transformer; the autoencoder is float32, as in `Oracle.from_pretrained`
    seed=0,
    tokens=512, # text tokens of a prompt
    vae=None, # changes to `FLUX_VAE`
    **config # changes to `FLUX_DEV`
)->Oracle: # knows the prompts '' and `PROMPT`
    "An oracle of FLUX.1-dev's shapes at random normal weights: for timing, not for looking."
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    with torch.device('meta'):
        net = FluxTransformer2DModel(**FLUX_DEV | config)
        vae = AutoencoderKL(**FLUX_VAE | (vae or {}))
    def filled(o, dtype): return randomize(nn.Module.to(o, dtype).to_empty(device=device), seed)
    net,vae = filled(net, dtype),filled(vae, torch.float32)
    shapes = (tokens, net.config.joint_attention_dim),(net.config.pooled_projection_dim,)
    g = torch.Generator().manual_seed(seed)
    prompts = {o: tuple(torch.randn(s, generator=g) for s in shapes) for o in ('', PROMPT)}
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3., use_dynamic_shifting=True)
    return Oracle(net, vae, scheduler, prompts, name='random FLUX.1-dev')

def interleave(
    arms, # dict: name -> function without arguments
    rounds=3, # times that each is measured
    warmup=1, # times that each is run before
    clock=time.perf_counter, # `time.process_time` for one thread on a processor that is shared
)->dict: # name -> list of seconds, one for each round
    "Time functions in turn, every other round in the opposite order."
    for _ in range(warmup):
        for f in arms.values(): f()
    seconds = {k: [] for k in arms}
    for i in range(rounds):
        for k in list(arms)[::(-1)**i]:
            if torch.cuda.is_available(): torch.cuda.synchronize()
            start = clock()
            arms[k]()
            if torch.cuda.is_available(): torch.cuda.synchronize()
            seconds[k].append(clock() - start)
    return seconds

def speedups(
    seconds, # of `interleave`
    base, # name of the arm that the others are compared with
)->dict: # name -> dict(seconds=median, ratio=median speed-up over base, low, high, best=that of the best times)
    "How many times faster than `base` each arm was, round by round, and how far the rounds lie apart."
    def one(times):
        ratios = [b/t for b,t in zip(seconds[base], times)]
        best = min(seconds[base])/min(times)
        return dict(seconds=median(times), ratio=median(ratios), low=min(ratios), high=max(ratios), best=best)
    return {k: one(o) for k,o in seconds.items()}

def matmul_rate(
    device='cpu',
    dtype=torch.bfloat16,
    sizes=None, # sides of the matrices to try; None: what fills a GPU, or keeps a CPU short
    rounds=20,
)->float: # operations per second, the best of `sizes`
    "The rate that plain products of large random matrices reach."
    rates = []
    for n in sizes or ((4096, 8192, 16384) if torch.device(device).type=='cuda' else (1024,)):
        a,b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        rates.append(2*n**3 / median(interleave({n: lambda: a@b}, rounds, 3)[n]))
    return max(rates)

def img2img_peer(
    oracle, # whose parts the pipeline is built from
    steps, # evaluations for each image
    guidance=3.5, # the embedded scale, where the model has one
):
    "diffusers' `FluxImg2ImgPipeline` on an oracle's weights: a function from a PIL image to the pipeline's output."
    from copy import deepcopy
    from diffusers import FluxImg2ImgPipeline
    vae = nn.Module.to(deepcopy(oracle.vae), oracle.transformer.dtype) # one type, as the pipeline's users load it
    pipe = FluxImg2ImgPipeline(deepcopy(oracle.scheduler), vae, None, None, None, None, oracle.transformer)
    pipe.set_progress_bar_config(disable=True)
    embeds,pooled = oracle.embed([PROMPT])
    def peer(image, **kwargs):
        return pipe(image=image, height=image.height, width=image.width, strength=1., num_inference_steps=steps,
                    prompt_embeds=embeds, pooled_prompt_embeds=pooled, guidance_scale=guidance, **kwargs).images[0]
    return peer

def speed_table(
    result, # dict of benchmarks/stage1.py, or the path of its JSON
)->str: # markdown
    "A benchmark's result as a table for readers, headed by the hardware."
    r = result if isinstance(result, dict) else json.loads(Path(result).read_text(encoding='utf-8'))
    head = f"**{r['title']}** on {r['hardware']}; {r['versions']}; {r['date']}. {r['note']}"
    lines = [['what', 's per image', 'speed-up', 'by best times', 'passes', 'remark']]
    for o in r['rows']:
        spread = f"{o['ratio']:.2f} ({o['low']:.2f}–{o['high']:.2f})" if 'ratio' in o else ''
        seconds = f"{o['seconds']:.4g}" if 'seconds' in o else ''
        best = f"{o['best']:.2f}" if 'best' in o else ''
        lines.append([o['what'], seconds, spread, best, o.get('passes', ''), o.get('remark', '')])
    return f'{head}\n\n{markdown_grid(lines, range(1, 5))}'
