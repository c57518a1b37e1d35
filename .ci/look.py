"""Look at the pages of the site (`_proc/`, made by `.ci/site.py`): every link within it leads to a page, every image is there and has
words beside it; then, in Chromium, at 390 and 1280 pixels, light and dark, nothing scrolls sideways and nothing is missing.

Pages are made by nbconvert with our style sheet: what Quarto adds cannot be seen here. Where nbconvert, Chromium or Node is absent, the step that needs it is left out with a word.
`python .ci/look.py --screens DIR NAME...` also stores pictures of the named pages."""
import argparse, html, json, os, re, shutil, subprocess, sys, tempfile
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
made, notebooks = root/'_proc', root/'nbs'
settings = ConfigParser(delimiters=['='])
settings.read(root/'settings.ini', encoding='utf-8')
site = settings['DEFAULT']['doc_host'] + settings['DEFAULT']['doc_baseurl'] + '/'


def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def joined(text): return ''.join(text)


def markdown(path):
    "Every piece of Markdown on a page, blocks of code left out"
    for c in cells(path):
        texts = [joined(c['source'])] if c['cell_type'] == 'markdown' else [joined(o['data']['text/markdown']) for o in c.get('outputs', ()) if 'text/markdown' in o.get('data', {})]
        for t in texts: yield re.sub(r'^ *```.*?^ *```', '', t, flags=re.M | re.S)


def page_name(path):
    "Where Quarto puts a page: the number goes"
    rel = path.relative_to(made)
    named = next((m[1] for c in cells(path)[:1] if (m := re.search(r'^output-file: (\S+)', joined(c['source']), re.M))), None)
    return rel.with_name(named or re.sub(r'^\d+[a-z]*_', '', rel.stem.lower()) + '.html').as_posix()


def anchors(path):
    "The anchors of a page, as Pandoc names headings"
    for text in markdown(path):
        for h in re.findall(r'^#+ +(.*?)(?: *\{.*\})?$', text, re.M):
            h = re.sub(r'[`*]|\[([^\]]*)\]\([^)]*\)', lambda m: m[1] or '', h)
            yield re.sub(r'^[^a-z]+', '', re.sub(r'[^\w\s.-]', '', h.lower()).strip().replace(' ', '-'))


def broken_links(pages):
    "Links that lead nowhere, as (page, link)"
    by_name = {page_name(p): p for p in pages}
    known = {name: {*anchors(p)} for name, p in by_name.items()}
    for name, p in by_name.items():
        for text in markdown(p):
            for alt, link in re.findall(r'(!?)\[[^\]]*\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`(?!\])', '', text)):
                own = link.startswith(site)
                if not own and re.match(r'https?:|mailto:|attachment:|data:', link): continue
                link, _, anchor = link.partition('#')
                at = link[len(site):] if own else os.path.normpath(Path(name).parent/link) if link else name
                if link.endswith('.ipynb'): at = page_name(made/at) if (made/at).exists() else None
                fine = (made/at).exists() or at in by_name if at else False
                if not fine or anchor and at in known and anchor.lower() not in known[at]: yield p.relative_to(made).as_posix(), f'{link}#{anchor}' if anchor else link


def wordless(pages):
    "Figures and images without words, as (page, cell)"
    for p in pages:
        for c in cells(p):
            for o in c.get('outputs', ()):
                mime = next((k for k in o.get('data', {}) if k.startswith('image/')), None)
                if mime and not o.get('metadata', {}).get(mime, {}).get('alt'): yield p.relative_to(made).as_posix(), c['id']
            if c['cell_type'] == 'markdown' and re.search(r'!\[\s*\]\(', joined(c['source'])): yield p.relative_to(made).as_posix(), c['id']


head = '''<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>body {{ font: 17px/1.6 "Source Sans Pro", "Liberation Sans", sans-serif; margin: 0; color: #373a3c; background: #fff }} body.quarto-dark {{ color: #dee2e6; background: #222 }}
main {{ max-width: 800px; margin: auto; padding: 0 12px }} pre, code {{ font: 14px/1.5 monospace; background: #8881; }} pre {{ padding: .4rem }} a {{ color: #2780e3 }} body.quarto-dark a {{ color: #00bc8c }}
table {{ border-collapse: collapse }} td, th {{ border-bottom: 1px solid #8886; padding: .2rem .6rem }} .prompt, .silent .input {{ display: none }} .anchor-link {{ display: none }}</style>
<link rel="stylesheet" href="{up}styles.css">{math}</head><body class="quarto-light"><main>'''


def quarto_options(cell):
    "A cell's Quarto options, taken from its source, as tags that nbconvert writes as classes"
    source = joined(cell['source'])
    options = dict(re.findall(r'^#\| *([\w-]+): *"?(.*?)"?$', source, re.M))
    cell['source'] = re.sub(r'^#\|.*\n?', '', source, flags=re.M)
    return [*options.get('classes', '').split(), *(['fold'] if options.get('code-fold') == 'true' else []), *(['silent'] if options.get('echo') == 'false' else [])]


def write_pages(pages, folder, math):
    "Make web pages in a folder"
    import nbformat
    from nbconvert import HTMLExporter
    exporter = HTMLExporter(template_name='basic', embed_images=False)
    for p in pages:
        nb = nbformat.read(p, 4)
        nb.cells = [c for c in nb.cells if c.cell_type != 'raw']
        for c in nb.cells:
            if c.cell_type == 'markdown': c.source = re.sub(r'^---\n.*?\n---\n', lambda m: '# ' + (re.findall(r'^title: (.*)$', m[0], re.M) or [''])[0] + '\n', re.sub(r'^(:::.*)$', '', c.source, flags=re.M), flags=re.S)
            else: c.metadata['tags'] = quarto_options(c)
        body = exporter.from_notebook_node(nb)[0]
        body = re.sub(r'\{target="_blank" style="float:right; font-size:smaller"\}', '', re.sub(r'celltag_(\w+)', r'\1', body)) # what only Pandoc reads
        body = re.sub(r'(<div class="[^"]*\bfold\b.*?)(<div class="input">.*?</pre></div>)', r'\1<details><summary>Test of private functions</summary>\2</details>', body, flags=re.S)
        out = folder/p.relative_to(made).with_suffix('.html')
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(head.format(title=html.escape(p.stem), up='../'*len(p.relative_to(made).parts[:-1]), math=math) + body + '</main></body></html>', encoding='utf-8')
    shutil.copytree(notebooks/'images', folder/'images', dirs_exist_ok=True)
    shutil.copy(notebooks/'styles.css', folder)


def in_chromium(folder, pages, screens):
    "What is wrong with pages in Chromium, one line each; None where it cannot be asked"
    browser = next((p for o in ('chromium', 'chromium-browser', 'google-chrome') if (p := shutil.which(o))), None)
    if not browser or not shutil.which('node') or not shutil.which('npm'): return print('left out: Chromium, Node or npm is absent')
    if subprocess.run(['npm', 'install', '--silent', '--no-audit', '--no-fund', '--prefix', str(folder/'node'), 'playwright-core', 'mathjax@3'], capture_output=True).returncode: return print('left out: npm finds no playwright-core')
    shutil.copytree(folder/'node/node_modules/mathjax/es5', folder/'mathjax')
    env = {**os.environ, 'NODE_PATH': str(folder/'node/node_modules')}
    r = subprocess.run(['node', str(root/'.ci/look.cjs'), browser, str(folder), str(screens or ''), *pages], env=env, stdout=subprocess.PIPE, text=True)
    return r.stdout.splitlines() + ([f'node ended with {r.returncode}'] if r.returncode else [])


if __name__ == '__main__':
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--screens', help='folder for pictures of pages')
    a.add_argument('--links', action='store_true', help='without the browser')
    a.add_argument('names', nargs='*', help='pages to look at in the browser; none: all')
    a = a.parse_args()
    pages = sorted(made.rglob('*.ipynb'))
    if not pages: sys.exit('_proc holds no page: run python .ci/site.py first')
    wrong = [f'{p}: broken link {o}' for p, o in sorted({*broken_links(pages)})] + [f'{p}: a figure without words, cell {o}' for p, o in wordless(pages)]
    chosen = [p for p in pages if not a.links and (not a.names or p.stem in a.names)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        try: write_pages(chosen, folder, '<script>window.MathJax = {tex: {inlineMath: [["$", "$"]]}}</script><script async src="/mathjax/tex-chtml.js"></script>')
        except ImportError as e: print(f'left out: the browser, since nbconvert is absent ({e})')
        else: wrong += in_chromium(folder, [p.relative_to(made).with_suffix('.html').as_posix() for p in chosen], a.screens) or []
    print(*wrong, f'{len(pages)} pages, {len(chosen)} looked at: {len(wrong)} faults', sep='\n')
    sys.exit(bool(wrong))
