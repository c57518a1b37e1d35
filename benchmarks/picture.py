"""Makes the README's picture from a run: one test photograph degraded, restored before and after adaptation, and true, pixel by pixel.

    python benchmarks/picture.py --run runs/pocket [--image coffee] [--out nbs/images/pocket.webp]
"""
import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lego_nb.files import UserError
from lego_nb.images import read_image
from lego_nb.pixel_metrics import psnr

TITLES = dict(degraded='input', unadapted='unadapted', adapted='adapted by LEGO', truth='truth')

def picture(folder, name):
    "The four images in a row, each under its title and PSNR"
    files = {k: folder/f'{k}/{name}.png' for k in TITLES}
    if gone := [f for f in files.values() if not f.exists()]: raise UserError(f'{gone[0]}: no such image; give the folder of a finished run')
    truth = read_image(files['truth'])[None]
    images = {k: Image.open(f).convert('RGB') for k, f in files.items()}
    w, h = images['truth'].size
    sheet = Image.new('RGBA', (4*w + 3*4, h + 22), (128, 128, 128, 0)) # no white box on a dark page
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for j, (k, image) in enumerate(images.items()):
        text = TITLES[k] if k == 'truth' else f'{TITLES[k]}, {psnr(read_image(files[k])[None], truth).item():.1f} dB'
        draw.text((j*(w + 4) + w//2, 10), text, (128, 128, 128, 255), font, anchor='mm')
        sheet.paste(image, (j*(w + 4), 22))
    return sheet

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--run', type=Path, required=True, help='folder of a finished lego_run')
    p.add_argument('--image', default='coffee', help='test photograph')
    p.add_argument('--out', type=Path, default=Path(__file__).parents[1]/'nbs/images/pocket.webp', help='file to write')
    args = p.parse_args()
    sheet = picture(args.run/'evaluation/images/ood', args.image)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, quality=88, alpha_quality=90, method=6)
    print(f'{args.out}: {sheet.width}x{sheet.height} pixels, {args.out.stat().st_size/1000:.0f} kB')


if __name__ == '__main__': main()
