// node look.cjs BROWSER FOLDER SCREENS PAGE...: a line for each fault of a page at 390 and 1280 pixels, light and dark
const { chromium } = require('playwright-core'), fs = require('fs'), http = require('http'), path = require('path')
const [browser, folder, screens, ...pages] = process.argv.slice(2)
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.jpg': 'image/jpeg', '.png': 'image/png', '.webp': 'image/webp', '.svg': 'image/svg+xml', '.woff': 'font/woff' }
const server = http.createServer((request, answer) => {
  const file = path.join(folder, decodeURIComponent(request.url.split('?')[0]))
  if (!fs.existsSync(file)) { answer.writeHead(404); return answer.end() }
  answer.writeHead(200, { 'Content-Type': types[path.extname(file)] || 'application/octet-stream' }); fs.createReadStream(file).pipe(answer)
})
const look = () => {
  const wide = document.documentElement.scrollWidth, room = document.documentElement.clientWidth
  const boxes = [...document.querySelectorAll('main *')].filter(o => o.getBoundingClientRect().right > room + 1)
  const inBox = o => { for (let p = o.parentElement; p; p = p.parentElement) if (/auto|scroll|hidden/.test(getComputedStyle(p).overflowX) && p.tagName != 'BODY') return true }
  const first = boxes.find(o => !inBox(o))
  return { over: wide - room, what: first && `${first.tagName.toLowerCase()}.${first.getAttribute('class')} "${(first.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 60)}"`,
           images: [...document.images].filter(o => o.complete && !o.naturalWidth).map(o => o.getAttribute('src').slice(0, 80)), wordless: [...document.images].filter(o => !o.alt.trim()).length }
}
server.listen(0, async () => {
  const at = `http://localhost:${server.address().port}/`, b = await chromium.launch({ executablePath: browser, args: ['--no-sandbox'] })
  for (const width of [390, 1280]) {
    const context = await b.newContext({ viewport: { width, height: 900 } }), page = await context.newPage()
    let said = []
    page.on('pageerror', e => said.push(e.message)); page.on('response', r => { if (r.status() >= 400 && !r.url().includes('favicon')) said.push(`${r.status()} ${r.url().replace(at, '')}`) })
    for (const name of pages) {
      said = []
      await page.goto(at + name, { waitUntil: 'load' })
      await page.evaluate(() => window.MathJax?.startup?.promise)
      const r = await page.evaluate(look)
      if (r.over > 0) said.push(`scrolls sideways by ${r.over} px: ${r.what}`)
      if (r.images.length) said.push(`missing images ${r.images}`)
      if (r.wordless) said.push(`${r.wordless} images without words`)
      for (const o of new Set(said)) console.log(`${name} at ${width}: ${o}`)
      for (const mode of screens ? ['light', 'dark'] : []) {
        await page.evaluate(m => document.body.className = 'quarto-' + m, mode)
        await page.screenshot({ path: path.join(screens, `${name.replace(/\//g, '-')}-${width}-${mode}.png`), fullPage: true })
      }
    }
    await context.close()
  }
  await b.close(); server.close()
})
