// Drives Chromium for Go tests: one JSON command a line on stdin, one JSON answer
// a line on stdout. It holds no test logic.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import path from 'node:path';

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--force-color-profile=srgb'],
});
const pages = new Map();
const timeout = 20_000;

const commands = {
  async open({ page, width, height, dark, locale, scale }) {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', locale, deviceScaleFactor: scale || 1,
    });
    const p = await context.newPage();
    p.setDefaultTimeout(timeout);
    const seen = { console: [], foreign: [], downloads: 0 };
    p.on('console', (m) => { if (m.type() === 'error') seen.console.push(m.text()); });
    p.on('pageerror', (e) => seen.console.push(String(e)));
    p.on('download', () => { seen.downloads++; });
    p.on('request', (r) => {
      const u = new URL(r.url());
      if (u.protocol.startsWith('http') && u.hostname !== '127.0.0.1' && u.hostname !== 'localhost') seen.foreign.push(r.url());
    });
    pages.set(page, { p, context, seen });
  },
  async resize({ page, width, height }) { await pages.get(page).p.setViewportSize({ width, height }); },
  async close({ page }) { await pages.get(page).context.close(); pages.delete(page); },
  async goto({ page, url }) {
    const r = await pages.get(page).p.goto(url, { waitUntil: 'load' });
    return { status: r ? r.status() : 0 };
  },
  async fill({ page, selector, text }) { await pages.get(page).p.fill(selector, text); },
  // A click that submits a form waits for the page it leads to.
  async submit({ page, selector }) {
    const { p } = pages.get(page);
    const [r] = await Promise.all([
      p.waitForResponse((r) => r.request().isNavigationRequest() && (r.status() < 300 || r.status() >= 400)),
      p.click(selector),
    ]);
    await p.waitForLoadState('load');
    return { status: r.status() };
  },
  async press({ page, text }) { await pages.get(page).p.keyboard.press(text); },
  async text({ page, selector }) { return { text: await pages.get(page).p.innerText(selector) }; },
  async value({ page, selector }) { return { text: await pages.get(page).p.inputValue(selector) }; },
  async where({ page }) { const { p } = pages.get(page); return { url: p.url(), title: await p.title() }; },
  // A page focuses the element with autofocus when it is drawn, which may be after it was loaded
  // (HTML, "flush autofocus candidates").
  async focused({ page }) { return { text: await pages.get(page).p.evaluate(async () => {
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    return document.activeElement?.id || document.activeElement?.name || document.activeElement?.tagName || '';
  }) }; },
  async overflow({ page }) { return { count: await pages.get(page).p.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) }; },
  async cookies({ page }) { return { cookies: await pages.get(page).context.cookies() }; },
  async seen({ page }) { return pages.get(page).seen; },
  async screenshot({ page, path }) { await pages.get(page).p.screenshot({ path, fullPage: true, animations: 'disabled' }); },
  async axe({ page }) {
    const { p, context } = pages.get(page);
    // Playwright's own evaluate compiles the library each time. This way Chromium does so once.
    const session = await context.newCDPSession(p);
    const { exceptionDetails } = await session.send('Runtime.evaluate', { expression: `${axe};0` });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    await session.detach();
    const found = await p.evaluate(() => globalThis.axe.run(document, {
      resultTypes: ['violations'],
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    return { violations: found.violations.map((v) => ({ id: v.id, help: v.help, nodes: v.nodes.map((n) => n.html + ' — ' + (n.failureSummary || '').replaceAll('\n', ' ')) })) };
  },
};

console.log(JSON.stringify({ ready: browser.version() }));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = await commands[command.do](command) ?? {};
  } catch (e) {
    const at = pages.get(command.page)?.p.url();
    answer = { error: `${command.do} ${command.selector || command.url || ''}: ${String(e.message || e).split('\n')[0]}${at ? ' (at ' + at + ')' : ''}` };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
